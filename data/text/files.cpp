#include "data/text/files.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <random>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/base/error.h"

namespace chorus {
namespace {

std::string text_of(int error) { return std::generic_category().message(error); }

// Of mapped files, for mapped_file_at(): a signal handler reaches nothing that is not global. The path of a slot is valid
// while its beginning is not null.
struct MappedRange {
  std::atomic<const std::byte*> begin;
  std::atomic<std::size_t> bytes;
  std::atomic<const char*> path;
};
std::array<MappedRange, 512> mapped_ranges;
static_assert(std::atomic<const std::byte*>::is_always_lock_free, "a signal handler must not wait");

void note_mapped(std::span<const std::byte> bytes, const char* path) {
  for (MappedRange& range : mapped_ranges) {
    const std::byte* none = nullptr;
    if (range.path.load() != nullptr || !range.begin.compare_exchange_strong(none, bytes.data())) continue;
    range.bytes = bytes.size();
    range.path = path;
    return;
  }
}

void forget_mapped(std::span<const std::byte> bytes) {
  for (MappedRange& range : mapped_ranges) {
    if (range.begin.load() != bytes.data()) continue;
    range.path = nullptr;
    range.begin = nullptr;
  }
}

// Closes on destruction, for descriptors that are only read or synchronised.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags)
      : value_(::open(path.c_str(), flags | O_CLOEXEC)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  bool is_open() const { return value_ >= 0; }
  int value() const { return value_; }

 private:
  int value_;
};

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

// Random, so that two processes that write the same by mistake do not mix their bytes.
std::filesystem::path name_beside(std::filesystem::path path) {
  std::random_device random;
  return path += fmt::format(".{:08x}.partial", random());
}

// The error of the system, or 0.
int write_all(int descriptor, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : ENOSPC;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return 0;
}

// Without this a rename may be lost when the machine stops. File systems that cannot do it answer EINVAL.
void synchronise_folder(const std::filesystem::path& folder) {
  const Descriptor descriptor(folder, O_RDONLY | O_DIRECTORY);
  require<DataError>(descriptor.is_open(), "cannot open the folder ", folder.string(), ": ", text_of(errno));
  const int status = ::fsync(descriptor.value());
  require<DataError>(status == 0 || errno == EINVAL, "cannot write the folder ", folder.string(),
                     " to the disk: ", text_of(errno));
}

}  // namespace

const char* mapped_file_at(const void* address) {
  for (const MappedRange& range : mapped_ranges) {
    const char* path = range.path;
    const std::byte *begin = range.begin, *place = static_cast<const std::byte*>(address);
    if (path != nullptr && begin <= place && place < begin + range.bytes) return path;
  }
  return nullptr;
}

MappedFile::MappedFile(std::filesystem::path file)
    : path_(std::make_unique<const std::filesystem::path>(std::move(file))) {
  const Descriptor descriptor(*path_, O_RDONLY | O_NONBLOCK);  // a pipe without a writer is not waited for
  require<DataError>(descriptor.is_open(), "cannot open ", path_->string(), ": ", text_of(errno));
  struct stat status {};
  const int examined = ::fstat(descriptor.value(), &status);
  require<DataError>(examined == 0, "cannot examine ", path_->string(), ": ", text_of(errno));
  require<DataError>(S_ISREG(status.st_mode), path_->string(), " is not a regular file");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return;
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor.value(), 0);
  require<DataError>(address != MAP_FAILED, "cannot map the ", size, " bytes of ", path_->string(), ": ",
                     text_of(errno));
  bytes_ = {static_cast<const std::byte*>(address), size};
  note_mapped(bytes_, path_->c_str());
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (bytes_.empty()) return;
  forget_mapped(bytes_);
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

std::span<const std::byte> MappedFile::pages_of(std::span<const std::byte> part) const {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::byte *first = bytes_.data(), *last = first + bytes_.size();
  require(first <= part.data() && part.data() + part.size() <= last, part.size(), " bytes that are not of ",
          path_->string(), ", which has ", bytes_.size());
  const auto begin = static_cast<std::size_t>(part.data() - first), end = begin + part.size();
  return bytes_.subspan(begin / page * page, end / page * page - begin / page * page);
}

void MappedFile::touch(std::span<const std::byte> part) const {
  const std::span<const std::byte> pages = pages_of(part);
  // Only a wish: without it the system reads ahead in small steps.
  ::madvise(const_cast<std::byte*>(pages.data()), pages.size(), MADV_WILLNEED);
  const auto step = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  for (std::size_t i = 0; i < part.size(); i += step) {
    [[maybe_unused]] const volatile std::byte read = part[i];
  }
}

void MappedFile::give_back(std::span<const std::byte> part) const {
  const std::span<const std::byte> pages = pages_of(part);
  if (!pages.empty()) ::madvise(const_cast<std::byte*>(pages.data()), pages.size(), MADV_DONTNEED);
}

AtomicFile::AtomicFile(std::filesystem::path path, std::int64_t bytes_needed, Former former)
    : path_(std::move(path)), bytes_needed_(bytes_needed), former_(former) {
  require<ConfigurationError>(former_ == Former::replaced || !std::filesystem::exists(path_), path_.string(),
                              ": exists already and is not overwritten; remove it or choose another name");
  do {
    temporary_ = name_beside(path_);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) fail(errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(int error) const {
  std::error_code ignored;
  const auto space = std::filesystem::space(folder_of(path_), ignored);
  std::string text = fmt::format("cannot write {}: {}", path_.string(), text_of(error));
  if (bytes_needed_ > 0) text += fmt::format("; it needs {} bytes", bytes_needed_);
  if (!ignored) text += fmt::format(", {} bytes are free there", space.available);
  throw DataError(text);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (const int error = write_all(descriptor_, bytes); error != 0) fail(error);
}

void AtomicFile::rewrite(std::int64_t offset, std::span<const std::byte> bytes) {
  if (::lseek(descriptor_, offset, SEEK_SET) < 0) fail(errno);
  write(bytes);
  if (::lseek(descriptor_, 0, SEEK_END) < 0) fail(errno);
}

void AtomicFile::publish() {
  if (::fsync(descriptor_) != 0) fail(errno);
  // Network file systems report a full disk as late as here.
  if (::close(std::exchange(descriptor_, -1)) != 0) fail(errno);
  const bool taken = former_ == Former::kept && std::filesystem::exists(path_);
  if (!taken && ::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
  const std::filesystem::path written = std::exchange(temporary_, {});
  require<ConfigurationError>(
      !taken, path_.string(),
      ": was created by someone else in the meantime and is not overwritten; the data are in ",
      written.string());
  synchronise_folder(folder_of(path_));
}

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path, static_cast<std::int64_t>(bytes.size()));
  file.write(bytes);
  file.publish();
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  write_file_atomically(path, std::as_bytes(std::span(text)));
}

void write_new_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path, std::ssize(text), Former::kept);
  file.write(std::as_bytes(std::span(text)));
  file.publish();
}

AppendedFile::AppendedFile(std::filesystem::path path)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {
  require<DataError>(descriptor_ >= 0, path_.string(), ": cannot be written: ", text_of(errno));
}

AppendedFile::~AppendedFile() { ::close(descriptor_); }

void AppendedFile::append(std::string_view bytes) {
  const int error = write_all(descriptor_, std::as_bytes(std::span(bytes)));
  require<DataError>(error == 0, path_.string(), ": cannot be written: ", text_of(error));
}

void require_writable_place(const std::filesystem::path& path, std::string_view option) {
  std::filesystem::path folder = folder_of(std::filesystem::absolute(path).lexically_normal());
  std::error_code ignored;
  while (!std::filesystem::exists(folder, ignored) && folder.has_relative_path())
    folder = folder.parent_path();
  require<ConfigurationError>(std::filesystem::is_directory(folder, ignored), option, " ", path.string(),
                              ": ", folder.string(), " is no folder");
  const int refused = ::access(folder.c_str(), W_OK | X_OK);
  require<ConfigurationError>(refused == 0, option, " ", path.string(), ": the folder ", folder.string(),
                              " cannot be written to: ", text_of(errno));
}

void begin_file(const std::filesystem::path& path, std::string_view option) {
  require<ConfigurationError>(path.has_filename() && !std::filesystem::is_directory(path), option, " ",
                              path.string(), " names a folder, not a file");
  require_writable_place(path, option);
  std::error_code error;
  std::filesystem::create_directories(folder_of(path), error);
  require<ConfigurationError>(!error, option, " ", path.string(),
                              ": its folder cannot be made: ", error.message());
}

void begin_new_file(const std::filesystem::path& path, std::string_view option) {
  require<ConfigurationError>(!std::filesystem::exists(path), option, " ", path.string(),
                              " exists already and is not overwritten; remove it or choose another name");
  begin_file(path, option);
}

void create_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  require<DataError>(!error, "cannot create the folder ", path.string(), ": ", error.message());
}

void require_free_folder(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return;
  require<ConfigurationError>(std::filesystem::is_directory(path, error), "the output ", path.string(),
                              " is an existing file; name a folder");
  bool empty = true;
  for (auto entry = std::filesystem::directory_iterator(path, error); !error && entry != end(entry);
       entry.increment(error))
    empty = empty && entry->path().filename() == lock_name;
  require<DataError>(!error, "cannot read the folder ", path.string(), ": ", error.message());
  require<ConfigurationError>(
      empty, "the output folder ", path.string(),
      " exists and is not empty, and nothing is ever overwritten; name another folder, or "
      "remove this one first");
}

void create_output_folder(const std::filesystem::path& path) {
  require_free_folder(path);
  create_folder(path);
}

void publish_folder(const std::filesystem::path& written, const std::filesystem::path& final_name) {
  synchronise_folder(written);
  const int renamed = ::rename(written.c_str(), final_name.c_str());
  require<DataError>(renamed == 0, "cannot rename the folder ", written.string(), " to ", final_name.string(),
                     ": ", text_of(errno));
  synchronise_folder(folder_of(final_name));
}

void remove_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  require<DataError>(!error, "cannot remove the folder ", path.string(), ": ", error.message());
}

}  // namespace chorus
