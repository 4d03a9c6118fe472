// What commands take for a base that stays in its file, as the system counts it.

#include <filesystem>
#include <map>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/base_model.h"
#include "ops/bfloat16.h"
#include "ops/random.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;

constexpr std::int64_t mebibyte = 1 << 20;
// The program, its libraries, the data, MPI, and what the CPU operators keep.
constexpr std::int64_t beside_plan = 64 * mebibyte;

// A base for the tokenizer and data of another, with random weights in bf16. Returns the bytes of its file.
std::int64_t write_large_base(const std::filesystem::path& folder, const std::filesystem::path& small) {
  ModelConfig config = read_model_config(small);
  config.hidden_size = 1024;
  config.intermediate_size = 2816;
  config.layers = 3;
  config.query_heads = config.key_value_heads = 16;
  config.head_width = 64;
  std::filesystem::create_directories(folder);
  write_model_config(folder, config, "bfloat16");
  std::filesystem::copy_file(small / "tokenizer.model", folder / "tokenizer.model");
  std::map<std::string, std::vector<bfloat16>> values;
  std::vector<TensorToWrite> tensors;
  for (const ExpectedTensor& tensor : expected_tensors(config)) {
    const bool vector = tensor.shape.size() == 1;
    const auto elements = static_cast<std::size_t>(tensor.shape[0] * (vector ? 1 : tensor.shape[1]));
    std::vector<bfloat16>& list = values[tensor.name];
    for (std::size_t i = 0; i < elements; ++i) {
      const float random = uniform(random_word(1, RandomUse::initial_value, 0, i % 65521)) - 0.5F;
      list.emplace_back(vector ? 1.0F : 0.05F * random);
    }
    tensors.push_back({{tensor.name, FileDType::bf16, tensor.shape}, list.data()});
  }
  write_safetensors(folder / "model.safetensors", tensors);
  return static_cast<std::int64_t>(std::filesystem::file_size(folder / "model.safetensors"));
}

class BaseInPlace : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    write_tiny_data(*folder_);
    file_bytes_ = write_large_base(*folder_ / "large", *folder_ / "base");
  }
  static void TearDownTestSuite() { delete folder_; }

  struct Memory {
    std::int64_t planned = 0, peak = 0;
    std::string told;
  };
  static Memory train(const std::string& output, const std::vector<std::string>& more,
                      const std::vector<std::string>& launcher = {}) {
    std::vector<std::string> arguments{"train",
                                       "--device",
                                       "cpu",
                                       "--base",
                                       *folder_ / "large",
                                       "--data",
                                       *folder_ / "data",
                                       "--output",
                                       *folder_ / output,
                                       "--recompute",
                                       "on",
                                       "--lora-targets",
                                       "q,v",
                                       "--tokens-per-microbatch",
                                       "256",
                                       "--max-steps",
                                       "2",
                                       "--batch-size",
                                       "4",
                                       "--eval-steps",
                                       "0",
                                       "--threads",
                                       "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const std::string told = run_successfully(arguments, launcher);
    const auto results = nlohmann::json::parse(read_text(*folder_ / (output + "/train_results.json")));
    return {results["planned_bytes"].get<std::int64_t>(), results["peak_resident_bytes"].get<std::int64_t>(),
            told};
  }
  static void expect_planned(const Memory& memory) {
    EXPECT_GT(memory.peak, memory.planned) << memory.told;
    EXPECT_LT(memory.peak, memory.planned + beside_plan) << memory.told;
  }

  static TemporaryFolder* folder_;
  static std::int64_t file_bytes_;
};
TemporaryFolder* BaseInPlace::folder_ = nullptr;
std::int64_t BaseInPlace::file_bytes_ = 0;

TEST_F(BaseInPlace, TakesWhatIsPlannedAndLittleMoreThanItsFile) {
  const Memory memory = train("in place", {"--precision", "bf16"});
  expect_planned(memory);
  EXPECT_THAT(memory.told, HasSubstr("base in its file, shared by a machine's ranks"));
  EXPECT_LT(memory.planned, 1.15 * static_cast<double>(file_bytes_));
}

// Twice the file, and not three times: what has been converted is given back.
TEST_F(BaseInPlace, ConvertedWeightsAreThereOnce) {
  const Memory memory = train("converted", {"--precision", "f32"});
  expect_planned(memory);
  EXPECT_THAT(memory.told, testing::Not(HasSubstr("base in its file")));
  EXPECT_GT(memory.planned, 2 * file_bytes_);
}

TEST_F(BaseInPlace, TrainedWeightsAreThereAsPlanned) {
  expect_planned(train("full", {"--precision", "bf16", "--method", "full"}));
}

TEST_F(BaseInPlace, TensorRanksReadTheirParts) {
  if (!has_mpirun()) GTEST_SKIP() << "NOT TESTED: there is no mpirun";
  const Memory memory = train("ranks", {"--precision", "bf16", "--tensor-parallel", "2"}, mpirun(2));
  expect_planned(memory);
  EXPECT_LT(memory.planned, 0.6 * static_cast<double>(file_bytes_));
}

TEST_F(BaseInPlace, StandsInThePlanOfThisMachine) {
  const auto plan = [](const std::vector<std::string>& of_base) {
    std::vector<std::string> arguments{"plan", "--machine", "this", "--ranks", "1", "--max-steps", "1"};
    arguments.insert(arguments.end(), of_base.begin(), of_base.end());
    return run_successfully(arguments);
  };
  const std::string row = "base weights in their file, shared by a machine's ranks";
  EXPECT_THAT(plan({"--base", *folder_ / "large", "--precision", "bf16"}), HasSubstr(row));
  EXPECT_THAT(plan({"--base", *folder_ / "large", "--precision", "f32"}), testing::Not(HasSubstr(row)));
  EXPECT_THAT(plan({"--model", "tiny", "--precision", "bf16"}), HasSubstr(row));
  EXPECT_THAT(plan({"--model", "tiny", "--machine", "h100"}), testing::Not(HasSubstr(row)));
}

}  // namespace
}  // namespace chorus
