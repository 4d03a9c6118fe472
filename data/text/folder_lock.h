#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace chorus {

// The right to write into a folder, of one process at a time: FOLDER/run.lock, which says who has it. What counts is the
// system's lock on that file (flock), which ends with the process, however it ends; NFS, and Lustre where it is mounted
// with flock, keep it for all machines. Where the file system knows no locks, what the file says counts: a process of
// this host is looked for, one of another host believed.
class FolderLock {
 public:
  enum class Former { kept, refused };  // what the folder holds already, as create_output_folder() would

  // Makes the folder where it is missing. Throws ConfigurationError that names who has the lock, or because of what the
  // folder holds.
  FolderLock(const std::filesystem::path& folder, Former former);
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  // Removes the file, contents that were not published, and the folder if nothing was written into it that it was made for.
  ~FolderLock();

  // An empty folder to write in what publish() gives the locked one: beside it, with ".part" behind the name; within it
  // where it is a file system of its own, or cannot be replaced by who may write into it. What a killed process left there is
  // removed.
  std::filesystem::path begin_contents();
  // Gives the locked folder, which must be empty, these contents and ends the lock: at once by a rename, or file by file
  // where they are within.
  void publish();

  // "", or a line to be told: a process of another host had the lock and has not removed it.
  const std::string& remark() const { return remark_; }

  // Tries to lock an open file, and returns 0 or the system's error. Tests give their own.
  using TryLock = int (*)(int descriptor);
  FolderLock(const std::filesystem::path& folder, Former former, TryLock try_lock);

 private:
  class LockedFile;

  std::filesystem::path folder_, contents_;
  bool is_new_;
  std::unique_ptr<LockedFile> file_;
  std::string remark_;
};

// Who writes into a folder now, if anybody does.
std::optional<std::string> writer_of(const std::filesystem::path& folder);

}  // namespace chorus
