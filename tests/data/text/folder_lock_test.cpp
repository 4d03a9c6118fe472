#include "data/text/folder_lock.h"

#include <cerrno>
#include <csignal>
#include <functional>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "data/text/files.h"
#include "data/text/process_record.h"
#include "ops/base/error.h"
#include "ops/base/host_name.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::message_of;
using test::ScratchFolder;
using test::write_bytes;
using enum FolderLock::Former;

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// A process that does this, and then waits for its end.
class Other {
 public:
  explicit Other(const std::function<void()>& first) {
    int ready[2];
    if (::pipe(ready) != 0) throw std::runtime_error("no pipe");
    process_ = ::fork();
    if (process_ == 0) {
      first();
      (void)!::write(ready[1], "x", 1);
      for (;;) ::pause();
    }
    char byte = 0;
    (void)!::read(ready[0], &byte, 1);
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~Other() { end(); }
  void end() {
    if (process_ > 0) {
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
    process_ = 0;
  }
  pid_t process() const { return process_; }

 private:
  pid_t process_;
};

TEST(FolderLock, NamesWhoWritesThere) {
  const ScratchFolder scratch;
  const auto folder = scratch / "a/b";
  EXPECT_FALSE(writer_of(folder));
  Other other([&] { new FolderLock(folder, refused); });
  const std::string who =
      "process " + std::to_string(other.process()) + " on host " + host_name() + " since 20";
  EXPECT_TRUE(holds(writer_of(folder).value_or(""), who));
  for (const auto former : {kept, refused})
    EXPECT_TRUE(holds(message_of<ConfigurationError>([&] { FolderLock(folder, former); }),
                      "b is being written by " + who));
  // Killed, it leaves its file, and no lock.
  other.end();
  EXPECT_TRUE(std::filesystem::exists(folder / lock_name));
  EXPECT_FALSE(writer_of(folder));
  const FolderLock mine(folder, refused);
  EXPECT_EQ(mine.remark(), "");
  EXPECT_TRUE(holds(writer_of(folder).value_or(""), "process " + std::to_string(::getpid())));
}

TEST(FolderLock, LeavesNothingOfItsOwn) {
  const ScratchFolder scratch;
  { const FolderLock lock(scratch / "unused", refused); }
  EXPECT_FALSE(std::filesystem::exists(scratch / "unused"));
  {
    const FolderLock lock(scratch / "used", refused);
    write_bytes(scratch / "used/file", "x");
  }
  EXPECT_TRUE(std::filesystem::exists(scratch / "used/file"));
  EXPECT_FALSE(std::filesystem::exists(scratch / "used" / lock_name));
  { const FolderLock lock(scratch / "used", kept); }
  EXPECT_TRUE(holds(message_of<ConfigurationError>([&] { FolderLock(scratch / "used", refused); }),
                    "exists and is not empty"));
}

// The file alone, of a process that ended, is in nobody's way.
TEST(FolderLock, ContentsAppearWholeOrNotAtAll) {
  const ScratchFolder scratch;
  for (const std::string name : {"new", "empty/", "above/below"}) {
    const std::filesystem::path path = scratch / name;
    if (name == "empty/") create_folder(path);
    {
      FolderLock given_up(path, refused);
      write_bytes(given_up.begin_contents() / "a", "text");
      EXPECT_FALSE(std::filesystem::exists(path / "a"));
    }
    EXPECT_EQ(std::filesystem::exists(path), name == "empty/") << path;
    FolderLock lock(path, refused);
    write_bytes(lock.begin_contents() / "a", "text");
    lock.publish();
    EXPECT_EQ(test::read_bytes(path / "a"), "text");
    EXPECT_TRUE(
        holds(message_of<ConfigurationError>([&] { FolderLock again(path, refused); }), "is not empty"));
  }
  const auto entries = [](const std::filesystem::path& folder) {
    return std::distance(std::filesystem::directory_iterator(folder), {});
  };
  EXPECT_EQ(entries(scratch.path()), 3) << "a temporary folder remained";
  EXPECT_EQ(entries(scratch / "above"), 1);
  EXPECT_EQ(entries(scratch / "new"), 1) << "a lock remained";
}

TEST(FolderLock, AForgottenFileIsTakenOver) {
  const ScratchFolder scratch;
  for (const std::string text : {"", "{", "[1]", R"({"host": 1})"}) {
    write_bytes(scratch / lock_name, text);
    EXPECT_EQ(FolderLock(scratch.path(), refused).remark(), "") << text;
    EXPECT_FALSE(std::filesystem::exists(scratch / lock_name));
  }
  write_bytes(scratch / lock_name,
              R"({"host": "elsewhere", "process": 7, "process_start": 5, "since": "noon"})");
  EXPECT_TRUE(holds(FolderLock(scratch.path(), refused).remark(),
                    "process 7 on host elsewhere since noon had the output folder"));
}

// As on a network disk that was mounted without locks.
TEST(FolderLock, WithoutLocksTheFileCounts) {
  const ScratchFolder scratch;
  const FolderLock::TryLock none = [](int) { return ENOLCK; };
  const auto refusal = [&] {
    return message_of<ConfigurationError>([&] { FolderLock(scratch.path(), kept, none); });
  };
  Other other([&] { new FolderLock(scratch.path(), refused, [](int) { return ENOLCK; }); });
  EXPECT_TRUE(holds(refusal(), "by process " + std::to_string(other.process())));
  other.end();
  { const FolderLock lock(scratch.path(), kept, none); }
  // The same number, given to another process.
  nlohmann::ordered_json record = ProcessRecord::of(::getpid()).to_json();
  write_bytes(scratch / lock_name, record.dump());
  EXPECT_TRUE(holds(refusal(), "by process " + std::to_string(::getpid())));
  record["process_start"] = 1;
  write_bytes(scratch / lock_name, record.dump());
  { const FolderLock lock(scratch.path(), kept, none); }
  record["host"] = "elsewhere";
  write_bytes(scratch / lock_name, record.dump());
  EXPECT_TRUE(holds(refusal(), "if it does not run any more, remove " + (scratch / lock_name).string()));
}

}  // namespace
}  // namespace chorus
