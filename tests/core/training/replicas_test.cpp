#include "core/training/replicas.h"

#include <algorithm>
#include <cstddef>
#include <functional>

#include <gtest/gtest.h>

#include "core/training/trainer.h"
#include "ops/cpu/cpu_backend.h"
#include "parallel/thread_communicator.h"
#include "tests/core/tiny_base.h"

namespace chorus {
namespace {

// The last bit of the first element.
void flip_a_bit(Backend& backend, Tensor tensor) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes()));
  backend.download(bytes.data(), tensor);
  bytes.at(0) ^= std::byte{1};
  backend.upload(tensor, bytes.data());
}

// What a rank holds of a training that is about to begin.
struct Holding {
  Model& model;
  TrainingStep& step;
  Tensor master(const std::string& name) const { return parameter(name).master; }
  Tensor second_moment(const std::string& name) const {
    return model.parameters().part_of(parameter(name), step.optimizer().second_moments());
  }
  const Parameter& parameter(const std::string& name) const {
    return *std::ranges::find(model.parameters().all(), name, &Parameter::name);
  }
};

using Change = std::function<void(const Holding&, int rank)>;

// What a grid is told of its replicas after `change` on each rank; equal on all of them.
std::string told(std::pair<int, int> grid, const ModelOptions& options, const Change& change) {
  std::vector<std::string> texts(static_cast<std::size_t>(grid.first * grid.second));
  run_on_threads(grid.first, grid.second, [&](const Groups& groups) {
    CpuBackend backend(1);
    test::TinyModel tiny(test::tiny_config(), options, backend, groups);
    TrainingStep step(tiny.model, tiny.optimizer_arena, tiny.activations);
    change({tiny.model, step}, groups.world.rank());
    texts[static_cast<std::size_t>(groups.world.rank())] =
        differing_replicas(tiny.model, step.optimizer(), tiny.activations);
  });
  for (const std::string& text : texts) EXPECT_EQ(text, texts[0]);
  return texts[0];
}

ModelOptions lora() {
  ModelOptions options;
  options.lora = test::tiny_lora(0);
  return options;
}
void nothing(const Holding&, int) {}

const std::string whole = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight",
                  split = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight";

TEST(Replicas, AreTheSameWhereNothingHappens) {
  ModelOptions full, rounded = lora(), projecting = lora();
  full.train_base = true;
  rounded.precision = DType::bf16;
  projecting.projector = ProjectorConfig{ProjectorKind::mlp, 5, 12};
  for (const ModelOptions& options : {lora(), full, rounded, projecting}) {
    for (const auto& grid : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}})
      EXPECT_EQ(told(grid, options, nothing), "") << grid.first << "x" << grid.second;
  }
}

TEST(Replicas, AFlippedBitIsNamedWithItsRank) {
  const auto flip_on = [](int rank, const std::string& name) {
    return [=](const Holding& holding, int here) {
      if (here == rank) flip_a_bit(holding.model.backend(), holding.master(name));
    };
  };
  EXPECT_EQ(told({1, 2}, lora(), flip_on(1, whole)), whole + " of rank 1 is not that of rank 0");
  EXPECT_EQ(told({2, 1}, lora(), flip_on(1, split)), split + " of rank 1 is not that of rank 0");
  EXPECT_EQ(told({2, 2}, lora(), flip_on(3, split)), split + " of rank 3 is not that of rank 1");
  EXPECT_EQ(told({2, 2}, lora(), flip_on(2, whole)), whole + " of rank 2 is not that of rank 0");
  // All others differ from the one with which they are compared.
  EXPECT_EQ(told({2, 2}, lora(), flip_on(0, whole)), whole + " of rank 1 is not that of rank 0 (2 more)");
}

TEST(Replicas, MomentsRoundedValuesAndFrozenNormsAreCompared) {
  const auto flip_on_rank_1 = [](const std::function<Tensor(const Holding&)>& which) {
    return [=](const Holding& holding, int rank) {
      if (rank == 1) flip_a_bit(holding.model.backend(), which(holding));
    };
  };
  EXPECT_EQ(told({1, 2}, lora(), flip_on_rank_1([](const Holding& h) { return h.second_moment(whole); })),
            "the second moments of " + whole + " of rank 1 is not that of rank 0");
  ModelOptions rounded = lora();
  rounded.precision = DType::bf16;
  EXPECT_EQ(told({1, 2}, rounded, flip_on_rank_1([](const Holding& h) { return h.parameter(whole).value; })),
            "the rounded values of " + whole + " of rank 1 is not that of rank 0");
  const auto norm = [](const Holding& h) {
    const auto [name, tensor] = h.model.base().norms_in_memory().at(0);
    EXPECT_EQ(name, "model.layers.0.input_layernorm.weight");
    return Tensor(tensor.dtype(), tensor.shape(), const_cast<void*>(tensor.address()));
  };
  EXPECT_EQ(told({1, 2}, lora(), flip_on_rank_1(norm)),
            "model.layers.0.input_layernorm.weight of rank 1 is not that of rank 0");
}

// Flips a bit on rank 1 after a step.
struct Flipping : TrainingObserver {
  Flipping(Model& of, std::int64_t after) : model(of), step(after) {}
  void step_done(const StepReport& report, std::int64_t) override {
    if (report.step == step && model.groups().world.rank() == 1)
      flip_a_bit(model.backend(), model.parameters().all().front().master);
  }
  void evaluated(const TrainingState&, const Evaluation&, const DevVerdict&) override {}
  void evaluating(std::int64_t, std::int64_t) override {}
  Model& model;
  std::int64_t step;
};

class CheckedTraining : public testing::Test {
 protected:
  TrainConfig config(std::int64_t check_replicas, std::int64_t save_steps) const {
    TrainConfig config;
    config.output = scratch_ / "run";
    config.lora.rank = 3;
    config.batches.batch_size = 7;
    config.batches.tokens_per_microbatch = 48;
    config.max_steps = 8;
    config.check_replicas = check_replicas;
    config.save_steps = save_steps;
    return config;
  }
  // `flip_after` 0: never.
  void train(const TrainConfig& config, std::int64_t flip_after) const {
    std::filesystem::create_directories(config.output);
    run_on_threads(1, 2, [&](const Groups& groups) {
      CpuBackend backend(1);
      TimedGroups timed(groups);
      test::TinyModel tiny(test::tiny_config(), model_options(config, {}, test::tiny_config()), backend,
                           timed.groups(), config.batches.tokens_per_microbatch);
      Trainer trainer(config, {*base_, dataset_}, tiny.model,
                      {timed, tiny.optimizer_arena, tiny.activations});
      Flipping observer(tiny.model, flip_after);
      trainer.run(observer);
    });
  }
  void expect_end(const TrainConfig& config, std::int64_t flip_after, const std::string& message) const {
    EXPECT_TRUE(test::holds(test::message_of<DataError>([&] { train(config, flip_after); }), message));
  }

  test::ScratchFolder scratch_;
  std::unique_ptr<BaseModel> base_ = test::write_tiny_base(scratch_);
  Dataset dataset_ = test::random_dataset(12, 37, 21);
};

TEST_F(CheckedTraining, EndsAtTheNextComparison) {
  expect_end(config(3, 0), 1,
             "after step 3 ranks differ in what they must hold alike: base_model.model.model.layers.0.");
  EXPECT_TRUE(std::filesystem::is_empty(scratch_ / "run"));
}

TEST_F(CheckedTraining, SavesNothingOfADifference) {
  expect_end(config(100, 2), 3, "after step 4 ranks differ");
  EXPECT_TRUE(std::filesystem::exists(scratch_ / "run/checkpoint-2"));
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "run/checkpoint-4"));
  expect_end(config(100, 0), 8, "after step 8 ranks differ");
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "run/adapter_model.safetensors"));
}

TEST_F(CheckedTraining, GoesToItsEndWhereNothingDiffers) {
  train(config(1, 4), 0);
  const std::string checked = test::read_bytes(scratch_ / "run/adapter_model.safetensors");
  std::filesystem::remove_all(scratch_ / "run");
  train(config(0, 4), 0);
  EXPECT_EQ(test::read_bytes(scratch_ / "run/adapter_model.safetensors"), checked);
}

}  // namespace
}  // namespace chorus
