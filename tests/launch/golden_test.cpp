// Whole training runs by the public commands against an independent float64 trainer, on every machine under test.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/formats/safetensors.h"
#include "tests/launch/json_lines.h"
#include "tests/launch/machines.h"
#include "tests/launch/program.h"
#include "tests/support/families.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using Json = nlohmann::json;

struct GoldenCase {
  std::string name;
  std::string model;  // of shared models; empty: the case has one of its own
  std::vector<std::string> options;
  std::int64_t batch_size = 3;
  bool adapter = true;
  bool divisible = true;  // among two tensor ranks; else they are data ranks
  double closeness = 1;   // of losses, as a share of the machine's bound
};

void PrintTo(const GoldenCase& golden, std::ostream* out) { *out << golden.name; }

// A real model, with 9 heads over 3; its base is no reference material.
constexpr const char* smollm2_case = "smollm2-135m-qv";

const GoldenCase golden_cases[] = {
    {"stories260K-qv-constant", "stories260K", {"--learning-rate=1e-2", "--schedule=constant"}, 4},
    {"stories3M-all-cosine",
     "stories3M",
     {"--learning-rate=3e-3", "--schedule=cosine", "--warmup-steps=2", "--max-grad-norm=1",
      "--weight-decay=0.1"},
     4},
    {"2shard-all-linear-clip",
     "fixture-tiny-llama-2shard",
     {"--learning-rate=1e-2", "--schedule=linear", "--warmup-steps=1", "--max-grad-norm=0.5"}},
    {"hf-llama3rope-kogd",
     "fixture-tiny-llama-hf-golden",
     {"--learning-rate=1e-2", "--schedule=constant", "--weight-decay=0.01"}},
    {"stories260K-full",
     "stories260K",
     {"--method=full", "--learning-rate=1e-3", "--schedule=constant"},
     4,
     false},
    // By transformers and PEFT themselves, one of each family.
    {"families/llama-linear-rope-koud", "", {"--learning-rate=1e-2", "--schedule=constant"}},
    {"families/mistral-rslora-all",
     "",
     {"--learning-rate=2e-3", "--schedule=linear", "--warmup-steps=1", "--max-grad-norm=0.5",
      "--weight-decay=0.01"}},
    {"families/qwen2-bias-all",
     "",
     {"--learning-rate=3e-3", "--schedule=cosine", "--warmup-steps=2", "--max-grad-norm=1",
      "--weight-decay=0.1"}},
    {"families/qwen3-qknorm-qv", "", {"--learning-rate=1e-2", "--schedule=constant"}},
    {"families/llama-pattern", "", {"--learning-rate=5e-3", "--schedule=constant", "--max-grad-norm=1"}},
    {smollm2_case, "", {"--learning-rate=1e-3", "--schedule=constant"}, 4, true, false, 0.1},
};

class Golden : public testing::TestWithParam<std::tuple<GoldenCase, Machine>> {
 protected:
  void SetUp() override {
    golden_ = std::get<0>(GetParam());
    machine_ = std::get<1>(GetParam());
    const auto folder = test::shared_path("golden/" + golden_.name);
    const bool own_model = golden_.model.empty();
    const auto base =
        golden_.name == smollm2_case
            ? test::smollm2()
            : test::shared_path(own_model ? "golden/" + golden_.name + "/model" : "models/" + golden_.model);
    if (golden_.name == smollm2_case && !base) GTEST_SKIP() << test::missing_smollm2();
    if (!folder || !base) GTEST_SKIP() << test::missing_shared("golden/" + golden_.name);
    const std::string missing = missing_machine(machine_.ranks);
    if (!missing.empty()) GTEST_SKIP() << missing;
    folder_ = *folder;
    base_ = *base;
  }

  // Returns the number of batches.
  std::size_t prepare(const std::string& output) {
    const std::string lines = scratch_ / (output + ".jsonl");
    const Json batches = Json::parse(read_text((folder_ / "batches.json").string())).at("batches");
    write_text(lines, token_lines(batches));
    const Outcome outcome = run_chorus(
        {"prepare", "--corpus=tokens", lines, "--base=" + base_.string(), "--output=" + (scratch_ / output)});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return batches.size();
  }

  std::vector<Json> train(std::vector<std::string> arguments, const std::string& output) {
    arguments.insert(arguments.begin(), {"train", "--shuffle=off", "--warmup-ratio=0", "--logging-steps=1"});
    arguments.push_back("--base=" + base_.string());
    arguments.push_back("--output=" + (scratch_ / output));
    arguments.push_back("--tensor-parallel=" + std::to_string(golden_.divisible ? machine_.ranks : 1));
    arguments.insert(arguments.end(), machine_.options.begin(), machine_.options.end());
    const Outcome outcome =
        run_chorus(arguments, machine_.ranks == 1 ? std::vector<std::string>{} : mpirun(machine_.ranks));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return read_json_lines(scratch_ / output + "/trainer_log.jsonl");
  }

  GoldenCase golden_;
  Machine machine_;
  std::filesystem::path folder_, base_;
  TemporaryFolder scratch_;
};

double relative(double value, double expected) { return std::abs(value - expected) / std::abs(expected); }

// What scales the factors, as PEFT wrote it.
void expect_same_configuration(const std::filesystem::path& expected, const std::filesystem::path& trained) {
  const char* file = "adapter_config.json";
  const Json golden = Json::parse(read_text((expected / file).string())),
             own = Json::parse(read_text((trained / file).string()));
  for (const char* key :
       {"r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "layers_to_transform"})
    EXPECT_EQ(own.at(key), golden.value(key, own.at(key))) << key;
}

// ‖trained - expected‖ / ‖expected - initial‖ over all tensors. Not element by element: where a gradient is
// nothing but rounding, AdamW turns its noise into a step.
double difference_of_updates(const std::filesystem::path& initial, const std::filesystem::path& expected,
                             const std::filesystem::path& trained) {
  const char* file = "adapter_model.safetensors";
  const SafetensorsFile before(initial / file), golden(expected / file), own(trained / file);
  EXPECT_EQ(own.tensors().size(), golden.tensors().size());
  double update = 0, difference = 0;
  for (const TensorView& tensor : golden.tensors()) {
    EXPECT_EQ(own.tensor(tensor.name).shape, tensor.shape);
    const auto a = read_tensor(tensor), b = read_tensor(own.tensor(tensor.name));
    const auto c = read_tensor(before.tensor(tensor.name));
    for (std::size_t i = 0; i < a.size(); ++i) {
      update += std::pow(static_cast<double>(a[i]) - static_cast<double>(c[i]), 2);
      difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    }
  }
  return std::sqrt(difference / update);
}

TEST_P(Golden, LossesNormsAndAdaptersAgree) {
  const std::size_t steps = prepare("data");
  std::vector<std::string> arguments = golden_.options;
  arguments.insert(arguments.end(), {"--data=" + (scratch_ / "data"), "--max-steps=" + std::to_string(steps),
                                     "--batch-size=" + std::to_string(golden_.batch_size)});
  if (std::find_if(arguments.begin(), arguments.end(), [](const std::string& a) {
        return a.starts_with("--max-grad-norm");
      }) == arguments.end()) {
    arguments.push_back("--max-grad-norm=0");
  }
  if (golden_.adapter) arguments.push_back("--adapter=" + (folder_ / "initial").string());
  const std::vector<Json> log = train(arguments, "run"), golden = read_json_lines(folder_ / "train.jsonl");
  ASSERT_EQ(log.size(), golden.size());
  double worst_loss = 0, worst_norm = 0;
  for (std::size_t step = 0; step < golden.size(); ++step) {
    const double loss = relative(log[step]["loss"], golden[step]["loss"]);
    const double norm = relative(log[step]["grad_norm"], golden[step]["grad_norm"]);
    const double growth = 1 + machine_.growth * static_cast<double>(step);
    EXPECT_LT(loss, golden_.closeness * machine_.loss * growth) << "step " << step;
    EXPECT_LT(norm, machine_.norm * growth) << "step " << step;
    EXPECT_NEAR(log[step]["lr"].get<double>(), golden[step]["lr"].get<double>(), 1e-12);
    worst_loss = std::max(worst_loss, loss);
    worst_norm = std::max(worst_norm, norm);
  }
  RecordProperty("loss", std::to_string(worst_loss * 1e6) + "e-6");
  RecordProperty("norm", std::to_string(worst_norm * 1e6) + "e-6");
  if (!golden_.adapter) return;
  const double update = difference_of_updates(folder_ / "initial", folder_ / "final", scratch_ / "run");
  RecordProperty("update", std::to_string(update * 1e6) + "e-6");
  EXPECT_LT(update, machine_.update);
  expect_same_configuration(folder_ / "final", scratch_ / "run");
}

// The gradient of every adapter tensor at the golden final adapter: a rate of 0 changes nothing but logs
// them.
TEST_P(Golden, EveryTensorsGradientNormAgrees) {
  if (!std::filesystem::exists(folder_ / "eval_final.jsonl"))
    GTEST_SKIP() << golden_.name << " has no reference for single tensors";
  prepare("data");
  const std::vector<Json> log =
      train({"--data=" + (scratch_ / "data"), "--max-steps=8",
             "--batch-size=" + std::to_string(golden_.batch_size), "--learning-rate=0", "--schedule=constant",
             "--max-grad-norm=0", "--log-tensor-norms", "--adapter=" + (folder_ / "final").string()},
            "run");
  int compared = 0;
  for (const Json& line : read_json_lines(folder_ / "eval_final.jsonl")) {
    const Json& own = log.at(line.at("batch").get<std::size_t>());
    if (line.contains("key")) {
      const double norm = own.at("tensor_grad_norms").at(line.at("key").get<std::string>());
      EXPECT_LT(relative(norm, line.at("grad_norm")), machine_.tensor_norm) << line.dump() << " is " << norm;
      ++compared;
    } else {
      EXPECT_LT(relative(own.at("loss"), line.at("loss")), machine_.loss) << line.dump();
    }
  }
  EXPECT_GT(compared, 8);
}

INSTANTIATE_TEST_SUITE_P(All, Golden,
                         testing::Combine(testing::ValuesIn(golden_cases),
                                          testing::ValuesIn(machines_under_test())),
                         [](const auto& info) {
                           std::string name =
                               std::get<0>(info.param).name + "_" + std::get<1>(info.param).name;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return c == '-' || c == '/'; }, '_');
                           return name;
                         });

}  // namespace
}  // namespace chorus
