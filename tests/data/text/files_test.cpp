#include "data/text/files.h"

#include <cerrno>
#include <iterator>
#include <utility>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/text/text_file.h"
#include "ops/base/error.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/resident.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::FileSizeLimit;
using test::holds;
using test::message_of;
using test::read_bytes;
using test::ScratchFolder;
using test::write_bytes;

std::int64_t entries(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
}

TEST(WriteFileAtomically, WritesAndReplaces) {
  const ScratchFolder folder;
  write_file_atomically(folder / "a", "first");
  EXPECT_EQ(read_bytes(folder / "a"), "first");
  write_file_atomically(folder / "a", std::string(3'000'000, 'x'));
  EXPECT_EQ(read_bytes(folder / "a"), std::string(3'000'000, 'x'));
  write_file_atomically(folder / "a", "");
  EXPECT_EQ(read_bytes(folder / "a"), "");
  EXPECT_EQ(entries(folder.path()), 1) << "a temporary file remained";
}

TEST(WriteFileAtomically, GivesTheModeOfAnOrdinaryFile) {
  const ScratchFolder folder;
  const mode_t mask = ::umask(022);
  write_file_atomically(folder / "a", "text");
  ::umask(mask);
  EXPECT_EQ(static_cast<int>(std::filesystem::status(folder / "a").permissions()), 0644);
}

TEST(WriteFileAtomically, KeepsTheFormerFileAndCleansUpWhenTheDiskIsFull) {
  const ScratchFolder folder;
  write_file_atomically(folder / "a", "former");
  std::string message;
  {
    const FileSizeLimit limit(1000);
    message = message_of<DataError>([&] { write_file_atomically(folder / "a", std::string(5000, 'x')); });
  }
  EXPECT_TRUE(holds(message, "cannot write " + (folder / "a").string()));
  EXPECT_TRUE(holds(message, "File too large"));
  EXPECT_TRUE(holds(message, "it needs 5000 bytes, "));
  EXPECT_TRUE(holds(message, " are free there"));
  EXPECT_EQ(read_bytes(folder / "a"), "former");
  EXPECT_EQ(entries(folder.path()), 1) << "a temporary file remained";
}

TEST(WriteFileAtomically, NamesAFolderThatIsMissing) {
  const ScratchFolder folder;
  const auto message = message_of<DataError>([&] { write_file_atomically(folder / "no/a", "text"); });
  EXPECT_TRUE(holds(message, (folder / "no/a").string() + ": No such file or directory; it needs 4 bytes"));
}

TEST(WriteFileAtomically, CleansUpWhenTheNameIsAFolder) {
  const ScratchFolder folder;
  std::filesystem::create_directories(folder / "a");
  const auto message = message_of<DataError>([&] { write_file_atomically(folder / "a", "text"); });
  EXPECT_TRUE(holds(message, "Is a directory"));
  EXPECT_EQ(entries(folder.path()), 1);
}

TEST(MappedFile, BringsPartsIntoMemoryAndGivesThemBack) {
  const ScratchFolder folder;
  constexpr std::size_t mebibyte = 1 << 20;
  write_bytes(folder / "a", std::string(4 * mebibyte, 'x'));
  const MappedFile file(folder / "a");
  const auto resident = [&] { return test::resident_bytes(folder / "a"); };
  EXPECT_EQ(resident(), 0);
  file.touch(file.bytes().subspan(mebibyte + 1, 2 * mebibyte));
  EXPECT_GE(resident(), std::int64_t{2} << 20);
  file.give_back(file.bytes());
  EXPECT_EQ(resident(), 0);
  EXPECT_EQ(file.bytes()[2 * mebibyte], std::byte{'x'});
  const std::string other(10, 'y');
  EXPECT_TRUE(holds(message_of<Error>([&] { file.give_back(std::as_bytes(std::span(other))); }),
                    (folder / "a").string() + ", which has 4194304"));
}

TEST(AtomicFile, LeavesNothingUnlessPublished) {
  const ScratchFolder folder;
  {
    AtomicFile file(folder / "a", 4);
    file.write(std::as_bytes(std::span("text", 4)));
    EXPECT_FALSE(std::filesystem::exists(folder / "a"));
    EXPECT_EQ(entries(folder.path()), 1);
  }
  EXPECT_EQ(entries(folder.path()), 0);
}

TEST(WriteNewFile, NeverOverwritesAndIsThereAsAWhole) {
  const ScratchFolder folder;
  {
    const FileSizeLimit limit(1000);
    const auto write = [&] { write_new_file(folder / "a", std::string(5000, 'x')); };
    EXPECT_TRUE(holds(message_of<DataError>(write), "File too large"));
  }
  EXPECT_EQ(entries(folder.path()), 0);
  write_new_file(folder / "a", "1");
  EXPECT_TRUE(holds(message_of<ConfigurationError>([&] { write_new_file(folder / "a", "2"); }),
                    "a: exists already and is not overwritten"));
  EXPECT_EQ(read_bytes(folder / "a"), "1");
}

TEST(WriteNewFile, KeepsTheDataWhereTheNameWasTakenMeanwhile) {
  const ScratchFolder folder;
  AtomicFile file(folder / "a", 4, Former::kept);
  file.write(std::as_bytes(std::span("text", 4)));
  write_bytes(folder / "a", "other");
  const std::string written = file.temporary().string();
  EXPECT_TRUE(holds(
      message_of<ConfigurationError>([&] { file.publish(); }),
      "a: was created by someone else in the meantime and is not overwritten; the data are in " + written));
  EXPECT_EQ(read_bytes(folder / "a"), "other");
  EXPECT_EQ(read_bytes(written), "text");
}

TEST(AppendedFile, GoesOnBehindWhatIsThere) {
  const ScratchFolder folder;
  write_bytes(folder / "log", "old ");
  AppendedFile file(folder / "log");
  file.append("new");
  EXPECT_EQ(read_bytes(folder / "log"), "old new") << "while the file is still open";
}

TEST(AppendedFile, NamesTheFileAndTheReason) {
  const ScratchFolder folder;
  EXPECT_EQ(message_of<DataError>([&] { AppendedFile(folder / "no/log"); }),
            (folder / "no/log").string() + ": cannot be written: No such file or directory");
  AppendedFile full("/dev/full");
  EXPECT_EQ(message_of<DataError>([&] { full.append("text"); }),
            "/dev/full: cannot be written: No space left on device");
}

TEST(MappedFile, ShowsTheBytesAndMoves) {
  const ScratchFolder folder;
  write_bytes(folder / "a", "hello");
  MappedFile first(folder / "a");
  const auto* address = first.bytes().data();
  MappedFile second = std::move(first);
  EXPECT_EQ(second.bytes().data(), address);
  ASSERT_EQ(second.bytes().size(), 5U);
  EXPECT_EQ(static_cast<char>(second.bytes()[4]), 'o');
  EXPECT_EQ(second.path(), folder / "a");

  write_bytes(folder / "b", "other");
  MappedFile third(folder / "b");
  second = std::move(third);
  EXPECT_EQ(static_cast<char>(second.bytes()[1]), 't');
}

TEST(MappedFile, ReadsAnEmptyFile) {
  const ScratchFolder folder;
  write_bytes(folder / "empty", "");
  EXPECT_TRUE(MappedFile(folder / "empty").bytes().empty());
  EXPECT_EQ(read_file(folder / "empty"), "");
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  const ScratchFolder folder;
  EXPECT_TRUE(holds(message_of<DataError>([&] { MappedFile(folder / "none"); }),
                    "cannot open " + (folder / "none").string() + ": No such file or directory"));
  EXPECT_TRUE(holds(message_of<DataError>([&] { MappedFile{folder.path()}; }), "is not a regular file"));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_TRUE(holds(message_of<DataError>([&] { MappedFile(folder / "pipe"); }), "is not a regular file"));
}

TEST(CreateOutputFolder, CreatesParentsAndTakesAnEmptyOne) {
  const ScratchFolder folder;
  create_output_folder(folder / "a/b");
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b"));
  EXPECT_NO_THROW(create_output_folder(folder / "a/b"));
}

TEST(CreateOutputFolder, NeverTakesOneThatHoldsSomething) {
  const ScratchFolder folder;
  write_bytes(folder / "file", "precious");
  const auto message = message_of<ConfigurationError>([&] { create_output_folder(folder.path()); });
  EXPECT_TRUE(holds(message, "the output folder " + folder.path().string() + " exists and is not empty"));
  EXPECT_TRUE(holds(message, "name another folder"));
  EXPECT_TRUE(holds(message_of<ConfigurationError>([&] { create_output_folder(folder / "file"); }),
                    "is an existing file; name a folder"));
  EXPECT_EQ(read_bytes(folder / "file"), "precious");
  EXPECT_TRUE(holds(message_of<DataError>([&] { create_output_folder(folder / "file/below"); }),
                    "cannot create the folder"));
}

TEST(BeginNewFile, MakesItsFolder) {
  const ScratchFolder folder;
  begin_new_file(folder / "a/b/p.jsonl", "--predictions");
  EXPECT_TRUE(std::filesystem::is_empty(folder / "a/b"));
  EXPECT_NO_THROW(begin_new_file(folder / "a/b/p.jsonl", "--predictions"));
}

TEST(BeginNewFile, RefusesWhatCannotBeWritten) {
  const ScratchFolder folder;
  write_bytes(folder / "file", "x");
  const auto refusal = [](const std::filesystem::path& path) {
    return message_of<ConfigurationError>([&] { begin_new_file(path, "--predictions"); });
  };
  EXPECT_TRUE(holds(refusal(folder / "file"), "file exists already and is not overwritten"));
  EXPECT_TRUE(holds(refusal(folder / "new/"), "new/ names a folder, not a file"));
  EXPECT_EQ(refusal(folder / "file/p.jsonl"), "--predictions " + (folder / "file/p.jsonl").string() + ": " +
                                                  (folder / "file").string() + " is no folder");
  EXPECT_TRUE(holds(message_of<ConfigurationError>([&] { begin_file(folder.path(), "--grids"); }),
                    "names a folder, not a file"));
  EXPECT_NO_THROW(begin_file(folder / "file", "--grids"));
  EXPECT_TRUE(holds(refusal("/proc/none/p.jsonl"), "--predictions /proc/none/p.jsonl: "));
}

TEST(RequireWritablePlace, LooksAtTheNearestFolderThatIsThere) {
  const ScratchFolder folder;
  write_bytes(folder / "file", "x");
  EXPECT_NO_THROW(require_writable_place(folder / "a/b/c", "--output"));
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  EXPECT_TRUE(
      holds(message_of<ConfigurationError>([&] { require_writable_place(folder / "file/a/b", "--output"); }),
            "file is no folder"));
}

TEST(RequireWritablePlace, SaysWhyNot) {
  const ScratchFolder folder;
  std::filesystem::create_directories(folder / "locked");
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(folder / "locked", std::filesystem::perms(0555));
  const auto said_to_another_user = [&] {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(1);  // root may write anywhere
    errno = ENOENT;                                      // of a former call
    const std::string said =
        message_of<ConfigurationError>([&] { require_writable_place(folder / "locked/new", "--output"); });
    _exit(said.ends_with("locked cannot be written to: Permission denied") ? 0 : 1);
  };
  EXPECT_EXIT(said_to_another_user(), testing::ExitedWithCode(0), "");
}

TEST(PublishFolder, RenamesACompleteFolder) {
  const ScratchFolder folder;
  create_output_folder(folder / "step.partial");
  write_bytes(folder / "step.partial/a", "text");
  publish_folder(folder / "step.partial", folder / "step");
  EXPECT_EQ(read_bytes(folder / "step/a"), "text");
  EXPECT_FALSE(std::filesystem::exists(folder / "step.partial"));
}

TEST(PublishFolder, RefusesANameThatIsTaken) {
  const ScratchFolder folder;
  create_output_folder(folder / "step.partial");
  create_output_folder(folder / "step");
  write_bytes(folder / "step/a", "former");
  const auto message =
      message_of<DataError>([&] { publish_folder(folder / "step.partial", folder / "step"); });
  EXPECT_TRUE(holds(message, "cannot rename the folder"));
  EXPECT_TRUE(holds(message, "Directory not empty"));
  EXPECT_EQ(read_bytes(folder / "step/a"), "former");
  EXPECT_TRUE(holds(message_of<DataError>([&] { publish_folder(folder / "none", folder / "x"); }),
                    "cannot open the folder"));
}

TEST(RemoveFolder, RemovesEverythingAndMayBeRepeated) {
  const ScratchFolder folder;
  create_output_folder(folder / "a/b");
  write_bytes(folder / "a/b/c", "text");
  remove_folder(folder / "a");
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  EXPECT_NO_THROW(remove_folder(folder / "a"));
}

}  // namespace
}  // namespace chorus
