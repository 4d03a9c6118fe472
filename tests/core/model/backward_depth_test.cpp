// The backward pass goes no deeper than to what is trained, and its results are those of one that does.

#include <gtest/gtest.h>

#include "core/planning/rehearsal.h"
#include "ops/cpu/cpu_backend.h"
#include "parallel/thread_communicator.h"
#include "tests/core/passes.h"

namespace chorus {
namespace {

using namespace test;

constexpr std::int64_t layers = 3, rank_r = 3;

ModelConfig config_of_three() {
  ModelConfig config = tiny_config();
  config.layers = layers;
  return config;
}

// Adapters beside these projections in these layers.
LoraConfig lora_of(std::vector<Projection> targets, std::vector<std::int64_t> of_layers) {
  LoraConfig lora = tiny_lora(0.3);
  lora.targets = std::move(targets);
  lora.patterns.layers = std::move(of_layers);
  return lora;
}

// Of a backward pass; and of a forward pass the products with W, which backward may compute again.
struct Calls {
  int products = 0;         // with W, to a gradient of an input or of the final rows
  int input_gradients = 0;  // by adapters
  int norms = 0, rotations = 0, attentions = 0, gates = 0;
  int forward_products = 1 + 7 * layers;
  bool operator==(const Calls&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Calls& c) {
  return out << c.products << " products, " << c.input_gradients << " of adapters, " << c.norms << " norms, "
             << c.rotations << " rotations, " << c.attentions << " attentions, " << c.gates << " gates, "
             << c.forward_products << " forward";
}

class CountingBackend final : public DryBackend {
 public:
  explicit CountingBackend(Calls& calls) : calls_(calls) { calls.forward_products = 0; }
  void matmul(Tensor out, ConstTensor, ConstTensor, MatmulOptions options) override {
    if (!options.transpose_a && !options.transpose_b && out.dim(1) != rank_r) ++calls_.products;
    if (options.transpose_b && !options.accumulate) ++calls_.forward_products;
  }
  void low_rank_input_gradient(Tensor, std::span<const LowRankInputGradient>, ConstTensor, Tensor) override {
    ++calls_.input_gradients;
  }
  void rms_norm_backward(Tensor, ConstTensor, ConstTensor, ConstTensor, ConstTensor) override {
    ++calls_.norms;
  }
  void rope(Tensor, ConstTensor, ConstTensor, Rotation rotation) override {
    if (rotation == Rotation::backward) ++calls_.rotations;
  }
  void attention_backward(Tensor, Tensor, Tensor, ConstTensor, ConstTensor, ConstTensor, ConstTensor,
                          ConstTensor, ConstTensor, const Forest&) override {
    ++calls_.attentions;
  }
  void swiglu_backward(Tensor, Tensor, ConstTensor, ConstTensor, ConstTensor) override { ++calls_.gates; }

 private:
  Calls& calls_;
};

Calls calls_of(const ModelOptions& options, bool features = false) {
  Calls calls;
  CountingBackend backend(calls);
  IdleCommunicator solo;
  Arena memory = Arena::measuring(), arena = Arena::measuring();
  Llama base(config_of_three(), options, backend, solo_groups(solo), memory);
  const Model model(base, options, memory);
  DeviceBatch batch = model.upload(rehearsal_batch(32, 8), arena);
  if (features) batch.features = most_features(options, 32, arena);
  model.score_and_backward(arena.take(DType::f32, {8}), batch, 1, 0, arena);
  return calls;
}

// One product and one norm are of the rows that have targets. A block has 7 products, 2 norms and 2 rotations; adapters of
// all projections read 4 different inputs.
TEST(BackwardDepth, NothingIsComputedBeneathWhatIsTrained) {
  using enum Projection;
  const auto with = [](std::vector<Projection> targets, std::vector<std::int64_t> of_layers) {
    return calls_of({.lora = lora_of(std::move(targets), std::move(of_layers))});
  };
  EXPECT_EQ(with({q, k, v, o, gate, up, down}, {}),
            (Calls{1 + 7 * 3 - 3, 4 * 3 - 1, 1 + 2 * 3 - 1, 6, 3, 3}));
  EXPECT_EQ(with({q, v}, {1}), (Calls{1 + 7 + 4, 0, 1 + 2 + 1, 2 + 1, 2, 2}));
  EXPECT_EQ(with({k, gate}, {1, 2}), (Calls{1 + 7 + 4, 3, 1 + 2 + 1, 2 + 1, 2, 2}));
  EXPECT_EQ(with({o}, {2}), (Calls{1 + 3, 0, 1 + 1, 0, 0, 1}));
  EXPECT_EQ(with({up}, {2}), (Calls{1 + 1, 0, 1, 0, 0, 1}));
  EXPECT_EQ(with({down}, {2}), (Calls{1, 0, 1, 0, 0, 0}));
}

// Backward reads no output of a block, so that down is not multiplied again.
TEST(BackwardDepth, BlocksAreComputedAgainWhereTheyGoBackward) {
  const auto forward_products = [](Recompute recompute, std::vector<std::int64_t> of_layers) {
    const LoraConfig lora = lora_of({all_projections.begin(), all_projections.end()}, std::move(of_layers));
    return calls_of({.lora = lora, .recompute = recompute}).forward_products;
  };
  EXPECT_EQ(forward_products(Recompute::some, {}), 1 + 7 * 3);
  EXPECT_EQ(forward_products(Recompute::all, {}), 1 + 7 * 3 + 6 * 3);
  EXPECT_EQ(forward_products(Recompute::all, {1, 2}), 1 + 7 * 3 + 6 * 2);
}

TEST(BackwardDepth, GoesToTheInputWhereThatIsTrained) {
  EXPECT_EQ(calls_of({.train_base = true}), (Calls{1 + 7 * 3, 0, 1 + 2 * 3, 6, 3, 3}));
  const ModelOptions projector{.projector = ProjectorConfig{ProjectorKind::linear, 5, 0}};
  constexpr int with_projector = 1 + 7 * layers + 1;
  EXPECT_EQ(calls_of(projector, true), (Calls{1 + 7 * 3, 0, 1 + 2 * 3, 6, 3, 3, with_projector}));
  ModelOptions both = projector;
  both.lora = lora_of({Projection::down}, {2});
  EXPECT_EQ(calls_of(both, true), (Calls{1 + 7 * 3, 1, 1 + 2 * 3, 6, 3, 3, with_projector}));
  EXPECT_EQ(calls_of(both, false), (Calls{1, 0, 1, 0, 0, 0})) << "a batch without rows of features";
}

TEST(BackwardDepth, GradientsAreThoseOfTheLoss) {
  using enum Projection;
  const std::pair<std::vector<Projection>, std::vector<std::int64_t>> cases[] = {
      {{q, v}, {1}}, {{k, o}, {2}}, {{o}, {1, 2}}, {{gate}, {1}}, {{up, down}, {2}}, {{down}, {0}}};
  for (const auto& [targets, of_layers] : cases) {
    SCOPED_TRACE(print_targets(targets));
    const ModelOptions options{.precision = DType::f64, .lora = lora_of(targets, of_layers), .seed = 9};
    check_gradients(options, config_of_three(), random_dataset(1, 37, 3), 3);
  }
  ModelConfig with_norms = config_of_three();
  with_norms.family = Family::qwen3;
  check_gradients({.precision = DType::f64, .lora = lora_of({q, v}, {1}), .seed = 9}, with_norms,
                  random_dataset(1, 37, 3), 3);
}

// An adapter whose B is zero changes nothing but how deep the pass must go.
TEST(BackwardDepth, ChangesNoBit) {
  CpuBackend backend(2);
  IdleCommunicator solo;
  const std::vector<MicroBatch> batches = one_step(random_dataset(5, 37, 2), true);
  for (const Projection which : all_projections) {
    SCOPED_TRACE(print_targets(std::vector{which}));
    const auto run_with = [&](std::vector<std::int64_t> of_layers) {
      const LoraConfig lora = lora_of({which}, std::move(of_layers));
      TinyModel tiny(config_of_three(), {.precision = DType::f32, .lora = lora}, backend, solo_groups(solo));
      for (Parameter& parameter : tiny.model.parameters().all()) {
        if (parameter.is_b) {
          const bool upper = parameter.name.find("layers.2.") != std::string::npos;
          tiny.model.parameters().assign(
              parameter,
              std::vector<float>(static_cast<std::size_t>(parameter.full.elements()), upper ? 0.25F : 0));
        }
      }
      const LossAndGradients result = run(tiny, batches, backend);
      std::map<std::string, std::vector<float>> gradients{{"loss", {static_cast<float>(result.loss)}}};
      for (const Parameter& parameter : tiny.model.parameters().all())
        gradients[parameter.name] = download_floats(backend, parameter.gradient);
      return gradients;
    };
    const auto alone = run_with({2}), deeper = run_with({0, 2});
    EXPECT_EQ(deeper.size(), alone.size() + 2);
    for (const auto& [name, values] : alone) EXPECT_EQ(values, deeper.at(name)) << name;
  }
}

}  // namespace
}  // namespace chorus
