#include "core/model/llama.h"

#include <nlohmann/json.hpp>

#include "data/prepare.h"
#include "ops/checked_backend.h"
#include "ops/cpu/cpu_backend.h"
#include "parallel/thread_communicator.h"
#include "tests/core/passes.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using namespace test;

TEST(Llama, LoraGradientsAreThoseOfTheLoss) {
  ModelOptions options{.precision = DType::f64, .lora = tiny_lora(0.3), .seed = 9};
  ModelConfig config = tiny_config();
  config.layers = 1;
  check_gradients(options, config, random_dataset(2, 37, 3));
}

TEST(Llama, FullGradientsAreThoseOfTheLoss) {
  ModelOptions options{.precision = DType::f64, .train_base = true};
  ModelConfig config = tiny_config();
  config.layers = 1;
  check_gradients(options, config, random_dataset(2, 37, 3));
  config.tied_head = true;
  check_gradients(options, config, random_dataset(2, 37, 3));
}

// Biases and norms over heads, frozen beneath adapters and trained.
TEST(Llama, GradientsOfFamiliesAreThoseOfTheLoss) {
  for (const Family family : {Family::qwen2, Family::qwen3}) {
    ModelConfig config = tiny_config();
    config.family = family;
    config.layers = 1;
    check_gradients({.precision = DType::f64, .lora = tiny_lora(0.3), .seed = 9}, config,
                    random_dataset(1, 37, 3), 13);
    // Of the shortest, a norm over 8 numbers, this is two.
    check_gradients({.precision = DType::f64, .train_base = true}, config, random_dataset(1, 37, 3), 7);
  }
}

// Whose rotations are not of length 1.
TEST(Llama, GradientsOfYarnAreThoseOfTheLoss) {
  ModelConfig config = tiny_config();
  config.layers = 1;
  config.rope.scaling =
      RopeScaling{.type = RopeType::yarn, .factor = 4, .original_max_position = 16, .attention_factor = 1.5};
  check_gradients({.precision = DType::f64, .train_base = true}, config, random_dataset(1, 37, 3), 7);
}

// The gradient is linear in the weights, and a sample of weight 0 might as well not be there.
TEST(Llama, WeightsMultiplyWhatASampleContributes) {
  ReferenceBackend backend;
  IdleCommunicator solo;
  Dataset dataset = random_dataset(6, 37, 4);
  TinyModel tiny(tiny_config(), {.precision = DType::f64, .lora = tiny_lora(0.2)}, backend,
                 solo_groups(solo));
  const auto gradients = [&](float of_even, float of_odd) {
    for (std::size_t i = 0; i < dataset.samples.size(); ++i)
      dataset.samples[i].weight = i % 2 == 0 ? of_even : of_odd;
    return run(tiny, one_step(dataset, true), backend).gradients;
  };
  const std::vector<double> even = gradients(1, 0), odd = gradients(0, 1), half = gradients(1, 0.5);
  std::vector<double> expected = even;
  for (std::size_t i = 0; i < odd.size(); ++i) expected[i] += 0.5 * odd[i];
  EXPECT_LT(largest_relative_difference(expected, half), 1e-12);
  EXPECT_GT(largest_relative_difference(even, half), 1e-2) << "the odd samples add something";

  std::vector<MicroBatch> batches = one_step(dataset, true);
  for (MicroBatch& batch : batches) {
    batch.weights.assign(batch.samples.size(), 1);
    std::erase_if(batch.targets, [&](const Target& target) {
      return batch.samples[static_cast<std::size_t>(target.sample)] % 2 == 1;
    });
  }
  EXPECT_LT(largest_relative_difference(run(tiny, batches, backend).gradients, even), 1e-12);
}

// Shared and separate prompts do the same sums in another order: in f64 they agree to rounding.
TEST(Llama, PrefixSharingChangesNothing) {
  ReferenceBackend backend;
  IdleCommunicator solo;
  const Dataset dataset = random_dataset(4, 37, 11);
  for (const double dropout : {0.0, 0.4}) {
    TinyModel tiny(tiny_config(), {.precision = DType::f64, .lora = tiny_lora(dropout)}, backend,
                   solo_groups(solo));
    const LossAndGradients shared = run(tiny, one_step(dataset, true), backend);
    const LossAndGradients separate = run(tiny, one_step(dataset, false), backend);
    const LossAndGradients in_small_batches = run(tiny, one_step(dataset, true, 40), backend);
    EXPECT_NEAR(shared.loss, separate.loss, 1e-10 * shared.loss);
    EXPECT_NEAR(shared.loss, in_small_batches.loss, 1e-10 * shared.loss);
    EXPECT_LT(largest_relative_difference(shared.gradients, separate.gradients),
              dropout == 0 ? 1e-10 : 1e-10);
    EXPECT_LT(largest_relative_difference(shared.gradients, in_small_batches.gradients), 1e-10);
  }
  EXPECT_GT(dataset.unshared_tokens(), std::ssize(dataset.tokens)) << "the data shares nothing";
}

// Token lists that `prepare` made trees of, and the same ones apart.
TEST(Llama, TreesOfTokenListsChangeNothing) {
  const ScratchFolder folder;
  std::string lines;
  for (int i = 0; i < 24; ++i) {
    std::vector<int> ids{1, 4, 5, 6};
    for (int turn = 0; turn <= i % 6; ++turn) ids.push_back(7 + (3 * (i / 6) + 5 * turn) % 30);
    std::vector<int> labels(ids.size(), -100);
    labels.back() = ids.back();
    if (i % 4 == 0) labels[2] = ids[2];
    lines += nlohmann::json{{"input_ids", ids}, {"labels", labels}}.dump() + "\n";
  }
  write_bytes(folder / "lines.jsonl", lines);
  ReferenceBackend backend;
  IdleCommunicator solo;
  TinyModel tiny(tiny_config(), {.precision = DType::f64, .lora = tiny_lora(0)}, backend, solo_groups(solo));
  const auto pass = [&](std::int64_t lines_per_tree) {
    PrepareOptions options;
    options.corpus = "tokens";
    options.inputs = {(folder / "lines.jsonl").string()};
    options.output = (folder / std::to_string(lines_per_tree)).string();
    options.vocabulary_size = tiny_config().vocabulary_size;
    options.lines_per_tree = lines_per_tree;
    const Ledger ledger = prepare(options);
    EXPECT_EQ(ledger.splits[0].sharing() > 2, lines_per_tree > 1) << ledger.to_table();
    return run(tiny, one_step(Dataset::read(options.output + "/train.h5"), true), backend);
  };
  const LossAndGradients apart = pass(1), together = pass(16);
  EXPECT_NEAR(apart.loss, together.loss, 1e-10 * apart.loss);
  EXPECT_LT(largest_relative_difference(apart.gradients, together.gradients), 1e-10);
}

void expect_cpu_agrees(const ModelConfig& config) {
  CpuBackend cpu(2);
  CheckedBackend backend(cpu);
  ReferenceBackend reference;
  IdleCommunicator solo;
  const std::vector<MicroBatch> batches = one_step(random_dataset(5, 37, 2), true);
  TinyModel oracle(config, {.precision = DType::f64, .lora = tiny_lora(0.2)}, reference, solo_groups(solo));
  const LossAndGradients expected = run(oracle, batches, reference);
  // About fifty roundings stand one after another between a weight and its gradient: √50 units of rounding of
  // the type, times 4 because the loud weights of the tiny model make errors grow.
  const std::pair<DType, double> precisions[] = {{DType::f32, 0x1p-24 * 7 * 4},
                                                 {DType::bf16, 0x1p-8 * 7 * 4}};
  for (const auto& [precision, tolerance] : precisions) {
    TinyModel tiny(config, {.precision = precision, .lora = tiny_lora(0.2)}, backend, solo_groups(solo));
    const LossAndGradients result = run(tiny, batches, backend);
    EXPECT_NEAR(result.loss, expected.loss, tolerance * expected.loss) << name(precision);
    EXPECT_LT(relative_distance(expected.gradients, result.gradients), tolerance) << name(precision);
  }
}

TEST(Llama, CpuAgreesWithTheReference) {
  for (const Family family : {Family::llama, Family::qwen2, Family::qwen3}) {
    SCOPED_TRACE(model_type(family));
    ModelConfig config = tiny_config();
    config.family = family;
    expect_cpu_agrees(config);
  }
}

void expect_recompute_changes_no_bit(const ModelConfig& config, ModelOptions options) {
  CpuBackend backend(2);
  IdleCommunicator solo;
  const std::vector<MicroBatch> batches = one_step(random_dataset(5, 37, 2), true);
  std::optional<LossAndGradients> kept;
  std::int64_t bytes = std::numeric_limits<std::int64_t>::max();
  for (const Recompute recompute : {Recompute::none, Recompute::some, Recompute::all}) {
    options.recompute = recompute;
    TinyModel tiny(config, options, backend, solo_groups(solo));
    EXPECT_LT(tiny.plan.activations, bytes);
    bytes = tiny.plan.activations;
    const LossAndGradients result = run(tiny, batches, backend);
    if (!kept) kept = result;
    EXPECT_EQ(result.loss, kept->loss);
    EXPECT_EQ(result.gradients, kept->gradients);
  }
}

TEST(Llama, RecomputeGivesTheSameBits) {
  for (const Family family : {Family::llama, Family::qwen3}) {
    SCOPED_TRACE(model_type(family));
    ModelConfig config = tiny_config();
    config.family = family;
    config.layers = 4;
    for (const DType precision : {DType::f32, DType::bf16})
      expect_recompute_changes_no_bit(config, {.precision = precision, .lora = tiny_lora(0.2)});
    expect_recompute_changes_no_bit(config, {.precision = DType::f32, .train_base = true});
    LoraConfig upper = tiny_lora(0.2);
    upper.targets = {Projection::v, Projection::up, Projection::down};
    upper.patterns.layers = {1, 3};
    expect_recompute_changes_no_bit(config, {.precision = DType::f32, .lora = upper});
  }
}

// The gradient of every parameter, summed as at the end of a step and gathered, on P ranks as on one.
void expect_tensor_ranks_agree(const ModelConfig& config, const ModelOptions& options) {
  const std::vector<MicroBatch> batches = one_step(random_dataset(3, 37, 5), true);
  std::map<std::string, std::vector<float>> expected;
  for (const int ranks : {1, 2}) {
    run_on_threads(1, ranks, [&](const Groups& groups) {
      ReferenceBackend backend;
      TinyModel tiny(config, options, backend, groups);
      run(tiny, batches, backend);
      ParameterSet& parameters = tiny.model.parameters();
      parameters.reduce_gradients();
      const double norm = parameters.gradient_norm();
      double sum_of_squares = 0;
      for (const Parameter& parameter : parameters.all()) {
        const std::vector<float> gradient =
            parameters.gather(parameter, parameters.gradients(), tiny.activations);
        for (const float g : gradient) sum_of_squares += static_cast<double>(g) * static_cast<double>(g);
        if (ranks == 1) {
          expected[parameter.name] = gradient;
          continue;
        }
        const std::vector<float>& wanted = expected.at(parameter.name);
        ASSERT_EQ(gradient.size(), wanted.size());
        for (std::size_t i = 0; i < wanted.size(); ++i) {
          ASSERT_NEAR(gradient[i], wanted[i], 1e-6F * (1 + std::abs(wanted[i])))
              << parameter.name << " " << i;
        }
      }
      EXPECT_NEAR(norm, std::sqrt(sum_of_squares), 1e-6 * norm) << "a replicated factor counts once";
    });
  }
}

TEST(Llama, TensorRanksAgree) {
  for (const Family family : {Family::llama, Family::qwen2, Family::qwen3}) {
    SCOPED_TRACE(model_type(family));
    ModelConfig config = tiny_config();
    config.family = family;
    expect_tensor_ranks_agree(config, {.precision = DType::f64, .lora = tiny_lora(0.3)});
    expect_tensor_ranks_agree(config, {.precision = DType::f64, .train_base = true});
  }
}

// Widths of which each of two tensor ranks has whole blocks.
ModelConfig config_of_blocks() {
  ModelConfig config = tiny_config();
  config.layers = 1;
  config.hidden_size = 64;
  config.head_width = 32;
  config.intermediate_size = 128;
  return config;
}

// A weight after it was quantised.
std::vector<float> rounded(const std::vector<float>& weight, const ModelTensor& tensor, Quantisation kind) {
  if (tensor.role != TensorRole::projection) return weight;
  CpuBackend backend(1);
  Arena arena(backend, 1 << 20, "test");
  const Shape shape{tensor.shape[0], tensor.shape[1]};
  const MatrixPart part{tensor.name, shape, 0, {0, shape[0]}};
  const QuantisedMatrix matrix = take_quantised(arena, kind, part, upload_levels(backend, arena));
  quantise(backend, matrix, part, [&](std::int64_t begin, std::int64_t end) {
    return std::vector(weight.begin() + begin * shape[1], weight.begin() + end * shape[1]);
  });
  const Tensor out = arena.take(DType::f32, shape);
  backend.dequantise(out, matrix);
  return download_floats(backend, out);
}

void expect_plan_is_taken(const ModelConfig& config, Quantisation base_precision = Quantisation::none) {
  CpuBackend backend(1);
  IdleCommunicator solo;
  const ModelOptions options{
      .precision = DType::bf16, .lora = tiny_lora(0.1), .base_precision = base_precision};
  TinyModel tiny(config, options, backend, solo_groups(solo), 64);
  EXPECT_EQ(tiny.model_bytes(), tiny.plan.model());
  MicroBatch batch;
  batch.forest = single_sequence(64);
  for (std::int32_t row = 0; row < 64; ++row) {
    batch.tokens.push_back(row % 37);
    batch.token_ids.push_back(row);
    batch.targets.push_back({row, 3, 0});
  }
  run(tiny, {batch}, backend);
  EXPECT_EQ(tiny.activations.peak_bytes(), tiny.plan.activations);
}

TEST(Llama, ThePlanIsWhatIsTaken) {
  ModelConfig config = tiny_config();
  expect_plan_is_taken(config);
  config.family = Family::qwen3;
  expect_plan_is_taken(config);
  for (const Quantisation kind : {Quantisation::int8, Quantisation::nf4})
    expect_plan_is_taken(config_of_blocks(), kind);
}

// The model that has what its codes mean as weights.
TEST(Llama, QuantisedBaseIsOneOfItsDequantisedWeights) {
  const ModelConfig config = config_of_blocks();
  const std::vector<MicroBatch> batches = one_step(random_dataset(3, 37, 5), true);
  for (const Quantisation kind : {Quantisation::int8, Quantisation::nf4}) {
    SCOPED_TRACE(name(kind));
    ReferenceBackend backend;
    IdleCommunicator solo;
    ModelOptions options{.precision = DType::f64, .lora = tiny_lora(0.3), .seed = 9};
    TinyModel plain(config, options, backend, solo_groups(solo));
    const LossAndGradients exact = run(plain, batches, backend);
    plain.base.llama.load(
        [&](const ModelTensor& tensor) { return rounded(random_weights(config)(tensor), tensor, kind); });
    const LossAndGradients expected = run(plain, batches, backend);
    options.base_precision = kind;
    TinyModel quantised(config, options, backend, solo_groups(solo));
    const LossAndGradients result = run(quantised, batches, backend);
    EXPECT_NEAR(result.loss, expected.loss, 1e-5 * std::abs(expected.loss));
    EXPECT_LT(largest_relative_difference(expected.gradients, result.gradients), 1e-5);
    EXPECT_GT(std::abs(exact.loss - expected.loss), 1e-3) << "rounding is seen";
    EXPECT_LT(quantised.base.weights.peak_bytes(), plain.base.weights.peak_bytes() / 3);
  }
}

TEST(Llama, TensorRanksAgreeOnAQuantisedBase) {
  for (const Quantisation kind : {Quantisation::int8, Quantisation::nf4}) {
    SCOPED_TRACE(name(kind));
    expect_tensor_ranks_agree(config_of_blocks(),
                              {.precision = DType::f64, .lora = tiny_lora(0.3), .base_precision = kind});
  }
}

}  // namespace
}  // namespace chorus
