#include "data/text/folder_lock.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/text/files.h"
#include "data/text/process_record.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr const char* unfinished_suffix = ".part";

// Whether a folder can be renamed onto this one.
bool is_replaceable(const std::filesystem::path& folder) {
  struct stat own {
  }, around{};
  const std::filesystem::path parent = folder.parent_path();
  return ::stat(folder.c_str(), &own) == 0 && ::stat(parent.c_str(), &around) == 0 &&
         own.st_dev == around.st_dev && ::access(parent.c_str(), W_OK | X_OK) == 0;
}

int try_flock(int descriptor) { return ::flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? 0 : errno; }

// What file systems answer that keep no locks.
bool knows_no_locks(int error) { return error == ENOLCK || error == ENOSYS || error == EOPNOTSUPP; }

ProcessRecord read_record(int descriptor) {
  std::string text(4096, '\0');
  const ssize_t length = ::pread(descriptor, text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  return ProcessRecord::from_json(nlohmann::json::parse(text, nullptr, false));
}

bool may_run(const ProcessRecord& record) {
  return record.is_of_this_host() ? record.runs() : record.number != 0;
}

}  // namespace

// The open lock file of a folder, locked or not.
class FolderLock::LockedFile {
 public:
  explicit LockedFile(std::filesystem::path path)
      : path_(std::move(path)), descriptor_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    require<DataError>(descriptor_ >= 0, "cannot write ", path_.string(), ": ",
                       std::generic_category().message(errno));
  }
  LockedFile(const LockedFile&) = delete;
  LockedFile& operator=(const LockedFile&) = delete;
  // Removed before it is unlocked, so that nobody locks a file that is about to go.
  ~LockedFile() {
    remove();
    ::close(descriptor_);
  }
  void remove() {
    if (std::exchange(is_locked_, false)) ::unlink(path_.c_str());
  }

  bool lock(TryLock try_lock) {
    const int error = try_lock(descriptor_);
    require<DataError>(error == 0 || error == EWOULDBLOCK || error == EINTR || knows_no_locks(error),
                       "cannot lock ", path_.string(), ": ", std::generic_category().message(error));
    former_ = read_record(descriptor_);
    is_locked_ = knows_no_locks(error) ? !may_run(former_) : error == 0;
    is_locked_ = is_locked_ && has_its_name();
    return is_locked_;
  }
  // What the file said before.
  const ProcessRecord& former() const { return former_; }
  void sign() const {
    const std::string text = ProcessRecord::of(::getpid()).to_json().dump() + "\n";
    const bool written = ::ftruncate(descriptor_, 0) == 0 &&
                         ::pwrite(descriptor_, text.data(), text.size(), 0) == std::ssize(text);
    require<DataError>(written, "cannot write ", path_.string(), ": ",
                       std::generic_category().message(errno));
  }

 private:
  // The former owner may have removed it between open() and lock.
  bool has_its_name() const {
    struct stat opened {
    }, named{};
    return ::fstat(descriptor_, &opened) == 0 && ::stat(path_.c_str(), &named) == 0 &&
           opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
  }

  std::filesystem::path path_;
  int descriptor_;
  bool is_locked_ = false;
  ProcessRecord former_;
};

FolderLock::FolderLock(const std::filesystem::path& folder, Former former)
    : FolderLock(folder, former, try_flock) {}

FolderLock::FolderLock(const std::filesystem::path& folder, Former former, TryLock try_lock)
    : folder_(folder) {
  if (former == Former::refused && !writer_of(folder)) require_free_folder(folder);
  is_new_ = !std::filesystem::exists(folder);
  create_folder(folder);
  // Again, because writer_of() holds it for a moment, and a file that is being removed is no lock.
  for (int tries = 10;;) {
    auto file = std::make_unique<LockedFile>(folder / lock_name);
    if (file->lock(try_lock)) {
      file_ = std::move(file);
      break;
    }
    require<ConfigurationError>(--tries > 0, "the output folder ", folder.string(), " is being written by ",
                                file->former().description(),
                                ": wait for it, or name another folder; if it does not run any more, remove ",
                                (folder / lock_name).string());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  // Between the first look and the lock, another run may have come and gone.
  if (former == Former::refused) require_free_folder(folder);
  if (file_->former().number != 0 && !file_->former().is_of_this_host())
    remark_ = fmt::format("{} had the output folder {} and has not given it back: it is taken for ended",
                          file_->former().description(), folder.string());
  file_->sign();
}

std::filesystem::path FolderLock::begin_contents() {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::canonical(folder_, error);
  require<DataError>(!error, "cannot find the folder ", folder_.string(), ": ", error.message());
  contents_ = is_replaceable(folder) ? std::filesystem::path(folder.string() + unfinished_suffix)
                                     : folder / unfinished_suffix;
  remove_folder(contents_);
  create_folder(contents_);
  return contents_;
}

void FolderLock::publish() {
  file_->remove();  // before the rename, after which a file of that name would be another one's
  std::error_code error;
  if (contents_.filename() != unfinished_suffix) {
    publish_folder(contents_, std::filesystem::canonical(folder_, error));
    return contents_.clear();
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(contents_, error))
    files.push_back(entry.path());
  for (const std::filesystem::path& file : files) {
    if (!error) std::filesystem::rename(file, folder_ / file.filename(), error);
  }
  require<DataError>(!error, "cannot move the files of ", contents_.string(), " to ", folder_.string(), ": ",
                     error.message());
  remove_folder(contents_);
  contents_.clear();
}

FolderLock::~FolderLock() {
  std::error_code ignored;
  if (!contents_.empty()) std::filesystem::remove_all(contents_, ignored);
  file_.reset();
  if (is_new_) std::filesystem::remove(folder_, ignored);
}

std::optional<std::string> writer_of(const std::filesystem::path& folder) {
  const int descriptor = ::open((folder / lock_name).c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return std::nullopt;
  const int error = try_flock(descriptor);
  const ProcessRecord record = read_record(descriptor);
  ::close(descriptor);
  const bool is_taken = knows_no_locks(error) ? may_run(record) : error != 0;
  return is_taken ? std::optional(record.description()) : std::nullopt;
}

}  // namespace chorus
