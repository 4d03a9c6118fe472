// `chorus export` on a tiny base and adapters that are written here, and on adapters that PEFT trained, read back by
// transformers and PEFT, by llama.cpp and by vLLM.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/formats/base_model.h"
#include "core/formats/peft.h"
#include "core/model/projector.h"
#include "data/text/files.h"
#include "ops/base/error.h"
#include "tests/launch/peft_python.h"
#include "tests/launch/program.h"
#include "tests/support/families.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ExportCommand : public testing::Test {
 protected:
  std::string at(const std::string& name) const { return folder_ / name; }

  // Of FOLDER/base, with values up to `size`.
  void write_adapter(const std::string& name, const LoraConfig& lora, float size = 0.1F) const {
    const ModelConfig model = BaseModel(at("base")).config();
    std::vector<float> values(10000);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = size * std::sin(static_cast<float>(i * i));
    std::vector<TensorToWrite> tensors;
    for (std::int64_t layer = 0; layer < model.layers; ++layer) {
      for (const Projection which : lora.targets) {
        const std::int64_t rank = path_of(lora, layer, which)->rank;
        const Features size_of = features(model, which);
        tensors.push_back(
            {{peft_tensor_name(layer, which, LoraFactor::a), FileDType::f32, {rank, size_of.inputs}},
             values.data()});
        tensors.push_back(
            {{peft_tensor_name(layer, which, LoraFactor::b), FileDType::f32, {size_of.outputs, rank}},
             values.data()});
      }
    }
    create_folder(at(name));
    write_peft(at(name), lora, at("base"), tensors);
  }

  std::string refusal(std::vector<std::string> arguments, ExitCode code) const {
    arguments.insert(arguments.begin(), "export");
    const Outcome outcome = run_chorus(arguments);
    EXPECT_EQ(outcome.exit_code, static_cast<int>(code)) << outcome.out;
    EXPECT_THAT(outcome.err, StartsWith("chorus export: error: "));
    return outcome.err;
  }

  // Nothing but these names is in the folder.
  void expect_only(const std::set<std::string>& names) const {
    for (const auto& entry : std::filesystem::directory_iterator(at("")))
      EXPECT_TRUE(names.contains(entry.path().filename())) << entry.path();
  }

  TemporaryFolder folder_;
};

TEST_F(ExportCommand, MergesAndSaysHowExactly) {
  write_tiny_base(folder_);
  write_adapter("adapter", {4, 8, 0, false, {Projection::q, Projection::down}});
  const std::vector<std::string> arguments{"export",      "--base",   at("base"),  "--adapter",
                                           at("adapter"), "--output", at("merged")};
  const std::string out = run_successfully(arguments);
  EXPECT_THAT(out, StartsWith(at("merged") + ": " + at("base") + " with " + at("adapter") +
                              " in 2 of its projections\nlogits of "));
  EXPECT_THAT(out, ContainsRegex("\n  largest difference of merged and base . adapter +[0-9.e-]+\n"));
  EXPECT_THAT(out, HasSubstr("of which rounding to F32 explains up to about"));
  EXPECT_THAT(out, Not(HasSubstr("rounds away")));
  for (const char* name : {"config.json", "tokenizer.model"})
    EXPECT_EQ(read_text(at("merged/") + name), read_text(at("base/") + name)) << name;
  // It is a base as any other.
  run_successfully({"generate", "--base", at("merged"), "--max-new-tokens", "2", "Ann:"});
  EXPECT_THAT(refusal({"--base", at("base"), "--adapter", at("adapter"), "--output", at("merged")},
                      ExitCode::configuration),
              HasSubstr("is not empty"));
  expect_only({"corpus", "a.model", "base", "adapter", "merged"});
}

TEST_F(ExportCommand, SaysWhereRoundingTakesWhatWasLearned) {
  write_tiny_base(folder_);
  run_successfully({"init", "--tokenizer", at("a.model"), "--precision", "bf16", "--hidden-size", "16",
                    "--layers", "1", "--query-heads", "2", "--key-value-heads", "1", "--head-width", "8",
                    "--output", at("half")});
  write_adapter("adapter", {1, 1, 0, false, {Projection::q}}, 1e-3F);
  EXPECT_THAT(run_successfully({"export", "--base", at("half"), "--adapter", at("adapter"), "--text",
                                "Hello there", "--output", at("merged")}),
              HasSubstr("\nBF16 rounds away most of what the adapter learned: "));
}

TEST_F(ExportCommand, WritesAdaptersForOtherPrograms) {
  write_tiny_base(folder_);
  LoraConfig lora{17, 8, 0, true, {Projection::q, Projection::v}};
  write_adapter("a", lora);
  std::string out = run_successfully({"export", "--portable", "--adapter", at("a"), "--output", at("b")});
  EXPECT_THAT(out, StartsWith(at("b") + ": an adapter of rank 17 for vLLM, llama.cpp and PEFT, the same as " +
                              at("a") + "\nrsLoRA became plain LoRA: "));
  EXPECT_THAT(out, HasSubstr("serve this adapter with --max-lora-rank 32\n"));
  EXPECT_NEAR(read_peft(at("b")).config.alpha, 8 * std::sqrt(17.0), 1e-9);
  lora.patterns.rank = {{"v_proj", 2}};
  write_adapter("c", lora);
  out = run_successfully({"export", "--portable", "--adapter", at("c"), "--output", at("d")});
  EXPECT_THAT(out, HasSubstr("\npaths of smaller ranks, padded with zeros to rank 17: 1\n"));
  EXPECT_THAT(out, HasSubstr("\nthe scale of each path was multiplied into its lora_B, in F32, "));
  expect_only({"corpus", "a.model", "base", "a", "b", "c", "d"});
}

TEST_F(ExportCommand, RefusesWhatCannotBeMeant) {
  write_tiny_base(folder_);
  write_adapter("adapter", {4, 8, 0, false, {Projection::q}});
  EXPECT_THAT(refusal({"--adapter", at("adapter"), "--output", at("new")}, ExitCode::configuration),
              HasSubstr("--base is missing: the adapter is merged into it; or give --portable"));
  EXPECT_THAT(refusal({"--portable", "--base", at("base"), "--adapter", at("adapter"), "--output", at("new")},
                      ExitCode::configuration),
              HasSubstr("--base is for merging"));
  expect_only({"corpus", "a.model", "base", "adapter"});
}

// The projector that a training on features leaves beside its adapter.
TEST_F(ExportCommand, RefusesAdaptersWithAProjector) {
  write_tiny_base(folder_);
  write_adapter("adapter", {4, 8, 0, false, {Projection::q}});
  const std::vector<float> values(16 * 3);
  write_projector(at("adapter"), {ProjectorKind::linear, 3, 0}, 16,
                  {{{"multi_modal_projector.linear_1.weight", FileDType::f32, {16, 3}}, values.data()},
                   {{"multi_modal_projector.linear_1.bias", FileDType::f32, {16}}, values.data()}});
  for (const std::vector<std::string>& mode :
       {std::vector<std::string>{"--portable"}, std::vector<std::string>{"--base", at("base")}}) {
    std::vector<std::string> arguments{"--adapter", at("adapter"), "--output", at("new")};
    arguments.insert(arguments.end(), mode.begin(), mode.end());
    EXPECT_THAT(refusal(arguments, ExitCode::data),
                HasSubstr(at("adapter") + " has a projector, projector.safetensors: "));
  }
  expect_only({"corpus", "a.model", "base", "adapter"});
}

// By the libraries that wrote base and adapter.
class ReadByPeft : public ExportCommand, public testing::WithParamInterface<std::string> {};

TEST_P(ReadByPeft, GivesTheLogitsOfBaseAndAdapter) {
  const std::string name = "golden/families/" + GetParam();
  const auto golden = test::shared_path(name);
  if (!golden) GTEST_SKIP() << test::missing_shared(name);
  if (const std::string missing = missing_peft(); !missing.empty()) GTEST_SKIP() << missing;
  const std::string base = *golden / "model", adapter = *golden / "final";
  run_successfully({"export", "--base", base, "--adapter", adapter, "--output", at("merged")});
  run_successfully({"export", "--portable", "--adapter", adapter, "--output", at("portable")});
  const std::string command = "timeout 300 '" + peft_python() +
                              "' " CHORUS_PYTHON_SCRIPTS "/read_export.py '" + base + "' '" + adapter + "' " +
                              at("merged") + " " + at("portable") + " > " + at("read.json") + " 2> " +
                              at("python.log");
  ASSERT_EQ(std::system(command.c_str()), 0) << read_text(at("python.log"));
  const auto read = nlohmann::json::parse(read_text(at("read.json")));
  const double largest = read.at("largest");
  // F32 weights in float64: one rounding of each.
  EXPECT_LT(read.at("merged"), 1e-6 * largest);
  EXPECT_LT(read.at("portable"), 1e-6 * largest);
  EXPECT_GT(read.at("base"), 1e-2 * largest) << "the adapter hardly does anything";
}

INSTANTIATE_TEST_SUITE_P(All, ReadByPeft, test::golden_families(), test::family_name);

// Programs that serve what was exported, where they are: llama.cpp by its converters in CHORUS_LLAMA_CPP and llama_cpp of
// the Python that has PEFT, vLLM by the Python CHORUS_VLLM_PYTHON.
class Served : public ExportCommand {
 protected:
  using Scores =
      std::vector<std::vector<double>>;  // of a base with each adapter, the log-probability of each token

  void export_all() const {
    write_tiny_base(folder_);
    std::filesystem::remove_all(at("base"));
    run_successfully({"init", "--tokenizer", at("a.model"), "--hidden-size", "64", "--layers", "2",
                      "--query-heads", "2", "--key-value-heads", "1", "--output", at("base")});
    LoraConfig lora{4, 8, 0, false, {Projection::q, Projection::v, Projection::o, Projection::down}};
    write_adapter("plain", lora);
    lora.rslora = true;
    write_adapter("rslora", lora);
    lora.rslora = false;
    lora.patterns.rank = {{"v_proj", 2}};
    write_adapter("ranks", lora);
    lora.patterns.alpha = {{"o_proj", 2}};
    write_adapter("patterns", lora);
    for (const std::string& name : names_) {
      run_successfully({"export", "--portable", "--adapter", at(name), "--output", at(name + "-portable")});
      run_successfully(
          {"export", "--base", at("base"), "--adapter", at(name), "--output", at(name + "-merged")});
    }
  }

  // `program` as arguments of score_served.py; an empty adapter is none.
  Scores score(const std::string& python, const std::string& program, const std::string& base,
               const std::vector<std::string>& adapters) const {
    nlohmann::json models{{"base", at(base)}, {"adapters", nlohmann::json::array()}};
    for (const std::string& adapter : adapters)
      models["adapters"].push_back(adapter.empty() ? nlohmann::json() : nlohmann::json(at(adapter)));
    write_text(at("models.json"), models.dump());
    const std::string command = "timeout 600 '" + python + "' " CHORUS_PYTHON_SCRIPTS "/score_served.py " +
                                at("scores.json") + " " + program + " < " + at("models.json") + " > " +
                                at("python.log") + " 2>&1";
    if (std::system(command.c_str()) != 0)
      throw std::runtime_error(program + " failed: " + read_text(at("python.log")));
    return nlohmann::json::parse(read_text(at("scores.json"))).get<Scores>();
  }

  void expect_same_as_peft(const std::string& python, const std::string& program) const {
    if (const std::string missing = missing_peft(); !missing.empty()) GTEST_SKIP() << missing;
    export_all();
    std::vector<std::string> adapters{""}, portable{""};
    for (const std::string& name : names_) {
      adapters.push_back(name);
      portable.push_back(name + "-portable");
    }
    const Scores expected = score(peft_python(), "peft", "base", adapters),
                 own = score(python, program, "base", portable);
    for (std::size_t i = 0; i < adapters.size(); ++i) {
      EXPECT_LT(largest_difference(own[i], expected[i]), tolerance_) << portable[i];
      if (i == 0) continue;
      EXPECT_GT(largest_difference(expected[i], expected[0]), 1000 * tolerance_)
          << adapters[i] << " does little";
      const Scores merged = score(python, program, adapters[i] + "-merged", {""});
      EXPECT_LT(largest_difference(merged[0], expected[i]), tolerance_) << adapters[i] << " merged";
    }
  }

  static double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
    EXPECT_EQ(a.size(), b.size());
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
    return largest;
  }

  const std::vector<std::string> names_{"plain", "rslora", "ranks", "patterns"};
  // Logits below 16 in f32: 2⁻²¹ each rounding, of which some tens follow on each other.
  const double tolerance_ = 0x1p-21 * 64;
};

TEST_F(Served, LlamaCppGivesWhatPeftGives) {
  const char* folder = std::getenv("CHORUS_LLAMA_CPP");
  if (folder == nullptr) {
    GTEST_SKIP() << "NOT TESTED: set CHORUS_LLAMA_CPP to the sources of llama.cpp, and pip install "
                    "llama-cpp-python where PEFT is";
  }
  expect_same_as_peft(peft_python(), "llama.cpp '" + std::string(folder) + "'");
}

TEST_F(Served, VllmGivesWhatPeftGives) {
  const char* python = std::getenv("CHORUS_VLLM_PYTHON");
  if (python == nullptr) GTEST_SKIP() << "NOT TESTED: set CHORUS_VLLM_PYTHON to a Python with vLLM for CPUs";
  expect_same_as_peft(python, "vllm");
}

}  // namespace
}  // namespace chorus
