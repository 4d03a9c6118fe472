#include <algorithm>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

std::vector<std::string> smallest(const std::string& output) {
  return {"bench", "--layers",  "1",     "--tokens", "64",  "--matrix",
          "64",    "--seconds", "0.001", "--output", output};
}

nlohmann::json read(const std::string& path) { return nlohmann::json::parse(read_text(path)); }

// All calls of a step of one block, and what is between them, are the step.
void expect_whole_step(const nlohmann::json& measurements) {
  double step = 0, sum = 0;
  std::map<std::string, double> calls;
  for (const auto& m : measurements) {
    if (m["name"] == "whole, each call timed") step = m["seconds"];
    if (m["group"] != "operators of the step") continue;
    sum += m["calls"].get<double>() * m["seconds"].get<double>();
    calls[m["name"]] += m["calls"].get<double>();
    const bool is_product = m["name"].get<std::string>().starts_with("matmul");
    EXPECT_TRUE(!is_product || m["flops"] > 0) << m;
  }
  EXPECT_NEAR(sum, step, 1e-9 * step);
  EXPECT_EQ(calls["attention"], 1);
  EXPECT_EQ(calls["attention_backward"], 1);
  EXPECT_EQ(calls["low_rank_down x 3"], 1);
  EXPECT_EQ(calls["low_rank_down x 2"], 1);
  EXPECT_EQ(calls["low_rank_down x 1"], 2);
  EXPECT_EQ(calls["matmul NT +="], 7);  // u B of seven projections
  EXPECT_EQ(calls["matmul TN +="], 7);  // dB
  EXPECT_EQ(calls["rope"], 4);
  EXPECT_EQ(calls["adamw"], 1);
  EXPECT_EQ(calls["between calls"], 1);
}

TEST(BenchCommand, MeasuresEveryOperatorAndAStep) {
  const TemporaryFolder folder;
  const Outcome outcome = run_chorus(smallest(folder / "bench.json"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("TFLOP/s"));
  const nlohmann::json result = read(folder / "bench.json");
  EXPECT_GT(result["copy_bytes_per_second"], 0);
  EXPECT_GT(result["matmul_flops_per_second"], 0);
  std::set<std::string> groups;
  for (const auto& measurement : result["measurements"]) {
    EXPECT_GT(measurement["seconds"], 0) << measurement;
    groups.insert(measurement["group"]);
  }
  EXPECT_THAT(groups, testing::ElementsAre("attention", "dequantise", "element-wise", "loss",
                                           "low-rank paths", "low-rank paths, dropout", "matmul",
                                           "operators of the step", "optimizer", "rows", "training step"));
  expect_whole_step(result["measurements"]);
  EXPECT_THAT(outcome.out, testing::ContainsRegex("between calls .* 1 +[0-9.]+%\n"));
}

TEST(BenchCommand, RanksAlsoMeasureTheirSums) {
  if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed: NO RUN OF TWO PROCESSES WAS TESTED";
  const TemporaryFolder folder;
  std::vector<std::string> arguments = smallest(folder / "bench.json");
  arguments.insert(arguments.end(),
                   {"--operators", "off", "--tensor-parallel", "2", "--lora-dropout", "0.1"});
  const Outcome outcome = run_chorus(arguments, mpirun(2));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json measurements = read(folder / "bench.json")["measurements"];
  EXPECT_EQ(measurements[0]["group"], "all-reduce");
  expect_whole_step(measurements);
  const auto summed = std::ranges::find(measurements, "all_reduce", [](const auto& m) { return m["name"]; });
  ASSERT_NE(summed, measurements.end());
  EXPECT_GT((*summed)["calls"], 4) << "two in the block either way, and those of embedding and head";
}

TEST(BenchCommand, ComparesRuns) {
  const TemporaryFolder folder;
  std::vector<std::string> step = smallest(folder / "first.json");
  step.insert(step.end(), {"--operators", "off"});
  run_successfully(step);
  nlohmann::json more = read(folder / "first.json");
  more["measurements"].push_back(more["measurements"][0]);
  more["measurements"].back()["name"] = "another";
  write_text(folder / "more.json", more.dump());
  step = smallest(folder / "second.json");
  step.insert(step.end(), {"--operators", "off", "--compare", folder / "more.json"});
  const std::string now = run_successfully(step);
  EXPECT_THAT(now, testing::ContainsRegex(
                       "whole +1 layers, 64 tokens a rank +[0-9.]+ [um]s +[0-9.]+ [um]s +[0-9.]+x"));
  EXPECT_THAT(now, testing::ContainsRegex(
                       "adamw +.[0-9]+. +[0-9.]+ [um]s +[0-9.]+ [um]s +[0-9.]+x +[0-9.]+% +[0-9.]+%\n"));
  EXPECT_THAT(now, HasSubstr("more.json: training step, another, "));

  const std::string files = folder / "first.json" + "," + folder / "first.json";
  const std::string same = run_successfully({"bench", "--compare", files});
  EXPECT_THAT(same, testing::ContainsRegex("whole .* 1.00x"));
  EXPECT_THAT(same, testing::Not(HasSubstr("differ")));
  EXPECT_THAT(same, testing::Not(HasSubstr("only in")));
  nlohmann::json json = read(folder / "first.json");
  json["machine"] = "another";
  json["measurements"][0]["seconds"] = 2 * json["measurements"][0]["seconds"].get<double>();
  write_text(folder / "other.json", json.dump());
  const std::string other =
      run_successfully({"bench", "--compare", folder / "other.json" + "," + folder / "first.json"});
  EXPECT_THAT(other, HasSubstr("2.00x"));
  EXPECT_THAT(other, HasSubstr("machine or sizes differ"));

  // Files of an older Chorus do not count calls.
  nlohmann::json older = read(folder / "first.json");
  for (auto& measurement : older["measurements"]) measurement.erase("calls");
  write_text(folder / "older.json", older.dump());
  EXPECT_THAT(run_successfully({"bench", "--compare", folder / "older.json" + "," + folder / "first.json"}),
              testing::ContainsRegex("adamw .*1.00x +[0-9.]+%\n"));

  json["measurements"][0].erase("seconds");
  write_text(folder / "damaged.json", json.dump());
  const Outcome damaged = run_chorus({"bench", "--compare", folder / "damaged.json"});
  EXPECT_EQ(damaged.exit_code, 3);
  EXPECT_THAT(damaged.err, HasSubstr("damaged.json: measurement 0: field 'seconds' must be a number"));
}

TEST(BenchCommand, RefusesAnUnknownModel) {
  const Outcome outcome = run_chorus({"bench", "--model", "70b"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("there are tiny, 15m, 110m, 1b, 7b and 13b"));
}

}  // namespace
}  // namespace chorus
