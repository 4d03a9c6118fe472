#include <cmath>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/formats/safetensors.h"
#include "ops/base/error.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

// Prepares dialogues with demonstrations that the vectors of a tiny base choose.
class PrepareVectors : public testing::Test {
 protected:
  void SetUp() override { write_tiny_base(folder); }

  std::vector<std::string> command(const std::string& output, const std::vector<std::string>& more) const {
    std::vector<std::string> words{"prepare",          folder / "corpus",
                                   "--base",           folder / "base",
                                   "--output",         folder / output,
                                   "--recipe",         "retrieval",
                                   "--retrieval",      "embedding",
                                   "--demonstrations", "1",
                                   "--threads",        "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::string prepare(const std::string& output, const std::string& kept, std::vector<std::string> more = {},
                      const std::vector<std::string>& launcher = {}) const {
    more.insert(more.end(), {"--vectors", folder / kept});
    return run_successfully(command(output, more), launcher);
  }
  std::string data(const std::string& output) const { return read_text(folder / (output + "/train.h5")); }
  // The one file of kept vectors.
  SafetensorsFile kept(const std::string& name) const {
    return SafetensorsFile(std::filesystem::directory_iterator(folder / name)->path());
  }

  TemporaryFolder folder;
};
class PrepareVectorsOnRanks : public PrepareVectors {
 protected:
  void SetUp() override { write_small_data(folder, 6, 2, 2); }  // its heads can be divided
};

TEST_F(PrepareVectors, AreMadeOnce) {
  run_successfully(command("alone", {}));
  EXPECT_THAT(prepare("first", "kept"), HasSubstr(": 0 are in "));
  const std::string again = prepare("again", "kept");
  EXPECT_THAT(again, HasSubstr(", 0 are made now"));
  EXPECT_EQ(data("first"), data("alone"));
  EXPECT_EQ(data("again"), data("alone"));
  EXPECT_THAT(prepare("rounded", "kept", {"--precision", "bf16"}), HasSubstr(": 0 are in "));
}

TEST_F(PrepareVectorsOnRanks, AreThoseOfOne) {
  if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed: NO RUN OF TWO PROCESSES WAS TESTED";
  prepare("one", "one_kept");
  const std::vector<float> expected = read_tensor(kept("one_kept").tensor("vectors"));
  const std::vector<std::string> grids[] = {{}, {"--tensor-parallel", "2"}};
  for (const std::vector<std::string>& grid : grids) {
    const std::string name = grid.empty() ? "two_data" : "two_tensor";
    EXPECT_THAT(prepare(name, name + "_kept", grid, mpirun(2)), HasSubstr("2 ranks"));
    const std::vector<float> vectors = read_tensor(kept(name + "_kept").tensor("vectors"));
    ASSERT_EQ(vectors.size(), expected.size());
    for (std::size_t i = 0; i < vectors.size(); ++i)
      ASSERT_NEAR(vectors[i], expected[i], 1e-4F * (1 + std::abs(expected[i])));
    EXPECT_EQ(data(name), data("one"));
  }
  const Outcome refused = run_chorus(
      {"prepare", folder / "corpus", "--base", folder / "base", "--output", folder / "plain"}, mpirun(2));
  EXPECT_EQ(refused.exit_code, static_cast<int>(ExitCode::configuration));
  EXPECT_THAT(refused.err, HasSubstr("start it without a launcher"));
  EXPECT_FALSE(std::filesystem::exists(folder / "plain"));
}

TEST_F(PrepareVectors, RefusesTheirOptionsWithoutThem) {
  const Outcome outcome = run_chorus({"prepare", folder / "corpus", "--base", folder / "base", "--output",
                                      folder / "x", "--precision", "bf16"});
  EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::configuration));
  EXPECT_THAT(outcome.err,
              HasSubstr("--precision is for --demonstrations with --retrieval embedding: leave it out"));
}

}  // namespace
}  // namespace chorus
