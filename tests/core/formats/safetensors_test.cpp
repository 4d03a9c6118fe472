#include "core/formats/safetensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ops/base/clock.h"
#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::holds;
using test::message_of;
using test::ScratchFolder;
using test::write_bytes;

// The bytes of a file with this header and so many bytes of data.
std::string file_of(std::string_view header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  bytes += header;
  for (std::size_t i = 0; i < data_bytes; ++i) bytes += static_cast<char>(i);
  return bytes;
}

// What opening the file says against it.
std::string safetensors_refusal(const std::string& bytes) {
  const ScratchFolder folder;
  const auto path = folder / "bad.safetensors";
  write_bytes(path, bytes);
  const auto message = message_of<DataError>([&] { SafetensorsFile{path}; });
  EXPECT_TRUE(holds(message, path.string()));
  return message;
}

std::string safetensors_refusal(std::string_view header, std::size_t data_bytes) {
  return safetensors_refusal(file_of(header, data_bytes));
}

TEST(SafetensorsFile, ReadsWhatTheFormatAllows) {
  const ScratchFolder folder;
  // Not in the order of the bytes, unaligned, with a scalar, an empty tensor and a type that cannot be
  // computed with.
  write_bytes(folder / "a", file_of(R"({"b":{"dtype":"I64","shape":[1],"data_offsets":[4,12]},)"
                                    R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                                    R"("e":{"dtype":"F32","shape":[0,3],"data_offsets":[4,4]},)"
                                    R"("__metadata__":{"format":"pt"}} )",
                                    12));
  const SafetensorsFile file(folder / "a");
  ASSERT_EQ(file.tensors().size(), 3U);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[1].name, "e");
  EXPECT_EQ(file.tensors()[2].name, "b");
  EXPECT_EQ(file.tensors()[2].dtype, FileDType::i64);
  EXPECT_EQ(file.tensor("a").elements(), 1);
  EXPECT_EQ(file.tensor("e").elements(), 0);
  EXPECT_TRUE(read_tensor(file.tensor("e")).empty());
  EXPECT_EQ(static_cast<int>(file.tensors()[2].data[0]), 4);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_TRUE(file.contains("b"));
  EXPECT_FALSE(file.contains("c"));
}

// The seconds that opening a file of so many tensors takes.
double time_to_open(std::size_t tensors) {
  const ScratchFolder folder;
  std::string header = "{";
  for (std::size_t i = 0; i < tensors; ++i) {
    header += fmt::format(R"({}"layer.{}":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}})",
                          i == 0 ? "" : ",", i, i, i + 1);
  }
  write_bytes(folder / "a", file_of(header + "}", tensors));
  const Clock clock;
  const SafetensorsFile file(folder / "a");
  return clock.seconds();
}

TEST(SafetensorsFile, IsOpenedInATimeThatGrowsWithItsTensors) {
  const double few = std::min({time_to_open(2'000), time_to_open(2'000), time_to_open(2'000)});
  const double many = std::min({time_to_open(20'000), time_to_open(20'000)});
  EXPECT_LT(many, 40 * few) << "ten times as many tensors";  // 100 times where each looks at all
}

TEST(SafetensorsFile, RefusesTensorsThatItCannotGive) {
  const ScratchFolder folder;
  write_bytes(folder / "a", file_of(R"({"b":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", 8));
  const SafetensorsFile file(folder / "a");
  EXPECT_TRUE(holds(message_of<DataError>([&] { file.tensor("b"); }),
                    "the tensor b is of type I64; F32, F16 and BF16 can be read"));
  EXPECT_TRUE(holds(message_of<DataError>([&] { file.tensor("c"); }), "has no tensor c"));
}

TEST(SafetensorsFile, RefusesABadHeader) {
  EXPECT_TRUE(holds(safetensors_refusal("1234567"), "is no safetensors file: it has 7 bytes"));
  EXPECT_TRUE(holds(safetensors_refusal(""), "it has 0 bytes"));
  EXPECT_TRUE(holds(safetensors_refusal("# the weights of a model"),
                    "is no safetensors file: its header would have"));
  EXPECT_TRUE(holds(safetensors_refusal(std::string("\x64\0\0\0\0\0\0\0{}", 10)),
                    "is truncated: its header has 100 bytes, and the file ends after 2 of them"));
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":)", 0), "the header of 5 bytes is not valid JSON: "));
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":1e999})", 0), "is not valid JSON: "));
  EXPECT_TRUE(holds(safetensors_refusal("[]", 0), "the header is not a JSON object but array"));
  EXPECT_TRUE(
      holds(safetensors_refusal(R"({"__metadata__":{"a":1}})", 0), "__metadata__ has a = 1, not a text"));
  EXPECT_TRUE(
      holds(safetensors_refusal(R"({"__metadata__":1})", 0), "__metadata__ is not an object of texts"));
}

TEST(SafetensorsFile, RefusesABadEntry) {
  EXPECT_TRUE(
      holds(safetensors_refusal(R"({"a":7})", 0), "the tensor a lacks dtype, shape or data_offsets: 7"));
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "the tensor a lacks"));
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4),
                    "the tensor a has the unknown dtype \"F31\""));
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":{"dtype":5,"shape":[1],"data_offsets":[0,4]}})", 4),
                    "unknown dtype 5"));
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4),
                    "has the shape [-1]"));
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4),
                    "has the shape [1.0]"));
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4),
                    "has the shape 1"));
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4),
                    "has the data_offsets [0]"));
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})", 4),
                    "has the data_offsets [-4,0]"));
  EXPECT_TRUE(holds(
      safetensors_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}})", 4),
      "has the data_offsets [0,18446744073709551615]"));
}

TEST(SafetensorsFile, RefusesBadOffsets) {
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4),
                    "the tensor a ends at byte 0 before it begins at 4"));
  EXPECT_TRUE(
      holds(safetensors_refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7),
            "the tensor a ends at byte 8 of the data, of which the file has 7: it is truncated or damaged"));
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":{"dtype":"F32","shape":[3,2],"data_offsets":[0,20]}})", 20),
                    "the tensor a of F32 [3, 2] needs 24 bytes, and its data_offsets give it 20"));
  EXPECT_TRUE(holds(
      safetensors_refusal(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
      "needs more than 2^63 bytes, and its data_offsets give it 0"));
}

TEST(SafetensorsFile, RefusesOverlapsGapsAndRests) {
  const auto two = [](std::string_view a, std::string_view b) {
    return R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)" + std::string(a) +
           R"(},"b":{"dtype":"F32","shape":[1],"data_offsets":)" + std::string(b) + "}}";
  };
  EXPECT_TRUE(holds(safetensors_refusal(two("[0,4]", "[2,6]"), 6),
                    "the tensors a and b overlap: the first ends at byte 4, the second begins at 2"));
  EXPECT_TRUE(holds(safetensors_refusal(two("[0,4]", "[0,4]"), 4), "the tensors a and b overlap"));
  EXPECT_TRUE(holds(safetensors_refusal(two("[0,4]", "[6,10]"), 10),
                    "2 bytes between a and the tensor b belong to no tensor"));
  EXPECT_TRUE(
      holds(safetensors_refusal(two("[1,5]", "[5,9]"), 9), "1 bytes between the header and the tensor a"));
  EXPECT_TRUE(holds(safetensors_refusal(two("[0,4]", "[4,8]"), 11),
                    "the last 3 bytes of the file belong to no tensor"));
  EXPECT_TRUE(holds(safetensors_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                        R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                                        8),
                    "the tensor a stands twice in the header"));
}

TEST(SafetensorsFile, SaysThatAFileIsAGitLfsPointer) {
  EXPECT_TRUE(
      holds(safetensors_refusal("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
            "is a Git LFS pointer, not the file: run `git lfs pull`"));
}

TEST(SafetensorsFile, RefusesEveryTruncation) {
  const std::string bytes = file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  for (std::size_t size = 0; size < bytes.size(); ++size) safetensors_refusal(bytes.substr(0, size));
}

TEST(ReadSlice, CutsRowsAndColumns) {
  const std::vector<float> values{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const TensorView matrix{"m", FileDType::f32, {3, 4}, reinterpret_cast<const std::byte*>(values.data())};
  EXPECT_EQ(read_slice(matrix, 0, 1, 3), (std::vector<float>{4, 5, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(read_slice(matrix, 1, 1, 3), (std::vector<float>{1, 2, 5, 6, 9, 10}));
  EXPECT_TRUE(read_slice(matrix, 1, 2, 2).empty());
  EXPECT_EQ(read_tensor(matrix), values);
  const TensorView vector{"v", FileDType::f32, {12}, matrix.data};
  EXPECT_EQ(read_slice(vector, 0, 10, 12), (std::vector<float>{10, 11}));
  EXPECT_TRUE(
      holds(message_of<Error>([&] { read_slice(vector, 1, 0, 1); }), "a slice along dim 1 of v [12]"));
  EXPECT_TRUE(holds(message_of<Error>([&] { read_slice(matrix, 0, 2, 4); }),
                    "the slice [2, 4) along dim 0 of m [3, 4]"));
  EXPECT_TRUE(holds(message_of<Error>([&] { read_slice(matrix, 1, 3, 2); }), "the slice [3, 2)"));
}

TEST(ReadSlice, ConvertsHalves) {
  const std::uint16_t bits[] = {0x3c00, 0xc000, 0x0001, 0x8001, 0x03ff, 0x0400,
                                0x7bff, 0x7c00, 0xfc00, 0x3555, 0x8000};
  const TensorView view{"h", FileDType::f16, {11}, reinterpret_cast<const std::byte*>(bits)};
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> expected{1,        -2,       0x1p-24F,  -0x1p-24F,   0x3ffp-24F, 0x1p-14F,
                                    65504.0F, infinity, -infinity, 0x1.554p-2F, -0.0F};
  const auto found = read_tensor(view);
  EXPECT_EQ(found, expected);
  EXPECT_TRUE(std::signbit(found.back()));
  const std::uint16_t nan = 0x7e01;
  EXPECT_TRUE(
      std::isnan(read_tensor({"n", FileDType::f16, {1}, reinterpret_cast<const std::byte*>(&nan)})[0]));
}

TEST(ReadSlice, ConvertsBfloat16FromUnalignedBytes) {
  const std::uint16_t bits[] = {0x3f80, 0xc000, 0x3eab, 0x7f80};
  std::vector<std::byte> bytes(1 + sizeof bits);
  std::memcpy(bytes.data() + 1, bits, sizeof bits);
  const TensorView view{"b", FileDType::bf16, {2, 2}, bytes.data() + 1};
  EXPECT_EQ(read_slice(view, 1, 0, 1), (std::vector<float>{1, 0x1.56p-2F}));
}

TEST(WriteSafetensors, RoundTrips) {
  const ScratchFolder folder;
  const float matrix[] = {1, 2, 3, 4, 5, 6};
  const std::uint16_t halves[] = {0x3c00, 0x4000};
  const float zebra[] = {7};
  write_safetensors(folder / "a", {{{"zebra \"é\"", FileDType::f32, {1}}, zebra},
                                   {{"half", FileDType::f16, {2}}, halves},
                                   {{"matrix", FileDType::f32, {2, 3}}, matrix},
                                   {{"nothing", FileDType::f32, {0}}, nullptr}});
  const SafetensorsFile file(folder / "a");
  ASSERT_EQ(file.tensors().size(), 4U);
  EXPECT_EQ(file.tensors()[0].name, "matrix");
  EXPECT_EQ(file.tensor("zebra \"é\"").shape, (std::vector<std::int64_t>{1}));
  EXPECT_EQ(file.tensors()[3].name, "half") << "narrower types come last";
  EXPECT_EQ(read_tensor(file.tensor("matrix")), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(file.tensor("matrix").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(read_tensor(file.tensor("half")), (std::vector<float>{1, 2}));
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}))
      << "hashes are not of them";
  for (const auto& tensor : file.tensors()) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data) %
                  static_cast<std::uintptr_t>(bytes_per_element(tensor.dtype)),
              0U)
        << tensor.name << " is not aligned";
  }
}

// Every bit of a file counts.
TEST(WriteSafetensors, NoFlippedBitPassesUnnoticed) {
  const ScratchFolder folder;
  const float matrix[] = {1, 2, 3, 4, 5, 6};
  const std::uint16_t halves[] = {0x3c00, 0x4000, 0x4400};
  write_safetensors(folder / "a", {{{"half", FileDType::f16, {3}}, halves},
                                   {{"matrix", FileDType::f32, {2, 3}}, matrix},
                                   {{"nothing", FileDType::f32, {0}}, nullptr},
                                   {{"naught", FileDType::f32, {0}}, nullptr}});
  SafetensorsFile(folder / "a").require_undamaged();
  const std::string good = test::read_bytes(folder / "a");
  const auto damage = [&](std::size_t place, int bit) {
    std::string bad = good;
    bad[place] = static_cast<char>(bad[place] ^ (1 << bit));
    write_bytes(folder / "bad", bad);
    return message_of<DataError>([&] { SafetensorsFile(folder / "bad").require_undamaged(); });
  };
  for (std::size_t place = 0; place < good.size(); ++place) {
    const std::string message = damage(place, static_cast<int>(place % 8));
    ASSERT_TRUE(holds(message, (folder / "bad").string())) << "byte " << place << ": " << message;
  }
  for (std::size_t place = good.find("chorus_hashes"); place < good.find("format"); ++place) {
    for (int bit = 0; bit < 8; ++bit)
      ASSERT_TRUE(holds(damage(place, bit), (folder / "bad").string()))
          << "byte " << place << ", bit " << bit;
  }
  EXPECT_TRUE(holds(damage(good.size() - 1, 0), "bad: the tensor half is damaged"));
  EXPECT_TRUE(holds(damage(good.size() - 7, 0), "bad: the tensor matrix is damaged"));
  EXPECT_TRUE(holds(damage(good.find("\"pt\"") + 1, 0), "bad: the header is damaged"));
}

TEST(SafetensorsFile, OfOtherProgramsHasNoHashes) {
  const ScratchFolder folder;
  write_bytes(folder / "a", file_of(R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8));
  SafetensorsFile(folder / "a").require_undamaged();
}

// These files were written by the safetensors library from PyTorch.
TEST(WriteSafetensors, WritesTheSameBytesAsTheLibraryButForTheHashes) {
  const auto parts_of = [](const std::filesystem::path& path) {
    const std::string bytes = test::read_bytes(path);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    std::string header = bytes.substr(8, length);
    if (const std::size_t begin = header.find("\"chorus_hashes\""); begin != std::string::npos)
      header.erase(begin, header.find("\"format\"") - begin);
    return std::pair(header.substr(0, header.find_last_not_of(' ') + 1), bytes.substr(8 + length));
  };
  for (const std::string_view name : {"models/peft-tinyllama-r4-qv/adapter_model.safetensors",
                                      "models/fixture-tiny-llama-hf-golden/model.safetensors"}) {
    const auto path = test::shared_path(name);
    if (!path) GTEST_SKIP() << test::missing_shared(name);
    const SafetensorsFile file(*path);
    std::vector<TensorToWrite> tensors;
    for (const auto& view : file.tensors())
      tensors.insert(tensors.begin(), {{view.name, view.dtype, view.shape}, view.data});
    const ScratchFolder folder;
    write_safetensors(folder / "copy", tensors, file.metadata());
    EXPECT_TRUE(parts_of(folder / "copy") == parts_of(*path)) << name;
  }
}

TEST(SafetensorsWriter, TakesOneTensorAfterTheOther) {
  const ScratchFolder folder;
  const float values[] = {1, 2};
  {
    SafetensorsWriter writer(folder / "a", {{"b", FileDType::f32, {1}}, {"a", FileDType::f32, {2}}});
    EXPECT_EQ(writer.order()[0].name, "a");
    EXPECT_TRUE(holds(message_of<Error>([&] { writer.append(std::as_bytes(std::span(values, 1))); }),
                      "the tensor a [2] takes 8 bytes and is given 4"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "an unfinished file remained";
  SafetensorsWriter writer(folder / "a", {{"b", FileDType::f32, {1}}, {"a", FileDType::f32, {2}}});
  writer.append(std::as_bytes(std::span(values)));
  EXPECT_TRUE(holds(message_of<Error>([&] { writer.finish(); }), "1 of 2 tensors were written"));
  writer.append(std::as_bytes(std::span(values, 1)));
  EXPECT_TRUE(
      holds(message_of<Error>([&] { writer.append({}); }), "more tensors are written than were announced"));
  writer.finish();
  EXPECT_EQ(read_tensor(SafetensorsFile(folder / "a").tensor("a")), (std::vector<float>{1, 2}));
}

TEST(WriteSafetensors, RefusesDefectsOfTheCaller) {
  const ScratchFolder folder;
  const float value = 1;
  const TensorToWrite tensor{{"a", FileDType::f32, {1}}, &value};
  EXPECT_TRUE(holds(message_of<Error>([&] {
                      write_safetensors(folder / "a", {tensor, tensor});
                    }),
                    "the tensor a is to be written twice"));
  EXPECT_TRUE(holds(message_of<Error>([&] {
                      write_safetensors(folder / "a", {{{"a", FileDType::f32, {-1}}, &value}});
                    }),
                    "the tensor a has the shape [-1]"));
  EXPECT_TRUE(holds(message_of<DataError>([&] { write_safetensors(folder / "no/a", {tensor}); }),
                    "cannot write " + (folder / "no/a").string()));
}

// Every half is itself again; halfway between two the even one is taken, beyond halfway the nearer.
TEST(StoredAs, HalvesAreRoundedToNearestEven) {
  const auto halves_of = [](const std::vector<float>& values) {
    const std::vector<std::byte> bytes = stored_as(FileDType::f16, values);
    std::vector<std::uint16_t> halves(values.size());
    std::memcpy(halves.data(), bytes.data(), bytes.size());
    return halves;
  };
  std::vector<std::uint16_t> all;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7fffU) <= 0x7c00U) all.push_back(static_cast<std::uint16_t>(bits));
  }
  const std::vector<float> exact =
      read_tensor({"all", FileDType::f16, {std::ssize(all)}, reinterpret_cast<const std::byte*>(all.data())});
  EXPECT_EQ(halves_of(exact), all);
  std::vector<float> halfway, nearer;
  std::vector<std::uint16_t> even, next;
  for (std::uint16_t bits = 0; bits < 0x7bffU; ++bits) {
    halfway.push_back((exact[bits] + exact[bits + 1U]) / 2);
    nearer.push_back(std::nextafter(halfway.back(), 1e6F));
    even.push_back(static_cast<std::uint16_t>(bits + (bits & 1U)));
    next.push_back(static_cast<std::uint16_t>(bits + 1U));
  }
  EXPECT_EQ(halves_of(halfway), even);
  EXPECT_EQ(halves_of(nearer), next);
  EXPECT_EQ(halves_of({65519.9F, 65520, -1e9F, std::numeric_limits<float>::quiet_NaN()}),
            (std::vector<std::uint16_t>{0x7bff, 0x7c00, 0xfc00, 0x7e00}));
}

}  // namespace
}  // namespace chorus
