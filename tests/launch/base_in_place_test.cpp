// What commands take for a base that stays in its file, as the system counts it.

#include <filesystem>
#include <map>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/formats/base_model.h"
#include "ops/base/random.h"
#include "ops/bfloat16.h"
#include "tests/launch/shared_folder.h"

namespace chorus {
namespace {

using testing::HasSubstr;

// A base for the tokenizer and data of another, with random weights in bf16. Returns the bytes of its file.
std::int64_t write_base(const std::filesystem::path& folder, const std::filesystem::path& other,
                        std::int64_t layers, std::int64_t width, std::int64_t mlp_width) {
  ModelConfig config = read_model_config(other);
  config.layers = layers;
  config.hidden_size = width;
  config.intermediate_size = mlp_width;
  config.head_width = 32;
  config.query_heads = config.key_value_heads = width / config.head_width;
  std::filesystem::create_directories(folder);
  write_model_config(folder, config, "bfloat16");
  std::filesystem::copy_file(other / "tokenizer.model", folder / "tokenizer.model");
  std::map<std::string, std::vector<bfloat16>> values;
  std::vector<TensorToWrite> tensors;
  for (const ModelTensor& tensor : model_tensors(config)) {
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

class BaseInPlace : public SharedFolderTest<BaseInPlace> {
 public:
  static void fill() {
    write_tiny_data(folder());
    write_base(at("small"), at("base"), 1, 64, 64);
    file_bytes_ = write_base(at("large"), at("base"), 3, 1024, 2816);
  }

 protected:
  struct Memory {
    std::int64_t planned = 0, peak = 0;
    std::string told;
    // The program, its libraries, the data, MPI, and what the CPU operators keep.
    std::int64_t beside() const { return peak - planned; }
  };
  static Memory train(const std::string& base, const std::vector<std::string>& more,
                      const std::vector<std::string>& launcher) {
    const TemporaryFolder output;
    std::vector<std::string> arguments{"train",
                                       "--device",
                                       "cpu",
                                       "--base",
                                       at(base),
                                       "--data",
                                       at("data"),
                                       "--output",
                                       output / "run",
                                       "--recompute",
                                       "on",
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
    const auto results = nlohmann::json::parse(read_text(output / "run/train_results.json"));
    return {results["planned_bytes"].get<std::int64_t>(), results["peak_resident_bytes"].get<std::int64_t>(),
            told};
  }
  // Trains on the large base, and on a small one, which tells what a run takes beside its plan. The host also holds a few
  // copies of one tensor while a trained one is read or written; a second base would be more.
  static Memory train_as_planned(const std::vector<std::string>& more,
                                 const std::vector<std::string>& launcher = {}) {
    const Memory small = train("small", more, launcher), large = train("large", more, launcher);
    EXPECT_GT(large.peak, large.planned) << large.told;
    EXPECT_LT(large.beside(), small.beside() + file_bytes_ / 4 * 3) << large.told;
    return large;
  }

  static std::int64_t file_bytes_;
};
std::int64_t BaseInPlace::file_bytes_ = 0;

TEST_F(BaseInPlace, TakesWhatIsPlannedAndLittleMoreThanItsFile) {
  const Memory memory = train_as_planned({"--precision", "bf16", "--lora-targets", "q,v"});
  EXPECT_THAT(memory.told, HasSubstr("base in its file, shared by a machine's ranks"));
  EXPECT_LT(memory.planned, 1.3 * static_cast<double>(file_bytes_));
}

// Twice the file, and not three times: what has been converted is given back.
TEST_F(BaseInPlace, ConvertedWeightsAreThereOnce) {
  const Memory memory = train_as_planned({"--precision", "f32", "--lora-targets", "q,v"});
  EXPECT_THAT(memory.told, testing::Not(HasSubstr("base in its file")));
  EXPECT_GT(memory.planned, 2 * file_bytes_);
}

TEST_F(BaseInPlace, TrainedWeightsAreThereAsPlanned) {
  train_as_planned({"--precision", "bf16", "--method", "full"});
}

TEST_F(BaseInPlace, TensorRanksReadTheirParts) {
  if (!has_mpirun()) GTEST_SKIP() << "NOT TESTED: there is no mpirun";
  const Memory memory =
      train_as_planned({"--precision", "bf16", "--lora-targets", "q,v", "--tensor-parallel", "2"}, mpirun(2));
  EXPECT_THAT(memory.told, HasSubstr("base in its file, shared by a machine's ranks"));
  EXPECT_LT(memory.planned, 0.75 * static_cast<double>(file_bytes_));
}

TEST_F(BaseInPlace, StandsInThePlanOfThisMachine) {
  const auto plan = [](const std::vector<std::string>& of_base) {
    std::vector<std::string> arguments{"plan", "--machine", "this", "--ranks", "1", "--max-steps", "1"};
    arguments.insert(arguments.end(), of_base.begin(), of_base.end());
    return run_successfully(arguments);
  };
  const std::string row = "base weights in their file, shared by a machine's ranks";
  EXPECT_THAT(plan({"--base", at("large"), "--precision", "bf16"}), HasSubstr(row));
  EXPECT_THAT(plan({"--base", at("large"), "--precision", "f32"}), testing::Not(HasSubstr(row)));
  EXPECT_THAT(plan({"--model", "tiny", "--precision", "bf16"}), HasSubstr(row));
  EXPECT_THAT(plan({"--model", "tiny", "--machine", "h100"}), testing::Not(HasSubstr(row)));

  // A base that no test could hold: bf16, with adapters on q and v, one sequence of 256 tokens.
  const std::string grids = at("7b.json");
  plan({"--model", "7b", "--precision", "bf16", "--lora-targets", "q,v", "--recompute", "on", "--batch-size",
        "1", "--sequence-length", "256", "--tokens-per-microbatch", "256", "--grids", grids});
  const auto planned = nlohmann::json::parse(read_text(grids))["grids"][0]["planned_bytes"].get<double>();
  constexpr double parameters = 6'738'415'616;
  EXPECT_GT(planned, 2 * parameters);
  EXPECT_LT(planned, 1.15 * 2 * parameters);
}

}  // namespace
}  // namespace chorus
