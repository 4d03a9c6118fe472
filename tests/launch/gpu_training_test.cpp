// Trainings on GPUs against the same on the CPU, by public commands: f32 and bf16, on several grids. The GPUs are
// emulated, or real where there are some.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/formats/safetensors.h"
#include "ops/base/error.h"
#include "tests/launch/featured_data.h"
#include "tests/launch/machines.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

struct Training {
  std::vector<double> losses;
  std::string folder;
};

// Two blocks with heads of 64, which have kernels of their own, and as many heads as 4 ranks need.
class GpuTraining : public testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = missing_machine(1);
    if (!missing.empty()) GTEST_SKIP() << missing;
    run_successfully({"sample", "--train-dialogues", "6", "--dev-dialogues", "2", "--test-dialogues", "2",
                      "--paragraphs", "150", "--output", folder_ / "corpus"});
    run_successfully({"tokenizer", "--vocabulary-size", "420", "--output", folder_ / "tokenizer.model",
                      folder_ / "corpus/pretraining.txt"});
    run_successfully({"init", "--tokenizer", folder_ / "tokenizer.model", "--hidden-size", "128",
                      "--head-width", "64", "--query-heads", "8", "--key-value-heads", "4", "--layers", "2",
                      "--output", base_});
    run_successfully({"prepare", "--corpus", "meld", "--base", base_, "--output", data_, folder_ / "corpus"});
  }

  Training train(const std::string& name, int ranks, std::vector<std::string> options) {
    std::vector<std::string> arguments{"train", "--base",          base_,         "--data",
                                       data_,   "--max-steps",     "3",           "--batch-size",
                                       "4",     "--lora-rank",     "4",           "--learning-rate",
                                       "1e-3",  "--lora-dropout",  "0.1",         "--eval-steps",
                                       "0",     "--logging-steps", "1",           "--tokens-per-microbatch",
                                       "420",   "--output",        folder_ / name};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const Outcome outcome = run_chorus(arguments, ranks == 1 ? std::vector<std::string>{} : mpirun(ranks));
    EXPECT_EQ(outcome.exit_code, 0) << name << ": " << outcome.err;
    Training result{.losses = {}, .folder = folder_ / name};
    std::ifstream log(folder_ / name + "/trainer_log.jsonl");
    for (std::string line; std::getline(log, line);) {
      const auto json = nlohmann::json::parse(line);
      if (json.contains("loss")) result.losses.push_back(json["loss"]);
    }
    EXPECT_FALSE(result.losses.empty()) << name;
    return result;
  }

  static void expect_losses_near(const Training& a, const Training& b, double bound,
                                 const std::string& what) {
    ASSERT_EQ(a.losses.size(), b.losses.size()) << what;
    for (std::size_t i = 0; i < a.losses.size(); ++i)
      EXPECT_NEAR(a.losses[i], b.losses[i], bound * b.losses[i]) << what << ", step " << i + 1;
  }

  // ‖difference of the adapters‖ / ‖b's B‖, of all B, which begin at zero.
  static double difference(const Training& a, const Training& b) {
    const SafetensorsFile left(a.folder + "/adapter_model.safetensors"),
        right(b.folder + "/adapter_model.safetensors");
    double distance = 0, size = 0;
    for (const TensorView& tensor : right.tensors()) {
      if (tensor.name.find("lora_B") == std::string::npos) continue;
      const auto x = read_tensor(left.tensor(tensor.name)), y = read_tensor(tensor);
      for (std::size_t i = 0; i < x.size(); ++i) {
        distance += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
        size += std::pow(static_cast<double>(y[i]), 2);
      }
    }
    return std::sqrt(distance / size);
  }

  TemporaryFolder folder_;
  const std::string base_ = folder_ / "base", data_ = folder_ / "data";
};

TEST_F(GpuTraining, EqualsTheCpuInF32OnEveryGrid) {
  const Training cpu = train("cpu", 1, {"--device", "cpu"});
  const struct {
    std::string name;
    int ranks;
    std::vector<std::string> options;
  } runs[] = {{"gpu 1x1", 1, {}},
              {"gpu 2x1", 2, {}},
              {"gpu 1x2", 2, {"--tensor-parallel", "2"}},
              {"gpu 2x2", 4, {"--tensor-parallel", "2"}},
              {"gpu 1x4", 4, {"--tensor-parallel", "4"}},
              {"gpu 1x2 divided", 2, {"--tensor-parallel", "2", "--sequence-parallel"}},
              {"gpu 1x2 in pieces", 2, {"--tensor-parallel", "2", "--overlap-chunks", "3"}}};
  for (auto [name, ranks, options] : runs) {
    const std::string missing = missing_machine(ranks);
    if (!missing.empty()) GTEST_SKIP() << missing;
    options.insert(options.end(), {"--device", "cuda"});
    const Training gpu = train(name, ranks, options);
    expect_losses_near(gpu, cpu, 1e-5, name);
    // AdamW's first steps have the size of the rate wherever a gradient is not exactly 0, so that rounding shows.
    EXPECT_LT(difference(gpu, cpu), 1e-3) << name;
    RecordProperty(name, fmt::format("{:.2e}", difference(gpu, cpu)));
  }
}

TEST_F(GpuTraining, StaysNearTheCpuInBf16) {
  const Training exact = train("f32", 1, {"--device", "cpu"});
  const Training cpu = train("cpu", 1, {"--device", "cpu", "--precision", "bf16"});
  const Training gpu = train("gpu", 1, {"--device", "cuda", "--precision", "bf16"});
  // 2 blocks of about 8 roundings, each of 2^-9 of the value, that add like their squares.
  const double rounding = 0x1p-9 * std::sqrt(16.0);
  expect_losses_near(cpu, exact, rounding, "cpu in bf16");
  expect_losses_near(gpu, exact, rounding, "gpu in bf16");
  for (const std::string recompute : {"some", "all"}) {
    const Training recomputed =
        train(recompute, 1, {"--device", "cuda", "--precision", "bf16", "--recompute", recompute});
    EXPECT_EQ(gpu.losses, recomputed.losses) << recompute;
  }
  const std::string missing = missing_machine(2);
  if (!missing.empty()) GTEST_SKIP() << missing;
  const Training divided =
      train("divided", 2,
            {"--device", "cuda", "--precision", "bf16", "--tensor-parallel", "2", "--sequence-parallel"});
  expect_losses_near(divided, exact, rounding, "2 gpus in bf16");
}

// 6 numbers a row, which are no whole vectors of any kernel or product.
TEST_F(GpuTraining, FeaturesEqualTheCpus) {
  write_with_features(data_, folder_ / "featured", 6);
  const std::vector<std::string> featured{"--data", folder_ / "featured", "--projector-hidden", "10"};
  const auto train_with = [&](const std::string& name, int ranks, std::vector<std::string> options) {
    options.insert(options.end(), featured.begin(), featured.end());
    return train(name, ranks, options);
  };
  const Training cpu = train_with("cpu", 1, {"--device", "cpu"});
  const Training gpu = train_with("gpu", 1, {"--device", "cuda"});
  expect_losses_near(gpu, cpu, 1e-5, "with features");
  EXPECT_LT(difference(gpu, cpu), 1e-3);
  const Training rounded = train_with("gpu bf16", 1, {"--device", "cuda", "--precision", "bf16"});
  expect_losses_near(rounded, cpu, 0x1p-9 * std::sqrt(16.0), "with features in bf16");
  const std::string missing = missing_machine(2);
  if (!missing.empty()) GTEST_SKIP() << missing;
  const Training divided =
      train_with("gpu 1x2", 2, {"--device", "cuda", "--tensor-parallel", "2", "--sequence-parallel"});
  expect_losses_near(divided, cpu, 1e-5, "with features on 2 gpus");
}

TEST_F(GpuTraining, ScoresAndGeneratesLikeTheCpu) {
  const auto answers = [&](const std::string& device) {
    return run_successfully(
        {"generate", "--base", base_, "--device", device, "--max-new-tokens", "8", "I am so"});
  };
  EXPECT_EQ(answers("cuda"), answers("cpu"));
  const auto predictions = [&](const std::string& device) {
    run_successfully(
        {"evaluate", "--base", base_, "--data", data_, "--device", device, "--output", folder_ / device});
    return read_text((folder_ / device) + "/predictions.jsonl");
  };
  const std::string on_gpu = predictions("cuda"), on_cpu = predictions("cpu");
  // The scores differ in their last digits, the answers do not.
  std::istringstream a(on_gpu), b(on_cpu);
  for (std::string x, y; std::getline(a, x) && std::getline(b, y);)
    EXPECT_EQ(nlohmann::json::parse(x)["predicted"], nlohmann::json::parse(y)["predicted"]);
  EXPECT_EQ(std::count(on_gpu.begin(), on_gpu.end(), '\n'), std::count(on_cpu.begin(), on_cpu.end(), '\n'));
}

TEST_F(GpuTraining, ResumeContinuesBitForBit) {
  const std::vector<std::string> options{"--device", "cuda", "--precision", "bf16", "--save-steps", "2"};
  const Training whole = train("whole", 1, options);
  std::vector<std::string> again = options;
  again.insert(again.end(), {"--resume", whole.folder + "/checkpoint-2"});
  train("again", 1, again);
  EXPECT_EQ(read_text((folder_ / "again") + "/adapter_model.safetensors"),
            read_text(whole.folder + "/adapter_model.safetensors"));
}

}  // namespace
}  // namespace chorus
