#include "launch/commands/event_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using namespace std::string_literals;
using test::FileSizeLimit;
using test::holds;
using test::message_of;
using test::read_bytes;
using test::ScratchFolder;

constexpr std::array<Scalar, 1> loss{{{"train/loss", 0.5F}}};

std::vector<std::filesystem::path> files_of(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// The check value of CRC-32C in the catalogue of CRCs, 0xE3069283 of these nine digits, masked by hand.
TEST(TfRecord, HoldsMaskedChecksums) {
  const std::string record = tf_record("123456789");
  EXPECT_EQ(record.substr(0, 8), "\x09\0\0\0\0\0\0\0"s);
  EXPECT_EQ(record.substr(12), "123456789\xe5\xb0\x8a\xc7"s);
  EXPECT_EQ(0xc78ab0e5U, std::rotr(0xe3069283U, 15) + 0xa282ead8U);
}

// Both checksums are from another implementation.
TEST(TfRecord, OfAScalarByteByByte) {
  const std::string event =
      "\x09\0\0\0\0\0\0\xf8\x3f"s  // field 1, wall_time, f64: 1.5
      "\x10\xac\x02"s              // field 2, step, varint: 2 · 128 + 44
      "\x2a\x13"s                  // field 5, summary, 19 bytes
      "\x0a\x11"s                  //   field 1, value, 17 bytes
      "\x0a\x0atrain/loss"s        //     field 1, tag, 10 bytes
      "\x15\0\0\0\x3f"s;           //     field 2, simple_value, f32: 0.5
  EXPECT_EQ(scalar_event(1.5, 300, loss), event);
  EXPECT_EQ(tf_record(event),
            "\x21\0\0\0\0\0\0\0"s
            "\x01\x7b\xec\xf6"s +
                event + "\xb5\x6a\x64\x31"s);
}

TEST(EventFile, BeginsWithVersionAndStart) {
  const ScratchFolder folder;
  EventFile file(folder / "new/one");
  const auto files = files_of(folder / "new/one");
  ASSERT_EQ(files.size(), 1U);
  EXPECT_TRUE(files[0].filename().string().starts_with("events.out.tfevents."));
  const std::string begun = read_bytes(files[0]);
  const std::size_t frame = 16, time = 9;
  ASSERT_EQ(begun.size(), 2 * (frame + time) + 15 + 6);
  EXPECT_EQ(begun.substr(12 + time, 15),
            "\x1a\x0d"
            "brain.Event:2");
  EXPECT_EQ(begun.substr(begun.size() - 4 - 6, 6), "\x10\0\x3a\x02\x08\x01"s);

  file.append(1.5, 300, loss);
  EXPECT_EQ(read_bytes(files[0]), begun + tf_record(scalar_event(1.5, 300, loss)))
      << "while it is still open";
}

TEST(EventFile, TakesThePlaceOfFormerOnes) {
  const ScratchFolder folder;
  test::write_bytes(folder / "notes", "not ours");
  const EventFile former(folder.path());
  const auto before = files_of(folder.path());
  const EventFile next(folder.path());
  const auto after = files_of(folder.path());
  ASSERT_EQ(after.size(), 3U);
  EXPECT_EQ(after[0], before[0]) << "the new one is behind it, within the same second, too";
  EXPECT_EQ(read_bytes(after[0]), "");
  EXPECT_NE(read_bytes(after[1]), "");
  EXPECT_EQ(read_bytes(folder / "notes"), "not ours");
}

TEST(EventFile, NamesTheFileAndTheReasonWhenTheDiskIsFull) {
  const ScratchFolder folder;
  EventFile file(folder.path());
  const std::string path = files_of(folder.path()).at(0).string();
  const FileSizeLimit limit(100);
  EXPECT_EQ(message_of<DataError>([&] {
              file.append(1, 1, loss);
              file.append(2, 2, loss);
            }),
            path + ": cannot be written: File too large");
}

TEST(EventFile, NamesAFolderThatCannotBe) {
  const ScratchFolder folder;
  test::write_bytes(folder / "a", "a file");
  EXPECT_TRUE(holds(message_of<DataError>([&] { EventFile(folder / "a"); }),
                    "cannot create the folder " + (folder / "a").string()));
}

}  // namespace
}  // namespace chorus
