// What Chorus writes, trains and scores, against transformers and PEFT while the test runs.

#include <cmath>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/launch/json_lines.h"
#include "tests/launch/peft_python.h"
#include "tests/launch/program.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using Json = nlohmann::json;

class ReadByTransformers : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string missing = missing_peft(); !missing.empty()) GTEST_SKIP() << missing;
  }

  std::string at(const std::string& name) const { return folder_ / name; }

  // What a script beside this file prints.
  Json run_python(const std::string& script, const std::vector<std::string>& arguments,
                  const Json& input = nullptr) {
    write_text(at("input.json"), input.dump());
    std::string command = "timeout 600 '" + peft_python() + "' " CHORUS_PYTHON_SCRIPTS "/" + script;
    for (const std::string& argument : arguments) command += " '" + argument + "'";
    command += " < " + at("input.json") + " > " + at("output.json") + " 2> " + at("python.log");
    EXPECT_EQ(std::system(command.c_str()), 0) << read_text(at("python.log"));
    return Json::parse(read_text(at("output.json")), nullptr, false);
  }

  // The log of a training over token lines in their order, at a constant rate and without clipping.
  std::vector<Json> train(const std::string& base, const std::string& lines, const std::string& output,
                          std::vector<std::string> options) {
    run_successfully(
        {"prepare", "--corpus=tokens", at(lines), "--base=" + base, "--output=" + at(output + "-data")});
    options.insert(options.begin(), {"train", "--base=" + base, "--data=" + at(output + "-data"),
                                     "--output=" + at(output), "--schedule=constant", "--warmup-ratio=0",
                                     "--max-grad-norm=0", "--shuffle=off", "--logging-steps=1"});
    run_successfully(options);
    return read_json_lines(at(output + "/trainer_log.jsonl"));
  }

  TemporaryFolder folder_;
};

double relative(double value, double expected) { return std::abs(value - expected) / std::abs(expected); }

// Three samples of 40 tokens, of which each third is not learned.
std::string some_lines() {
  std::string text;
  for (int sample = 0; sample < 3; ++sample) {
    Json ids, labels;
    for (int t = 0; t < 40; ++t) {
      ids.push_back((t * t * 7 + sample * 31 + 3) % 400);
      labels.push_back(t % 3 == 0 ? Json(-100) : ids.back());
    }
    text += Json{{"input_ids", ids}, {"labels", labels}}.dump() + "\n";
  }
  return text;
}

// Bases of all families and kinds of rotation: the loss, and the gradient of all their weights, as --method full has it.
TEST_F(ReadByTransformers, NewBasesGiveLossAndGradient) {
  write_tiny_base(folder_);
  write_text(at("lines.jsonl"), some_lines());
  const Json yarn{{"rope_type", "yarn"}, {"factor", 8.0}, {"original_max_position_embeddings", 32}};
  Json fine_yarn = yarn;
  fine_yarn.update({{"beta_fast", 8.0},
                    {"beta_slow", 0.5},
                    {"truncate", false},
                    {"mscale", 2.0},
                    {"mscale_all_dim", 0.5}});
  const Json linear{{"rope_type", "linear"}, {"factor", 4.0}};
  const Json llama3{{"rope_type", "llama3"},
                    {"factor", 8.0},
                    {"low_freq_factor", 1.0},
                    {"high_freq_factor", 4.0},
                    {"original_max_position_embeddings", 32}};
  Json cases;
  for (const auto& [family, rope] : std::vector<std::pair<std::string, Json>>{{"llama", nullptr},
                                                                              {"mistral", nullptr},
                                                                              {"qwen2", nullptr},
                                                                              {"qwen3", nullptr},
                                                                              {"llama", linear},
                                                                              {"llama", llama3},
                                                                              {"llama", fine_yarn},
                                                                              {"qwen2", yarn},
                                                                              {"qwen3", yarn}}) {
    const std::string name = family + std::to_string(cases.size());
    run_successfully({"init", "--family", family, "--tokenizer", at("a.model"), "--hidden-size", "32",
                      "--layers", "2", "--query-heads", "4", "--key-value-heads", "2", "--head-width", "16",
                      "--tied-head", cases.size() % 2 == 0 ? "on" : "off", "--output", at(name)});
    cases.push_back(
        {{"base", at(name)}, {"output", at("other-" + name)}, {"lines", at("lines.jsonl")}, {"rope", rope}});
  }
  const Json scores = run_python("score_bases.py", {}, cases);
  ASSERT_EQ(scores.size(), cases.size());
  for (std::size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(cases[i].dump());
    const Json& score = scores[i];
    EXPECT_EQ(score.at("wrong"), Json::array());
    const Json log =
        train(cases[i]["output"], "lines.jsonl", "trained-" + std::to_string(i),
              {"--method=full", "--max-steps=1", "--batch-size=3", "--learning-rate=0", "--eval-steps=0"})
            .at(0);
    EXPECT_LT(relative(log.at("loss"), score.at("loss")), 1e-5);
    EXPECT_LT(relative(log.at("grad_norm"), score.at("grad_norm")), 1e-4);
    if (!cases[i]["rope"].is_null()) {
      EXPECT_GT(relative(score.at("plain_loss"), score.at("loss")), 1e-3) << "rope hardly does anything";
    }
  }
}

// PEFT divides the parameters into groups of two rates.
TEST_F(ReadByTransformers, LoraPlusIsThatOfPeft) {
  const char* name = "golden/families/llama-pattern";
  const auto golden = test::shared_path(name);
  if (!golden) GTEST_SKIP() << test::missing_shared(name);
  const std::string base = *golden / "model", start = *golden / "initial", batches = *golden / "batches.json";
  const Json all = Json::parse(read_text(batches)).at("batches");
  write_text(at("lines.jsonl"), token_lines(all));
  const std::vector<Json> log =
      train(base, "lines.jsonl", "plus",
            {"--adapter=" + start, "--learning-rate=1e-3", "--lora-plus-ratio=16", "--weight-decay=0.1",
             "--batch-size=3", "--max-steps=" + std::to_string(all.size())});
  const Json peft = run_python("train_lora_plus.py", {base, start, batches, at("plus"), "1e-3", "16", "0.1"});
  ASSERT_EQ(peft.at("losses").size(), log.size());
  for (std::size_t step = 0; step < log.size(); ++step)
    EXPECT_LT(relative(log[step].at("loss"), peft["losses"][step]), 1e-5) << "step " << step;
  EXPECT_LT(peft.at("difference"), 1e-4);
}

}  // namespace
}  // namespace chorus
