#include "data/sets/hdf5_file.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <unistd.h>

#include "tests/data/scratch.h"

// The HDF5 library loses some of its own memory when it meets damaged metadata, which these tests feed it.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

namespace chorus {
namespace {

template <typename T>
std::vector<T> count_up(std::size_t size) {
  std::vector<T> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = static_cast<T>(i % 251);
  return values;
}

template <typename T>
void write(Hdf5Writer& file, const std::string& name, const std::vector<T>& values) {
  file.write<T>(name, values);
}

std::string written(const TemporaryFolder& folder, std::size_t size = 1000) {
  const std::string path = folder / "x.h5";
  Hdf5Writer file(path);
  write(file, "tokens", count_up<std::int32_t>(size));
  file.write_strings("words", std::vector<std::string>{"one", "", "drei"});
  file.attribute("version", std::int64_t{7});
  file.commit();
  return path;
}

TEST(Hdf5File, RoundTripOfEveryType) {
  const TemporaryFolder folder;
  const std::string path = folder / "x.h5";
  const std::vector<std::string> words{"caf\xC3\xA9", "", "a longer one", std::string(300, 'x')};
  {
    Hdf5Writer file(path);
    write(file, "u8", count_up<std::uint8_t>(10));
    write(file, "i32", count_up<std::int32_t>(700000));  // more than one chunk
    write(file, "i64", std::vector<std::int64_t>{INT64_MIN, 0, INT64_MAX});
    write(file, "f32", std::vector<float>{-1.5F, 0x1p-149F});
    write(file, "f64", std::vector<double>{M_PI});
    write(file, "none", std::vector<std::int32_t>{});
    file.write_strings("words", words);
    file.write_strings("no_words", {});
    file.attribute("integer", std::int64_t{-5});
    file.attribute("real", 0.1);
    file.attribute("text", std::string("two\nlines"));
    file.attribute("empty", std::string());
    file.commit();
  }
  const Hdf5Reader file(path);
  EXPECT_EQ(file.read<std::uint8_t>("u8"), count_up<std::uint8_t>(10));
  EXPECT_EQ(file.read<std::int32_t>("i32"), count_up<std::int32_t>(700000));
  EXPECT_EQ(file.read<std::int64_t>("i64"), (std::vector<std::int64_t>{INT64_MIN, 0, INT64_MAX}));
  EXPECT_EQ(file.read<float>("f32"), (std::vector<float>{-1.5F, 0x1p-149F}));
  EXPECT_EQ(file.read<double>("f64"), std::vector<double>{M_PI});
  EXPECT_TRUE(file.read<std::int32_t>("none").empty());
  EXPECT_EQ(file.read_strings("words"), words);
  EXPECT_TRUE(file.read_strings("no_words").empty());
  EXPECT_EQ(file.integer("integer"), -5);
  EXPECT_EQ(file.real("real"), 0.1);
  EXPECT_EQ(file.text("text"), "two\nlines");
  EXPECT_EQ(file.text("empty"), "");
  EXPECT_TRUE(file.has_attribute("text"));
  EXPECT_FALSE(file.has_attribute("texts"));
}

TEST(Hdf5File, NothingStaysWithoutCommitAndNothingIsOverwritten) {
  const TemporaryFolder folder;
  {
    Hdf5Writer file(folder / "x.h5");
    write(file, "a", count_up<std::int32_t>(5));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  const std::string path = written(folder);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  const std::string before = bytes_of(path);
  expect_contains(message_of<ConfigurationError>([&] { Hdf5Writer(path).commit(); }),
                  "x.h5: exists already and is not overwritten");
  EXPECT_EQ(bytes_of(path), before);
  expect_contains(message_of<DataError>([&] { Hdf5Writer(folder / "none/x.h5").commit(); }),
                  "none/x.h5: No such file or directory");
  expect_contains(message_of<DataError>([&] { Hdf5Writer(folder / "none/x.h5").commit(); }), "; it needs ");
}

TEST(Hdf5File, FloatsOfEveryWidthAndShape) {
  const TemporaryFolder folder;
  const std::string path = folder / "x.h5";
  const std::vector<float> values{1, -2.5F, 65504, 0x1p-24F, 0.1F, 0};
  {
    Hdf5Writer file(path);
    file.write<float>("a/b/rows", values, 3);
    file.write<double>("a/wide", std::vector<double>{1e-3, 2, 3, 1e300});
    file.write_halves("halves", values, 2);
    file.write<float>("a/none", std::vector<float>{}, 3);
    file.write<std::int32_t>("integers", std::vector<std::int32_t>{1});
    file.commit();
  }
  const Hdf5Reader file(path);
  EXPECT_EQ(file.read_floats("a/b/rows").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(file.read_floats("a/b/rows").values, values);
  EXPECT_EQ(file.read_floats("a/b/rows").bits, 32);
  EXPECT_EQ(file.read_floats("a/wide").values, (std::vector<float>{1e-3F, 2, 3, INFINITY}));
  EXPECT_EQ(file.read_floats("a/wide").bits, 64);
  EXPECT_EQ(file.read_floats("a/none").shape, (std::vector<std::int64_t>{0, 3}));
  const FloatArray halves = file.read_floats("halves");
  EXPECT_EQ(halves.bits, 16);
  EXPECT_EQ(halves.shape, (std::vector<std::int64_t>{3, 2}));
  // 0.1 rounds to 1638.4 / 2^14 -> 1638 / 2^14; the others are exact in f16, the smallest subnormal among them.
  EXPECT_EQ(halves.values, (std::vector<float>{1, -2.5F, 65504, 0x1p-24F, 1638 * 0x1p-14F, 0}));

  EXPECT_EQ(file.children("/"), (std::vector<std::string>{"a", "halves", "integers"}));
  EXPECT_EQ(file.children("a"), (std::vector<std::string>{"b", "none", "wide"}));
  for (const std::string there : {"/", "a", "a/b", "a/b/rows"}) EXPECT_TRUE(file.exists(there)) << there;
  for (const std::string missing : {"b", "a/c/rows", "halves/rows", "a/b/rows/x"})
    EXPECT_FALSE(file.exists(missing)) << missing;
  EXPECT_TRUE(file.is_group("a/b"));
  EXPECT_FALSE(file.is_group("halves"));
  expect_contains(message_of<DataError>([&] { file.read<float>("a/b/rows"); }),
                  "'a/b/rows' has 2 dims, not one");
  expect_contains(message_of<DataError>([&] { file.read_floats("integers"); }),
                  "'integers' is i32, expected f16");
  expect_contains(message_of<DataError>([&] { file.children("halves"); }),
                  "x.h5: there is no group 'halves'");
}

TEST(Hdf5File, HalvesDoNotOverflow) {
  const TemporaryFolder folder;
  for (const float value : {65505.0F, -1e6F, INFINITY, NAN}) {
    Hdf5Writer file(folder / "x.h5");
    expect_contains(message_of<DataError>([&] {
                      file.write_halves("x", std::vector<float>{1, value});
                    }),
                    fmt::format("value 1 of 'x' is {}, and f16 ends at 65504: store f32", value));
  }
}

TEST(Hdf5File, NamesFileAndObject) {
  const TemporaryFolder folder;
  const Hdf5Reader file(written(folder));
  expect_contains(message_of<DataError>([&] { file.read<std::int32_t>("token"); }),
                  "x.h5: array 'token' is missing");
  expect_contains(message_of<DataError>([&] { file.read<std::int64_t>("tokens"); }),
                  "x.h5: array 'tokens' is i32, expected i64");
  expect_contains(message_of<DataError>([&] { file.read<float>("tokens"); }), "is i32, expected f32");
  expect_contains(message_of<DataError>([&] { file.read_strings("tokens"); }), "does not hold strings");
  expect_contains(message_of<DataError>([&] { file.integer("other"); }), "attribute 'other' is missing");
  expect_contains(message_of<DataError>([&] { file.text("version"); }), "attribute 'version' is i64");
}

TEST(Hdf5File, RefusesWhatIsNotHdf5) {
  const TemporaryFolder folder;
  expect_contains(message_of<DataError>([&] { Hdf5Reader file(folder / "none.h5"); }),
                  "none.h5: no such file");
  const std::string empty = folder.write("empty.h5", "");
  expect_contains(message_of<DataError>([&] { Hdf5Reader file(empty); }), "is not an HDF5 file");
  const std::string text = folder.write("text.h5", "Utterance,Speaker\n");
  testing::internal::CaptureStderr();
  expect_contains(message_of<DataError>([&] { Hdf5Reader file(text); }),
                  "text.h5: is not an HDF5 file, or truncated or damaged (18 bytes)");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "HDF5 must not print by itself";
}

// As on a network disk that is gone.
TEST(Hdf5File, OneThatCannotBeClosedIsNoCrashInTheEnd) {
  const TemporaryFolder folder;
  const std::string path = written(folder);
  const auto end_without_the_file = [&] {
    {
      const Hdf5Reader file(path);
      for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code ignored;
        if (std::filesystem::read_symlink(entry.path(), ignored).filename() == "x.h5")
          ::close(std::stoi(entry.path().filename()));
      }
    }
    std::exit(0);
  };
  EXPECT_EXIT(end_without_the_file(), testing::ExitedWithCode(0), "");
}

TEST(Hdf5File, NoticesTruncation) {
  const TemporaryFolder folder;
  const std::string good = bytes_of(written(folder));
  for (std::size_t length = 0; length < good.size(); length += 61) {
    const std::string path = folder.write("cut.h5", good.substr(0, length));
    expect_contains(message_of<DataError>([&] { Hdf5Reader file(path); }), "truncated");
  }
}

// Whatever byte is flipped, a reader gets an error or what was written.
TEST(Hdf5File, NoticesFlippedBytes) {
  const TemporaryFolder folder;
  const std::string good = bytes_of(written(folder));
  int noticed = 0;
  for (std::size_t i = 0; i < good.size(); i += 3) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x24);
    const std::string path = folder.write("bad.h5", bad);
    try {
      const Hdf5Reader file(path);
      EXPECT_EQ(file.read<std::int32_t>("tokens"), count_up<std::int32_t>(1000)) << "byte " << i;
      EXPECT_EQ(file.read_strings("words"), (std::vector<std::string>{"one", "", "drei"})) << "byte " << i;
      EXPECT_EQ(file.integer("version"), 7) << "byte " << i;
    } catch (const DataError&) {
      ++noticed;
    }
  }
  EXPECT_GT(noticed, 50);
}

TEST(Hdf5File, DamagedArrayIsNamed) {
  const TemporaryFolder folder;
  const std::string path = folder / "x.h5";
  {
    Hdf5Writer file(path);
    std::vector<std::int32_t> noise(20000);
    for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<std::int32_t>(i * 2654435761U);
    write(file, "noise", noise);
    file.commit();
  }
  std::string bytes = bytes_of(path);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);  // most of the file is the array
  const std::string bad = folder.write("bad.h5", bytes);
  const Hdf5Reader file(bad);
  expect_contains(message_of<DataError>([&] { file.read<std::int32_t>("noise"); }),
                  "bad.h5: array 'noise' is damaged");
}

// An array whose pieces are whole, each with its sum, but not those that were written: as one that was lost and is read
// as zeros.
TEST(Hdf5File, NoticesValuesOfAnotherArray) {
  const TemporaryFolder folder;
  // Noise, which is stored as it is.
  const auto noise_file = [&](const std::string& name, std::uint32_t seed) {
    std::vector<std::uint8_t> noise(5000);
    for (std::uint8_t& value : noise)
      value = static_cast<std::uint8_t>((seed = seed * 1664525U + 1013904223U) >> 24);
    Hdf5Writer file(folder / name);
    write(file, "noise", noise);
    file.commit();
    return std::pair(bytes_of(folder / name), std::string(noise.begin(), noise.end()));
  };
  const auto [one, one_noise] = noise_file("one.h5", 1);
  const auto [other, other_noise] = noise_file("other.h5", 2);
  const std::size_t place = one.find(one_noise), with_sums = one_noise.size() + 8;
  ASSERT_NE(place, std::string::npos);
  ASSERT_EQ(other.find(other_noise), place);
  std::string mixed = one;
  mixed.replace(place, with_sums, other, place, with_sums);
  const Hdf5Reader file(folder.write("mixed.h5", mixed));
  expect_contains(message_of<DataError>([&] { file.read<std::uint8_t>("noise"); }),
                  "mixed.h5: array 'noise' is damaged: its values are not those that were written");
}

TEST(Hdf5, SaysThatAFileIsAGitLfsPointer) {
  const TemporaryFolder folder;
  const std::string path =
      folder.write("train.h5", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n");
  expect_contains(message_of<DataError>([&] { Hdf5Reader{path}; }), "train.h5: is a Git LFS pointer");
}

}  // namespace
}  // namespace chorus
