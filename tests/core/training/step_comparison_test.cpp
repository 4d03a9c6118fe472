#include "core/training/step_comparison.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "ops/cpu/cpu_backend.h"
#include "parallel/thread_communicator.h"
#include "tests/core/tiny_base.h"

namespace chorus {
namespace {

const Agreement& row(const std::vector<Agreement>& agreements, const std::string& quantity) {
  return *std::ranges::find(agreements, quantity, &Agreement::quantity);
}

std::vector<std::string> broken(const std::vector<Agreement>& agreements) {
  std::vector<std::string> quantities;
  for (const Agreement& agreement : agreements) {
    if (!agreement.holds()) quantities.push_back(agreement.quantity);
  }
  return quantities;
}
using Broken = std::vector<std::string>;

// Deliberately different results of one step that had the weights `before`.
class DifferentSteps : public testing::Test {
 protected:
  std::vector<Agreement> compare(const std::function<void(RecordedStep&)>& change) const {
    StepComparison comparison(step_bounds(DType::f32, 2));
    comparison.start(before_, before_);
    RecordedStep other = reference_;
    change(other);
    comparison.step(1, before_, reference_, other);
    return comparison.agreements();
  }

  const TensorsByName before_{{"a", {1, 2, 3, 4}}, {"b", {0, 0, 0, 0}}};
  const RecordedStep reference_{2.5,
                                3,
                                {{"a", {0.5F, -1, 0.25F, 0}}, {"b", {1e-6F, 3e-6F, 2e-6F, -1e-6F}}},
                                {{"a", {1.1F, 2.1F, 3.1F, 4}}, {"b", {0.1F, 0.1F, 0.1F, -0.1F}}},
                                ""};
};

TEST_F(DifferentSteps, RoundingHolds) {
  EXPECT_EQ(broken(compare([](RecordedStep&) {})), Broken{});
  EXPECT_EQ(broken(compare([](RecordedStep& other) {
              other.loss *= 1 + 1e-6;
              other.gradients["a"][1] *= 1 + 1e-6F;
              other.weights["b"][0] += 1e-5F;
            })),
            Broken{});
}

TEST_F(DifferentSteps, AreNamed) {
  const auto expect = [&](const Broken& quantities, const std::string& where,
                          const std::function<void(RecordedStep&)>& change) {
    const std::vector<Agreement> agreements = compare(change);
    EXPECT_EQ(broken(agreements), quantities);
    EXPECT_EQ(row(agreements, quantities.back()).where, where);
  };
  expect({"loss"}, "step 1", [](RecordedStep& other) { other.loss *= 1.001; });
  // As of micro-batches that are counted twice.
  expect({"gradient norm", "gradients"}, "step 1, a", [](RecordedStep& other) {
    other.gradient_norm *= 2;
    for (float& value : other.gradients["a"]) value *= 2;
  });
  // As of a partial sum; each tensor has its own scale.
  expect({"gradients"}, "step 1, b", [](RecordedStep& other) { other.gradients["b"][2] *= 0.5F; });
  // As of slices in another order.
  expect({"updated weights, as written"}, "step 1, b", [](RecordedStep& other) {
    std::ranges::rotate(other.weights["b"], other.weights["b"].begin() + 2);
  });
  expect({"copies on ranks"}, "step 1, x of rank 1 is not that of rank 0",
         [](RecordedStep& other) { other.differing_replicas = "x of rank 1 is not that of rank 0"; });
  expect({"gradients"}, "step 1, a", [](RecordedStep& other) { other.gradients.erase("a"); });
  expect({"updated weights, as written"}, "step 1, a", [](RecordedStep& other) { other.weights.erase("a"); });
  const float nan = std::numeric_limits<float>::quiet_NaN();
  expect({"gradients"}, "step 1, a", [&](RecordedStep& other) { other.gradients["a"][0] = nan; });
  expect({"updated weights, as written"}, "step 1, a",
         [&](RecordedStep& other) { other.weights["a"][0] = nan; });
  expect({"loss"}, "step 1", [&](RecordedStep& other) { other.loss = nan; });
}

TEST_F(DifferentSteps, TheStartMustBeTheSameToTheBit) {
  StepComparison comparison(step_bounds(DType::bf16, 2));
  TensorsByName other = before_;
  other["a"][3] = std::nextafter(4.0F, 5.0F);
  comparison.start(before_, other);
  EXPECT_EQ(broken(comparison.agreements()), Broken{"weights at the start"});
}

TEST_F(DifferentSteps, TheTableSaysWhereAndHowFar) {
  const std::string table = to_table(compare([](RecordedStep& other) { other.loss *= 1.25; }));
  EXPECT_TRUE(test::holds(table, "loss                           2.5e-01  1.1e-05  BROKEN  step 1\n"));
  EXPECT_TRUE(test::holds(table, "holds"));
}

// A group that forgets its sums.
class WithoutSums : public Communicator {
 public:
  explicit WithoutSums(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  using Communicator::all_reduce;
  void all_reduce(Tensor, Reduce) override {}
  void all_gather(Tensor x) override { inner_.all_gather(x); }
  void reduce_scatter(Tensor x) override { inner_.reduce_scatter(x); }
  void broadcast(Tensor x, int root) override { inner_.broadcast(x, root); }
  void barrier() override { inner_.barrier(); }

 private:
  Communicator& inner_;
};

enum class Forgotten { nothing, sum_of_world, sum_of_data };

class StepsOfGrids : public testing::Test {
 protected:
  TrainConfig config() const {
    TrainConfig config;
    config.lora.rank = 3;
    config.lora.dropout = 0.25;
    config.schedule.peak = 1e-2;
    config.batches.batch_size = 7;
    config.batches.tokens_per_microbatch = 48;
    config.max_steps = 8;
    config.schedule.warmup_steps = 0;
    return config;
  }

  // With samples apart, one rank alone.
  RecordedSteps alone(TrainConfig config) const {
    config.batches.prefix_sharing = config.model.sequence_parallel = false;
    RecordedSteps steps;
    run_on_threads(1, 1, [&](const Groups& groups) {
      with_trainer(config, groups, [&](Trainer& trainer, test::TinyModel& tiny) {
        steps = record_steps(trainer, tiny.model, tiny.activations, count_);
      });
    });
    return steps;
  }

  std::vector<Agreement> compare(const TrainConfig& config, std::pair<int, int> grid,
                                 Forgotten forgotten = Forgotten::nothing) const {
    const RecordedSteps reference = alone(config);
    std::vector<Agreement> agreements;
    run_on_threads(grid.first, grid.second, [&](const Groups& groups) {
      WithoutSums world(groups.world), data(groups.data);
      const Groups used{
          groups.grid,
          forgotten == Forgotten::sum_of_world ? static_cast<Communicator&>(world) : groups.world,
          forgotten == Forgotten::sum_of_data ? static_cast<Communicator&>(data) : groups.data,
          groups.tensor};
      with_trainer(config, used, [&](Trainer& trainer, test::TinyModel& tiny) {
        const bool first = groups.world.rank() == 0;
        const auto found =
            compare_steps(first ? reference : RecordedSteps{}, count_, trainer, tiny.model, tiny.activations);
        if (first) agreements = found;
      });
    });
    return agreements;
  }

 private:
  void with_trainer(const TrainConfig& config, const Groups& groups,
                    const std::function<void(Trainer&, test::TinyModel&)>& use) const {
    CpuBackend backend(1);
    TimedGroups timed(groups);
    test::TinyModel tiny(test::tiny_config(), model_options(config, {}, test::tiny_config()), backend,
                         timed.groups(), config.batches.tokens_per_microbatch);
    Trainer trainer(config, {*base_, dataset_}, tiny.model, {timed, tiny.optimizer_arena, tiny.activations});
    use(trainer, tiny);
  }

  static constexpr std::int64_t count_ = 3;
  test::ScratchFolder scratch_;
  std::unique_ptr<BaseModel> base_ = test::write_tiny_base(scratch_);
  Dataset dataset_ = test::random_dataset(12, 37, 21);
};

// In f32: the weights of the tiny model are so large that bf16 is far from any other rounding.
TEST_F(StepsOfGrids, AreThoseOfOneRank) {
  TrainConfig divided = config(), full = config();
  divided.model.sequence_parallel = true;
  divided.model.recompute = Recompute::all;
  full.method = Method::full;
  full.schedule.peak = 1e-3;
  for (const TrainConfig& run : {config(), divided, full}) {
    for (const auto& grid : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}}) {
      const std::vector<Agreement> agreements = compare(run, grid);
      EXPECT_EQ(broken(agreements), Broken{}) << grid.first << "x" << grid.second << '\n'
                                              << to_table(agreements);
      EXPECT_GT(row(agreements, "gradients").worst, 0) << "or nothing was computed twice";
    }
  }
}

TEST_F(StepsOfGrids, AGradientThatIsNotSummedIsFound) {
  // A of q, k, v, gate and up, and B of o and down, are one term of a sum on each tensor rank, and drift apart.
  const std::vector<Agreement> tensor = compare(config(), {1, 2}, Forgotten::sum_of_world);
  EXPECT_EQ(broken(tensor),
            (Broken{"gradient norm", "gradients", "updated weights, as written", "copies on ranks"}));
  EXPECT_GT(row(tensor, "gradients").worst, 0.1);
  EXPECT_TRUE(test::holds(row(tensor, "copies on ranks").where, " of rank 1 is not that of rank 0"));
  const std::vector<Agreement> data = compare(config(), {2, 1}, Forgotten::sum_of_data);
  EXPECT_EQ(broken(data),
            (Broken{"loss", "gradient norm", "gradients", "updated weights, as written", "copies on ranks"}));
}

}  // namespace
}  // namespace chorus
