#include "core/model/model.h"

#include "ops/cpu/cpu_backend.h"
#include "parallel/thread_communicator.h"
#include "tests/core/passes.h"

namespace chorus {
namespace {

using namespace test;

std::vector<float> scores_of(const Model& model, const MicroBatch& batch, Backend& backend, Arena& arena) {
  Arena::Scope scope(arena);
  const DeviceBatch device = upload(batch, backend, arena, model.options().precision);
  const Tensor log_probability =
      arena.take(accumulator(model.options().precision), {std::ssize(batch.targets)});
  model.score(log_probability, device, arena);
  return download_floats(backend, log_probability);
}

// A second adapter of another rank on the same base, and the base alone.
struct Others {
  explicit Others(TinyModel& tiny)
      : adapted(tiny.base, options(), {.tokens = 256, .training = true}),
        plain(tiny.base, {}, {.tokens = 256}) {
    adapted.model.adapters().initialise();
    for (Parameter& parameter : adapted.model.parameters().all()) {
      std::vector<float> values(static_cast<std::size_t>(parameter.full.elements()));
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = uniform(random_word(8, RandomUse::initial_value, 1, i)) - 0.5F;
      adapted.model.parameters().assign(parameter, values);
    }
  }
  static ModelOptions options() {
    ModelOptions options{.lora = tiny_lora(0), .seed = 3};
    options.lora->rank = 2;
    options.lora->targets = {Projection::q, Projection::down};
    return options;
  }
  ModelSetup adapted, plain;
};

TEST(Model, SeveralUseOneBaseAsIfEachHadItsOwn) {
  const MicroBatch batch = one_step(random_dataset(5, 37, 2), true).front();
  for (const int ranks : {1, 2}) {
    run_on_threads(1, ranks, [&](const Groups& groups) {
      CpuBackend backend(1);
      TinyModel shared(tiny_config(), {.lora = tiny_lora(0.2), .seed = 9}, backend, groups);
      TinyModel alone(tiny_config(), {}, backend, groups);
      Others others(shared);
      Arena& arena = shared.activations;
      const std::vector<float> first = scores_of(shared.model, batch, backend, arena),
                               other = scores_of(others.adapted.model, batch, backend, arena),
                               plain = scores_of(others.plain.model, batch, backend, arena);
      EXPECT_EQ(plain, scores_of(alone.model, batch, backend, alone.activations));
      EXPECT_EQ(first, scores_of(shared.model, batch, backend, arena)) << "after passes of the others";
      EXPECT_NE(first, plain);
      EXPECT_NE(first, other);
      EXPECT_NE(plain, other);
    });
  }
}

// What one trains is nothing to the other.
TEST(Model, GradientsAreThoseOfItsOwnParameters) {
  const std::vector<MicroBatch> batches = one_step(random_dataset(5, 37, 2), true);
  CpuBackend backend(1);
  IdleCommunicator solo;
  TinyModel tiny(tiny_config(), {.lora = tiny_lora(0.2), .seed = 9}, backend, solo_groups(solo));
  const LossAndGradients expected = run(tiny, batches, backend);
  Others others(tiny);
  others.adapted.model.parameters().zero_gradients();
  const LossAndGradients again = run(tiny, batches, backend);
  EXPECT_EQ(again.loss, expected.loss);
  EXPECT_EQ(again.gradients, expected.gradients);
  EXPECT_EQ(others.adapted.model.parameters().gradient_norm(), 0);
}

TEST(Model, BaseAloneTakesNoMemoryForParameters) {
  CpuBackend backend(1);
  IdleCommunicator solo;
  TinyModel plain(tiny_config(), {}, backend, solo_groups(solo));
  EXPECT_EQ(plain.plan.parameters, 0);
  EXPECT_TRUE(
      message_of<Error>([&] { plain.model.adapters(); }).starts_with("the adapters of a model without"));
}

}  // namespace
}  // namespace chorus
