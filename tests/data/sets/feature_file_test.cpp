#include "data/sets/feature_file.h"

#include <cmath>

#include "tests/data/scratch.h"

namespace chorus {
namespace {

using Rows = std::vector<float>;

// One array of rows per path; a width of 0 makes an array of one dim.
std::string file_of(const TemporaryFolder& folder,
                    const std::vector<std::tuple<std::string, Rows, std::size_t>>& arrays) {
  const std::string path = folder / "features.h5";
  std::filesystem::remove(path);
  Hdf5Writer file(path);
  for (const auto& [name, values, width] : arrays) file.write<float>(name, values, width);
  file.commit();
  return path;
}

TEST(FeatureFile, KeysAreSplitDialogueAndUtterance) {
  const TemporaryFolder folder;
  const FeatureFile file(
      file_of(folder,
              {{"train/3/0", {1, 2, 3}, 0}, {"train/3/1", {4, 5, 6, 7, 8, 9}, 3}, {"dev/3/0", {7, 7, 7}, 3}}),
      "");
  EXPECT_EQ(file.width(), 3);
  EXPECT_EQ(file.read("train", "3", "0", 8), (Rows{1, 2, 3}));
  EXPECT_EQ(file.read("train", "3", "1", 8), (Rows{4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(file.read("train", "3", "1", 1), (Rows{5.5, 6.5, 7.5}));
  EXPECT_EQ(file.read("dev", "3", "0", 1), (Rows{7, 7, 7}));
  EXPECT_EQ(file.read("dev/3/0", 1), (Rows{7, 7, 7}));
  EXPECT_FALSE(file.holds("dev/3/1"));
}

TEST(FeatureFile, KeysFollowAPattern) {
  const TemporaryFolder folder;
  const std::string path = file_of(folder, {{"dia3_utt0", {1, 2}, 0}, {"dia3_utt1", {3, 4}, 0}});
  EXPECT_EQ(FeatureFile(path, "dia{dialogue}_utt{utterance}").read("train", "3", "1", 1), (Rows{3, 4}));
  // What stands in the place of a placeholder is not looked at again.
  const std::string odd = file_of(folder, {{"{utterance}-x", {5}, 0}});
  EXPECT_EQ(FeatureFile(odd, "{dialogue}-{utterance}").read("train", "{utterance}", "x", 1), Rows{5});
  const auto refused = [&](const std::string& pattern) {
    return message_of<ConfigurationError>([&] { FeatureFile(path, pattern); });
  };
  expect_contains(refused("{dialog}_{utterance}"),
                  "{dialog}_{utterance} begins with no placeholder; there are {split}");
  expect_contains(refused("{utterance"), "begins with no placeholder");
  expect_contains(refused("{utterance}}"), "'}' without '{'");
  expect_contains(refused("{split}/{dialogue}"), "without {utterance} all utterances would have the same");
}

TEST(FeatureFile, ComputationalSequencesAreRecognised) {
  const TemporaryFolder folder;
  const FeatureFile file(file_of(folder, {{"OpenFace/data/3_0/features", {1, 2, 3, 4}, 2},
                                          {"OpenFace/data/3_0/intervals", {0, 0.5, 0.5, 1}, 2},
                                          {"OpenFace/data/3_1/features", {5, 6}, 2},
                                          {"OpenFace/data/3_1/intervals", {1, 2}, 2},
                                          {"OpenFace/metadata/dimension names", {0}, 0}}),
                         "");
  EXPECT_EQ(file.width(), 2);
  EXPECT_EQ(file.read("train", "3", "0", 9), (Rows{1, 2, 3, 4}));
  EXPECT_EQ(file.read("test", "3", "1", 9), (Rows{5, 6}));
  EXPECT_EQ(file.read("3_1", 9), (Rows{5, 6})) << "a key is that of the layout";
  expect_contains(
      message_of<DataError>([&] { file.read("train", "4", "0", 9); }),
      "features.h5: no array 'OpenFace/data/4_0/features' for utterance 0 of dialogue 4 in train; keys are "
      "made by {dialogue}_{utterance}");
  // A single split with a dialogue called data is none.
  const FeatureFile plain(file_of(folder, {{"train/data/0", {1, 2, 3}, 0}}), "");
  EXPECT_EQ(plain.read("train", "data", "0", 1), (Rows{1, 2, 3}));
}

TEST(FeatureFile, ReadsHalvesAndDoubles) {
  const TemporaryFolder folder;
  {
    Hdf5Writer file(folder / "mixed.h5");
    file.write_halves("train/0/0", Rows{0.5, 1.5}, 2);
    file.write<double>("train/0/1", std::vector<double>{0.1, 2});
    file.write_strings("about", std::vector<std::string>{"other arrays are passed over"});
    file.write<double>("train/0/2", std::vector<double>{1e300, 2});
    file.commit();
  }
  const FeatureFile file(folder / "mixed.h5", "");
  EXPECT_EQ(file.read("train", "0", "0", 1), (Rows{0.5, 1.5}));
  EXPECT_EQ(file.read("train", "0", "1", 1), (Rows{0.1F, 2}));
  expect_contains(message_of<DataError>([&] { file.read("train", "0", "2", 1); }),
                  "'train/0/2' has inf in row 0, column 0");
}

TEST(FeatureFile, RefusesWhatCannotBeUsed) {
  const TemporaryFolder folder;
  {
    Hdf5Writer file(folder / "bad.h5");
    file.write<float>("train/0/0", Rows{1, 2, 3});
    file.write<float>("train/0/1", Rows{1, 2});
    file.write<float>("train/0/2", Rows{1, 2, 3, 4, NAN, 6}, 3);
    file.write<float>("train/0/3", Rows{}, 3);
    file.write<std::int32_t>("train/0/4", std::vector<std::int32_t>{1, 2, 3});
    file.commit();
  }
  const FeatureFile file(folder / "bad.h5", "");
  const auto refused = [&](const std::string& utterance) {
    return message_of<DataError>([&] { file.read("train", "0", utterance, 4); });
  };
  expect_contains(refused("1"), "bad.h5: 'train/0/1' has rows of 2 numbers, 'train/0/0' of 3");
  expect_contains(refused("2"), "bad.h5: 'train/0/2' has nan in row 1, column 1");
  expect_contains(refused("3"), "bad.h5: 'train/0/3' is empty");
  expect_contains(refused("4"), "bad.h5: array 'train/0/4' is i32, expected f16, f32 or f64");
  expect_contains(refused("5"), "bad.h5: no array 'train/0/5' for utterance 5 of dialogue 0 in train");
  expect_contains(message_of<DataError>([&] { FeatureFile(file_of(folder, {}), ""); }),
                  "holds no arrays of features");
  expect_contains(message_of<DataError>([&] { FeatureFile(folder / "none.h5", ""); }),
                  "none.h5: no such file");
}

TEST(FeatureFile, PoolingTakesMeansOfNearlyEqualSpans) {
  const Rows rows{0, 10, 1, 11, 2, 12, 3, 13, 4, 14};  // 5 rows of 2
  EXPECT_EQ(pooled(rows, 2, 5), rows);
  EXPECT_EQ(pooled(rows, 2, 100), rows);
  EXPECT_EQ(pooled(rows, 2, 2), (Rows{0.5, 10.5, 3, 13}));
  EXPECT_EQ(pooled(rows, 2, 3), (Rows{0, 10, 1.5, 11.5, 3.5, 13.5}));
  EXPECT_EQ(pooled(rows, 2, 1), (Rows{2, 12}));
}

TEST(FeatureFile, TheDevSplitHasSeveralNames) {
  const TemporaryFolder folder;
  const FeatureFile file(file_of(folder, {{"validation/3/0", {1, 2}, 0}}), "");
  EXPECT_EQ(file.read("dev", "3", "0", 1), (Rows{1, 2}));
  EXPECT_TRUE(file.holds("dev", "3", "0"));
  EXPECT_FALSE(file.holds("dev", "3", "1"));
  EXPECT_FALSE(file.holds("test", "3", "0"));
  expect_contains(message_of<DataError>([&] { file.read("dev", "3", "1", 1); }), "no array 'dev/3/1'");
}

}  // namespace
}  // namespace chorus
