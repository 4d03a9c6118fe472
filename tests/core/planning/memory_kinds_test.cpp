// Kinds of memory add up to what a run takes, on real backends and arenas.

#include "core/planning/memory_kinds.h"

#include <gtest/gtest.h>

#include "ops/cpu/cpu_backend.h"
#include "parallel/thread_communicator.h"
#include "tests/support/tiny_model.h"

namespace chorus {
namespace {

ModelConfig memory_config() {
  ModelConfig config = test::tiny_config();
  config.hidden_size = 64;
  config.intermediate_size = 160;
  config.layers = 5;
  config.head_width = 16;
  config.max_positions = 128;
  return config;
}

constexpr std::int64_t tokens = 96;

// A micro-batch of full size, every token of which is asked for.
MicroBatch full_batch() {
  MicroBatch batch;
  batch.forest = single_sequence(tokens);
  for (std::int32_t t = 0; t < tokens; ++t) {
    batch.tokens.push_back(t % 37);
    batch.token_ids.push_back(t);
    batch.targets.push_back({t, (t + 1) % 37, 0});
  }
  batch.samples = {0};
  return batch;
}

struct MemoryCase {
  DType precision = DType::f32;
  Recompute recompute = Recompute::none;
  int tensor = 1;
  bool sequence_parallel = false, full = false;
  double dropout = 0;
  std::string targets = "all";
  std::vector<std::int64_t> layers = {};
};

ModelOptions options_of(const MemoryCase& c) {
  ModelOptions options;
  options.precision = c.precision;
  options.recompute = c.recompute;
  options.sequence_parallel = c.sequence_parallel;
  options.train_base = c.full;
  if (c.full) return options;
  options.lora = test::tiny_lora(c.dropout);
  options.lora->targets = parse_targets(c.targets);
  options.lora->patterns.layers = c.layers;
  return options;
}

// Bytes that a training step really takes from its three arenas.
std::int64_t measured_bytes(const ModelConfig& config, const ModelOptions& options, const Groups& groups) {
  CpuBackend backend(1);
  test::TinyModel tiny(config, options, backend, groups, tokens);
  TrainingStep step(tiny.model, tiny.optimizer_arena, tiny.activations);
  step.accumulate(tiny.model.upload(full_batch(), tiny.activations), 1e-3, 0);
  step.reduce();
  step.update({.learning_rate = 1e-3});
  return tiny.model_bytes() + tiny.optimizer_arena.peak_bytes() + tiny.activations.peak_bytes();
}

TEST(MemoryKinds, AddUpToWhatAStepTakes) {
  const ModelConfig config = memory_config();
  for (const MemoryCase& c :
       {MemoryCase{}, MemoryCase{.recompute = Recompute::all}, MemoryCase{.recompute = Recompute::some},
        MemoryCase{.precision = DType::bf16},
        MemoryCase{.precision = DType::bf16, .recompute = Recompute::all}, MemoryCase{.tensor = 2},
        MemoryCase{.precision = DType::bf16, .tensor = 2},
        MemoryCase{.recompute = Recompute::all, .tensor = 2, .sequence_parallel = true},
        MemoryCase{.full = true},
        MemoryCase{.recompute = Recompute::some, .tensor = 2, .sequence_parallel = true},
        MemoryCase{.recompute = Recompute::some, .full = true}, MemoryCase{.dropout = 0.1},
        MemoryCase{.targets = "q,v"}, MemoryCase{.targets = "o", .layers = {1, 3}},
        MemoryCase{.recompute = Recompute::all,
        .tensor = 2,
        .sequence_parallel = true,
        .targets = "up",
        .layers = {4}}}) {
    const ModelOptions options = options_of(c);
    run_on_threads(1, c.tensor, [&](const Groups& groups) {
      const MemoryKinds kinds =
          memory_kinds(config, options, groups.grid, {.tokens = tokens, .training = true});
      const MemoryPlan plan = plan_memory(config, options, groups.grid, {.tokens = tokens, .training = true});
      EXPECT_EQ(kinds.total(), plan.total());
      EXPECT_EQ(kinds.in_place, 0);
      const auto measured = static_cast<double>(measured_bytes(config, options, groups));
      // What a run takes beyond a step is one gathered tensor, while the activations are not needed.
      EXPECT_NEAR(static_cast<double>(kinds.total()), measured, 0.05 * measured)
          << name(c.precision) << " recompute " << static_cast<int>(c.recompute) << " P " << c.tensor;
    });
  }
}

TEST(MemoryKinds, AreWhatTheShapesSay) {
  const ModelConfig config = memory_config();
  const ModelOptions options = options_of({.precision = DType::bf16});
  const MemoryKinds kinds = memory_kinds(config, options, {1, 1, 0}, {.tokens = tokens, .training = true});
  const auto near = [](std::int64_t bytes, std::int64_t expected) {
    EXPECT_NEAR(static_cast<double>(bytes), static_cast<double>(expected),
                0.05 * static_cast<double>(expected));
  };
  // Arenas round every tensor up to 256 bytes.
  near(kinds.weights, 2 * parameter_count(config));
  const std::int64_t queries = 4 * 16, keys = 2 * 16, d = 64, f = 160, r = 3;
  // n, h, m, o's input and q; k and v; gate, up and product; u of seven adapters; two rstd and lse in f32.
  near(kinds.saved_per_block, tokens * (2 * (3 * d + 2 * queries + 2 * keys + 3 * f + 7 * r) + 4 * (2 + 4)));
  near(kinds.residuals, (config.layers + 2) * tokens * d * 2);
  near(kinds.saved, config.layers * kinds.saved_per_block);
  near(kinds.masters, 2 * kinds.values);
  EXPECT_EQ(kinds.gradients, kinds.masters);
  near(kinds.moments, 2 * kinds.masters);
  near(kinds.logits, tokens * 37 * (4 + 2) + 2 * tokens * 4);
  EXPECT_GT(kinds.workspace, 0);
}

// Beside q, k and v, nobody reads what enters gate, up and down; the lowest norm of all has no gradient.
TEST(MemoryKinds, OnlyWhatIsReadIsKept) {
  const ModelConfig config = memory_config();
  const auto kinds_of = [&](const std::string& targets, std::vector<std::int64_t> layers) {
    return memory_kinds(config, options_of({.targets = targets, .layers = std::move(layers)}), {1, 1, 0},
                        {.tokens = tokens, .training = true});
  };
  // Bytes in f32; u, rstd and lse in multiples of 256.
  constexpr std::int64_t d = tokens * 64 * 4, f = tokens * 160 * 4, u = 1280, rstd = 512, lse = 1536;
  const MemoryKinds all = kinds_of("all", {}), heads = kinds_of("q,k,v", {});
  EXPECT_EQ(all.saved_per_block - heads.saved_per_block, d + f + 4 * u);
  EXPECT_EQ(heads.saved, 5 * heads.saved_per_block - rstd);
  EXPECT_EQ(heads.residuals, 7 * d);

  // Of the block above it q; k and v; attended, h, gate and up, and no input of a projection.
  const MemoryKinds upper = kinds_of("up", {3});
  EXPECT_EQ(upper.residuals, 4 * d) << "inputs of two blocks, an output and a gradient";
  EXPECT_EQ(upper.saved_per_block, 4 * d + 2 * f + 2 * rstd + lse);
  EXPECT_EQ(upper.saved, upper.saved_per_block + d + 2 * f + u);
  EXPECT_LT(upper.workspace, all.workspace + 1);
}

// What norms and the MLP's product give, where it can be computed from what is kept anyway.
TEST(MemoryKinds, RecomputeOfSomeKeepsWhatIsDear) {
  ModelConfig config = memory_config();
  const auto saved = [&](Recompute recompute, const std::string& targets) {
    return memory_kinds(config, options_of({.recompute = recompute, .targets = targets}), {1, 1, 0},
                        {.tokens = tokens, .training = true})
        .saved;
  };
  const auto saves = [&](const std::string& targets) {
    return saved(Recompute::none, targets) - saved(Recompute::some, targets);
  };
  constexpr std::int64_t d = tokens * 64 * 4, f = tokens * 160 * 4, queries = tokens * 4 * 16 * 4,
                         keys = queries / 2;
  EXPECT_EQ(saves("all"), 5 * (2 * d + f));
  EXPECT_EQ(saves("q,k,v"), 5 * d);
  EXPECT_EQ(saves("gate"), 4 * d) << "the lowest block has no use for what would give its m again";
  EXPECT_EQ(saves("down"), 4 * f);
  config.family = Family::qwen3;
  EXPECT_EQ(saves("q"), 5 * (d + queries + keys));
}

TEST(MemoryKinds, RecomputeKeepsOneBlock) {
  const ModelConfig config = memory_config();
  const PassLimits limits{.tokens = tokens, .training = true};
  const MemoryKinds kept = memory_kinds(config, options_of({}), {1, 1, 0}, limits);
  const MemoryKinds again =
      memory_kinds(config, options_of({.recompute = Recompute::all}), {1, 1, 0}, limits);
  EXPECT_EQ(kept.saved, 5 * again.saved - 512) << "the lowest keeps no rstd of its first norm";
  EXPECT_EQ(kept.weights, again.weights);
  EXPECT_EQ(kept.residuals, again.residuals);
}

}  // namespace
}  // namespace chorus
