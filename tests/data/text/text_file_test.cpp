#include "data/text/text_file.h"

#include <sys/stat.h>

#include "tests/data/scratch.h"

namespace chorus {
namespace {

TEST(TextFile, FindsTheFirstInvalidByte) {
  EXPECT_EQ(invalid_utf8("plain"), std::nullopt);
  EXPECT_EQ(invalid_utf8("caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"), std::nullopt);
  EXPECT_EQ(invalid_utf8("ab\x92"), 2U);              // Windows-1252
  EXPECT_EQ(invalid_utf8("a\xC3"), 1U);               // cut short
  EXPECT_EQ(invalid_utf8("\xC0\xAF"), 0U);            // overlong
  EXPECT_EQ(invalid_utf8("\xE0\x80\x80"), 0U);        // overlong
  EXPECT_EQ(invalid_utf8("x\xED\xA0\x80"), 1U);       // surrogate
  EXPECT_EQ(invalid_utf8("xy\xF4\x90\x80\x80"), 2U);  // above U+10FFFF
  EXPECT_EQ(invalid_utf8("\xE2\x82"), 0U);
  EXPECT_EQ(invalid_utf8(std::string("ab\0c", 4)), 2U);
}

TEST(TextFile, NamesLineAndByte) {
  const TemporaryFolder folder;
  const std::string path = folder.write("bad.txt", "good\nalso \x92 bad\n");
  const std::string message = message_of<DataError>([&] { read_text_file(path); });
  expect_contains(message, "bad.txt:2: at byte 6 of the line, byte 0x92 is not valid UTF-8");
  const std::string first = folder.write("first.txt", "\xFFx");
  expect_contains(message_of<DataError>([&] { read_text_file(first); }), "first.txt:1: at byte 1");
}

TEST(TextFile, RefusesWhatIsMissingEmptyOrAFolder) {
  const TemporaryFolder folder;
  expect_contains(message_of<DataError>([&] { read_text_file(folder / "none"); }), "no such file");
  const std::string empty = folder.write("empty", "");
  expect_contains(message_of<DataError>([&] { read_text_file(empty); }), "is empty");
  expect_contains(message_of<DataError>([&] { read_text_file(folder.path()); }), "is a folder");
}

// At once: a pipe that nobody writes has no first byte, and /dev/zero no last one.
TEST(TextFile, RefusesPipesAndDevices) {
  const TemporaryFolder folder;
  const std::string pipe = folder.write("pipe", "");
  std::filesystem::remove(pipe);
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {pipe, std::string("/dev/zero")})
    expect_contains(message_of<DataError>([&] { read_file(path); }),
                    path + ": is a pipe or a device, not a file");
}

TEST(TextFile, DropsTheByteOrderMark) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_text_file(folder.write("bom", "\xEF\xBB\xBFtext")), "text");
}

TEST(TextFile, NamesTheEncodingAndHowToConvertIt) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& bytes) {
    const std::string path = folder.write("wide.txt", bytes);
    EXPECT_EQ(message_of<DataError>([&] { read_unchecked_text(path); }),
              message_of<DataError>([&] { read_text_file(path); }));
    return message_of<DataError>([&] { read_text_file(path); });
  };
  using namespace std::string_literals;
  expect_contains(message("\xFF\xFEh\0i\0"s),
                  "wide.txt: is in UTF-16, not UTF-8: convert it (iconv -f UTF-16 -t UTF-8)");
  expect_contains(message("\xFE\xFF\0h\0i"s), "iconv -f UTF-16 -t");
  expect_contains(message("h\0i\0"s), "iconv -f UTF-16LE -t");
  expect_contains(message("\0h\0i"s), "iconv -f UTF-16BE -t");
  expect_contains(message("\xFF\xFE\0\0h\0\0\0"s), "iconv -f UTF-32 -t");
  expect_contains(message("\0\0\xFE\xFF\0\0\0h"s), "iconv -f UTF-32 -t");
}

TEST(TextFile, RefusesAZeroByteWithItsLine) {
  const TemporaryFolder folder;
  const std::string path = folder.write("zero.txt", std::string("good\nba\0d\n", 10));
  expect_contains(message_of<DataError>([&] { read_text_file(path); }),
                  "zero.txt:2: at byte 3 of the line, a zero byte, which no text holds");
}

// A text that is mapped is refused as one that is held.
TEST(TextFile, AMappedTextIsTheSameText) {
  const TemporaryFolder folder;
  using namespace std::string_literals;
  for (const std::string& bytes :
       {"good\nalso \x92 bad\n"s, "\xFFx"s, ""s, "\xFE\xFF\0\0\0h"s, "h\0i\0"s, "good\nba\0d\n"s,
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"s}) {
    const std::string path = folder.write("text", bytes);
    EXPECT_EQ(message_of<DataError>([&] { MappedText(path).require_utf8(); }),
              message_of<DataError>([&] { read_text_file(path); }));
  }
  EXPECT_EQ(message_of<DataError>([&] { MappedText(folder.path()); }),
            message_of<DataError>([&] { read_text_file(folder.path()); }));
  EXPECT_EQ(MappedText(folder.write("bom", "\xEF\xBB\xBFtext")).text(), "text");
  // What was given back is there when it is read once more.
  std::string lines;
  while (lines.size() < 40'000'000)
    lines += std::string(999'999, static_cast<char>('a' + lines.size() % 26)) + "\n";
  MappedText large(folder.write("large", lines));
  for (int time = 0; time < 2; ++time) large.require_utf8();
  EXPECT_TRUE(large.text() == lines);
}

TEST(TextFile, SaysThatAFileIsAGitLfsPointer) {
  const TemporaryFolder folder;
  const std::string path =
      folder.write("model.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n");
  expect_contains(message_of<DataError>([&] { read_file(path); }),
                  "model.bin: is a Git LFS pointer, not the file: run `git lfs pull`");
}

}  // namespace
}  // namespace chorus
