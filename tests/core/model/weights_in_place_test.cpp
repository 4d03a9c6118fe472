// Frozen weights that are read where their file is mapped, against the same that are copied.

#include <cstring>
#include <memory>

#include <gtest/gtest.h>

#include "core/planning/memory_kinds.h"
#include "core/scoring/text_logits.h"
#include "ops/bfloat16.h"
#include "ops/checked_backend.h"
#include "ops/cpu/cpu_backend.h"
#include "parallel/thread_communicator.h"
#include "tests/core/passes.h"
#include "tests/support/resident.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::ScratchFolder;
using test::TinyModel;

ModelConfig config_of_base() {
  ModelConfig config = test::tiny_config();
  config.vocabulary_size = 38;
  return config;
}

// Blanks at the end of the header move the data away from a multiple of eight bytes.
void shift_data(const std::filesystem::path& file, std::size_t blanks) {
  std::string bytes = test::read_bytes(file);
  std::uint64_t length;
  std::memcpy(&length, bytes.data(), sizeof length);
  bytes.insert(sizeof length + length, blanks, ' ');
  length += blanks;
  std::memcpy(bytes.data(), &length, sizeof length);
  test::write_bytes(file, bytes);
}

void write_base(const std::filesystem::path& folder, FileDType dtype, std::size_t shift = 0) {
  const ModelConfig config = config_of_base();
  const auto values = test::random_weights(config);
  std::map<std::string, std::vector<bfloat16>> rounded;
  std::map<std::string, std::vector<float>> exact;
  std::vector<TensorToWrite> tensors;
  for (const ModelTensor& tensor : model_tensors(config)) {
    std::vector<float>& floats = exact[tensor.name] = values(tensor);
    std::vector<bfloat16>& halves = rounded[tensor.name];
    for (const float value : floats) halves.emplace_back(value);
    const bool half = dtype == FileDType::bf16;
    const void* data = half ? static_cast<const void*>(halves.data()) : floats.data();
    tensors.push_back({{tensor.name, dtype, tensor.shape}, data});
  }
  std::filesystem::create_directories(folder);
  write_model_config(folder, config, dtype == FileDType::bf16 ? "bfloat16" : "float32");
  write_safetensors(folder / "model.safetensors", tensors);
  shift_data(folder / "model.safetensors", shift);
}

StoredWeights stored_in(const BaseModel& base) {
  return [&base](const std::string& name) { return base.tensor(name); };
}

// Bytes of what one of P ranks does not have to copy: all but the columns of o and down.
std::int64_t expected_bytes(std::int64_t ranks, std::int64_t bytes_per_element) {
  std::int64_t elements = 0;
  for (const ModelTensor& tensor : model_tensors(config_of_base())) {
    const bool vector = tensor.shape.size() == 1;
    const bool cut =
        tensor.name.find("o_proj") != std::string::npos || tensor.name.find("down_proj") != std::string::npos;
    if (vector) elements += tensor.shape[0];
    if (!vector && (!cut || ranks == 1)) elements += tensor.shape[0] * tensor.shape[1] / ranks;
  }
  return elements * bytes_per_element;
}

struct PlaceCase {
  DType precision;
  FileDType stored;
  std::size_t shift;
  bool in_place;
};

TEST(WeightsInPlace, GiveTheBitsOfCopiedOnes) {
  const std::vector<MicroBatch> batches = test::one_step(test::random_dataset(5, 38, 2), true);
  for (const PlaceCase& c :
       {PlaceCase{DType::f32, FileDType::f32, 0, true}, PlaceCase{DType::f32, FileDType::f32, 4, true},
        PlaceCase{DType::bf16, FileDType::bf16, 0, true}, PlaceCase{DType::bf16, FileDType::bf16, 6, true},
        // Converted, or at no multiple of the element's size.
        PlaceCase{DType::f32, FileDType::bf16, 0, false}, PlaceCase{DType::bf16, FileDType::f32, 0, false},
        PlaceCase{DType::f32, FileDType::f32, 2, false}, PlaceCase{DType::bf16, FileDType::bf16, 1, false}}) {
    const ScratchFolder folder;
    write_base(folder.path(), c.stored, c.shift);
    const BaseModel base(folder.path());
    const ModelOptions options{.precision = c.precision, .lora = test::tiny_lora(0.2)};
    for (const int ranks : {1, 2}) {
      run_on_threads(1, ranks, [&](const Groups& groups) {
        CpuBackend cpu(1);
        CheckedBackend backend(cpu);
        TinyModel copied(base, options, backend, groups, {});
        TinyModel placed(base, options, backend, groups, stored_in(base));
        const std::int64_t bytes = c.in_place ? expected_bytes(ranks, bytes_per_element(c.precision)) : 0;
        EXPECT_EQ(placed.base.llama.bytes_in_place(), bytes) << name(c.precision) << " shift " << c.shift;
        EXPECT_EQ(placed.plan.in_place, bytes);
        EXPECT_EQ(placed.model_bytes(), placed.plan.model());
        EXPECT_EQ(copied.base.llama.bytes_in_place(), 0);
        EXPECT_LE(placed.plan.model() + bytes, copied.plan.model());
        EXPECT_EQ(memory_kinds(base.config(), options, groups.grid, {.tokens = 64, .training = true},
                               stored_in(base))
                      .in_place,
                  bytes);
        const test::LossAndGradients expected = test::run(copied, batches, backend),
                                     result = test::run(placed, batches, backend);
        EXPECT_EQ(expected.loss, result.loss) << name(c.precision) << " shift " << c.shift;
        EXPECT_EQ(expected.gradients, result.gradients) << name(c.precision) << " shift " << c.shift;
      });
    }
  }
}

TEST(WeightsInPlace, AreNoneWhereTheBaseIsTrained) {
  const ScratchFolder folder;
  write_base(folder.path(), FileDType::f32);
  const BaseModel base(folder.path());
  CpuBackend backend(1);
  IdleCommunicator solo;
  TinyModel trained(base, {.train_base = true}, backend, test::solo_groups(solo), stored_in(base));
  EXPECT_EQ(trained.base.llama.bytes_in_place(), 0);
}

TEST(WeightsInPlace, KeepTheirFileMapped) {
  const ScratchFolder folder;
  write_base(folder.path(), FileDType::f32);
  const std::vector<MicroBatch> batches = test::one_step(test::random_dataset(5, 38, 2), true);
  const ModelOptions options{.lora = test::tiny_lora(0)};
  CpuBackend backend(1);
  IdleCommunicator solo;
  auto base = std::make_unique<BaseModel>(folder.path());
  auto placed =
      std::make_unique<TinyModel>(*base, options, backend, test::solo_groups(solo), stored_in(*base));
  const double loss = test::run(*placed, batches, backend).loss;
  base.reset();
  EXPECT_EQ(test::run(*placed, batches, backend).loss, loss);
  EXPECT_GT(test::resident_bytes(folder / "model.safetensors"), 0);
  placed.reset();
  EXPECT_EQ(test::resident_bytes(folder / "model.safetensors"), 0) << "nothing else holds the file";
}

TEST(WeightsInPlace, AreOfTheBaseThatIsLoaded) {
  const ScratchFolder folder;
  write_base(folder / "a", FileDType::f32);
  write_base(folder / "b", FileDType::f32);
  const BaseModel a(folder / "a"), b(folder / "b");
  CpuBackend backend(1);
  IdleCommunicator solo;
  TinyModel placed(a, {}, backend, test::solo_groups(solo), stored_in(a));
  EXPECT_TRUE(test::holds(test::message_of<Error>([&] { placed.base.llama.load(b); }),
                          "model.embed_tokens.weight is read where another base stores it"));
  EXPECT_TRUE(
      test::holds(test::message_of<Error>([&] { placed.base.llama.load(test::random_weights(a.config())); }),
                  "model.embed_tokens.weight is read where it is stored, and cannot be set"));
}

// Blocks one after another in the memory of one, beside those that are read in place.
TEST(OneBlock, GivesTheBitsOfAllInMemory) {
  const std::vector<std::int32_t> tokens{1, 5, 9, 33, 0, 17, 30, 2};
  const PassLimits limits{.tokens = std::ssize(tokens), .logits = true};
  for (const auto& [stored, shift] : {std::pair(FileDType::bf16, 0), std::pair(FileDType::f32, 2)}) {
    const ScratchFolder folder;
    write_base(folder.path(), stored, static_cast<std::size_t>(shift));
    const BaseModel base(folder.path());
    for (const int ranks : {1, 2}) {
      run_on_threads(1, ranks, [&](const Groups& groups) {
        CpuBackend cpu(1);
        CheckedBackend backend(cpu);
        const auto logits = [&](const ModelOptions& options, std::int64_t& bytes) {
          BaseSetup setup(base.config(), options, backend, groups, stored_in(base));
          setup.llama.load(base);
          EXPECT_EQ(setup.llama.bytes_in_place(), 0);
          bytes = setup.weights.peak_bytes();
          ModelSetup model(setup, options, limits);
          EXPECT_EQ(text_logits(model.model, tokens, model.activations),
                    text_logits(model.model, tokens, model.activations))
              << "a second pass begins with the last block in memory";
          return text_logits(model.model, tokens, model.activations);
        };
        std::int64_t whole = 0, one = 0;
        EXPECT_EQ(logits({.one_block = true}, one), logits({}, whole));
        EXPECT_LT(one, whole);
      });
    }
  }
  CpuBackend backend(1);
  IdleCommunicator solo;
  EXPECT_TRUE(test::holds(test::message_of<Error>([&] {
                            TinyModel(config_of_base(), {.train_base = true, .one_block = true}, backend,
                                      test::solo_groups(solo));
                          }),
                          "a trained base in the memory of one block"));
}

}  // namespace
}  // namespace chorus
