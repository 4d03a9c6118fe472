#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

// A whole file, mapped read-only. The bytes stay where they are when the object is moved.
class MappedFile {
 public:
  // Throws DataError with the reason of the system, also for a folder.
  explicit MappedFile(std::filesystem::path file);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::filesystem::path& path() const { return *path_; }
  std::span<const std::byte> bytes() const { return bytes_; }

  // Reads a part of bytes() from the disk, in large pieces, so that nothing waits for it later.
  void touch(std::span<const std::byte> part) const;
  // Takes the pages of a part out of this process's memory. They come back when they are read again.
  void give_back(std::span<const std::byte> part) const;

 private:
  // The same part from the start of the page that it begins in to that of the one that it ends in.
  std::span<const std::byte> pages_of(std::span<const std::byte> part) const;

  std::unique_ptr<const std::filesystem::path> path_;  // which stays where it is, for mapped_file_at()
  std::span<const std::byte> bytes_;
};

// The path of the mapped file in whose pages an address is, or nullptr; of the first 512 that are mapped at a time.
// Waits for nothing and allocates nothing, so that a signal handler may ask.
const char* mapped_file_at(const void* address);

// What becomes of a file that has the name already.
enum class Former { replaced, kept };

// A file that appears at `path` complete or not at all, also when the machine stops: it is written beside
// `path` under another name, forced to the disk, and renamed. Every failure throws DataError with the path, the reason
// of the system and the bytes needed; a former file that is kept throws ConfigurationError.
class AtomicFile {
 public:
  // `bytes_needed` is the final size, for the message about a full disk; 0: not known.
  AtomicFile(std::filesystem::path path, std::int64_t bytes_needed, Former former = Former::replaced);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();  // without publish(), nothing remains

  // The other name, for libraries that write files by name.
  const std::filesystem::path& temporary() const { return temporary_; }

  void write(std::span<const std::byte> bytes);
  // In the place of bytes that are written already.
  void rewrite(std::int64_t offset, std::span<const std::byte> bytes);
  void publish();

 private:
  [[noreturn]] void fail(int error) const;

  std::filesystem::path path_, temporary_;
  std::int64_t bytes_needed_;
  Former former_;
  int descriptor_ = -1;
};

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

// Throws ConfigurationError if the file exists.
void write_new_file(const std::filesystem::path& path, std::string_view text);

// A log: every append() is handed to the system before it returns, so that a reader sees it at once and a program that
// is killed loses nothing. What the file held stays. Every failure throws DataError with the path and the reason of the
// system.
class AppendedFile {
 public:
  explicit AppendedFile(std::filesystem::path path);
  AppendedFile(const AppendedFile&) = delete;
  AppendedFile& operator=(const AppendedFile&) = delete;
  ~AppendedFile();

  void append(std::string_view bytes);
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_;
};

// Throws ConfigurationError, beginning with the option that names the path, unless the folder in which it is, or the
// nearest one there is above, can be written to.
void require_writable_place(const std::filesystem::path& path, std::string_view option);

// Makes the folder for a file that is written at the end of some work, so that the work is not in vain. Throws
// ConfigurationError, beginning with the option that names the file, if it cannot be written there.
void begin_file(const std::filesystem::path& path, std::string_view option);
// The same of a file that must not exist.
void begin_new_file(const std::filesystem::path& path, std::string_view option);

// Creates the folder and its parents where they are missing. Throws DataError.
void create_folder(const std::filesystem::path& path);

// The name of the file that marks a folder as taken (folder_lock.h).
constexpr std::string_view lock_name = "run.lock";

// Throws ConfigurationError for a folder that holds something already, lock_name apart, and for a file.
void require_free_folder(const std::filesystem::path& path);
// The same, and creates the folder and its parents.
void create_output_folder(const std::filesystem::path& path);

// Gives a folder that is written completely its final name, which must not be taken (an empty folder may have
// it).
void publish_folder(const std::filesystem::path& written, const std::filesystem::path& final_name);

// Removes a folder with all it holds; a folder that is not there is no error.
void remove_folder(const std::filesystem::path& path);

}  // namespace chorus
