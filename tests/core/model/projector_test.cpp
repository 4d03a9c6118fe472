#include "core/model/projector.h"

#include "core/scoring/evaluator.h"
#include "core/scoring/generator.h"
#include "ops/checked_backend.h"
#include "ops/cpu/cpu_backend.h"
#include "parallel/thread_communicator.h"
#include "tests/core/passes.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using namespace test;

constexpr std::int32_t width = 5;

const ProjectorConfig linear{.kind = ProjectorKind::linear, .inputs = width, .hidden = 0};
const ProjectorConfig mlp{.kind = ProjectorKind::mlp, .inputs = width, .hidden = 9};

ModelOptions lora_options(DType precision, const ProjectorConfig& projector, double dropout = 0.2) {
  ModelOptions options{.precision = precision, .lora = tiny_lora(dropout)};
  options.projector = projector;
  return options;
}

TEST(Projector, GradientsAreThoseOfTheLoss) {
  ModelConfig config = tiny_config();
  config.layers = 1;
  const Dataset dataset = random_dataset(2, 37, 3, width);
  check_gradients(lora_options(DType::f64, linear), config, dataset);
  check_gradients(lora_options(DType::f64, mlp), config, dataset, 11);
  ModelOptions full{.precision = DType::f64, .train_base = true};
  full.projector = mlp;
  check_gradients(full, config, dataset, 61);
}

TEST(Projector, EveryTensorOfItLearns) {
  ReferenceBackend backend;
  IdleCommunicator solo;
  TinyModel tiny(tiny_config(), lora_options(DType::f64, mlp), backend, solo_groups(solo));
  run(tiny, one_step(random_dataset(3, 37, 3, width), true), backend);
  int found = 0;
  for (const Parameter& parameter : tiny.model.parameters().all()) {
    if (!is_projector_tensor(parameter.name)) continue;
    ++found;
    EXPECT_GT(tiny.model.parameters().gradient_norm(parameter), 1e-3) << parameter.name;
  }
  EXPECT_EQ(found, 4);
}

// Rows of features in a shared trunk are computed once, and their gradient is the sum over the branches.
TEST(Projector, PrefixSharingChangesNothing) {
  ReferenceBackend backend;
  IdleCommunicator solo;
  const Dataset dataset = random_dataset(4, 37, 11, width);
  TinyModel tiny(tiny_config(), lora_options(DType::f64, mlp, 0.4), backend, solo_groups(solo));
  const LossAndGradients shared = run(tiny, one_step(dataset, true), backend);
  const LossAndGradients separate = run(tiny, one_step(dataset, false), backend);
  const LossAndGradients in_small_batches = run(tiny, one_step(dataset, true, 40), backend);
  EXPECT_NEAR(shared.loss, separate.loss, 1e-10 * shared.loss);
  EXPECT_NEAR(shared.loss, in_small_batches.loss, 1e-10 * shared.loss);
  EXPECT_LT(largest_relative_difference(shared.gradients, separate.gradients), 1e-10);
  EXPECT_LT(largest_relative_difference(shared.gradients, in_small_batches.gradients), 1e-10);
  const auto rows = [&](bool sharing) {
    std::size_t numbers = 0;
    for (const MicroBatch& batch : one_step(dataset, sharing)) numbers += batch.features.size();
    return numbers / static_cast<std::size_t>(width);
  };
  EXPECT_LT(rows(true), rows(false)) << "the trunks share no features";
}

TEST(Projector, CpuAgreesWithTheReference) {
  CpuBackend cpu(2);
  CheckedBackend backend(cpu);
  ReferenceBackend reference;
  IdleCommunicator solo;
  const std::vector<MicroBatch> batches = one_step(random_dataset(5, 37, 2, width), true);
  TinyModel oracle(tiny_config(), lora_options(DType::f64, mlp), reference, solo_groups(solo));
  const LossAndGradients expected = run(oracle, batches, reference);
  // As in Llama.CpuAgreesWithTheReference.
  const std::pair<DType, double> precisions[] = {{DType::f32, 0x1p-24 * 7 * 4},
                                                 {DType::bf16, 0x1p-8 * 7 * 4}};
  for (const auto& [precision, tolerance] : precisions) {
    TinyModel tiny(tiny_config(), lora_options(precision, mlp), backend, solo_groups(solo));
    const LossAndGradients result = run(tiny, batches, backend);
    EXPECT_NEAR(result.loss, expected.loss, tolerance * expected.loss) << name(precision);
    EXPECT_LT(relative_distance(expected.gradients, result.gradients), tolerance) << name(precision);
  }
}

TEST(Projector, RecomputeGivesTheSameBits) {
  CpuBackend backend(2);
  IdleCommunicator solo;
  const std::vector<MicroBatch> batches = one_step(random_dataset(5, 37, 2, width), true);
  ModelOptions options = lora_options(DType::f32, mlp);
  TinyModel kept(tiny_config(), options, backend, solo_groups(solo));
  options.recompute = Recompute::all;
  TinyModel recomputed(tiny_config(), options, backend, solo_groups(solo));
  const LossAndGradients a = run(kept, batches, backend), b = run(recomputed, batches, backend);
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.gradients, b.gradients);
}

// More rows than are computed at once, in every way of dividing the work.
TEST(Projector, TensorRanksAgreeOnManyRows) {
  MicroBatch batch;
  constexpr std::int32_t tokens = 700;
  ModelConfig config = tiny_config();
  config.max_positions = tokens;
  batch.forest = single_sequence(tokens);
  batch.token_ids.resize(tokens);
  for (std::int32_t row = 0; row < tokens; ++row) {
    const bool word = row % 8 == 0;
    batch.tokens.push_back(word ? row % 37 : feature_token(row));
    for (std::int32_t i = 0; i < width && !word; ++i)
      batch.features.push_back(std::sin(static_cast<float>(row * width + i)));
    if (row % 50 == 49) batch.targets.push_back({row, row % 37, 0});
  }
  batch.samples = {0};
  std::map<std::string, std::vector<float>> expected;
  for (const auto& [ranks, divided] : {std::pair{1, false}, {2, false}, {2, true}}) {
    run_on_threads(1, ranks, [&, ranks = ranks, divided = divided](const Groups& groups) {
      ReferenceBackend backend;
      ModelOptions options = lora_options(DType::f64, mlp, 0);
      options.sequence_parallel = divided;
      TinyModel tiny(config, options, backend, groups, tokens);
      run(tiny, {batch}, backend);
      ParameterSet& parameters = tiny.model.parameters();
      parameters.reduce_gradients();
      for (const Parameter& parameter : parameters.all()) {
        const auto gradient = parameters.gather(parameter, parameters.gradients(), tiny.activations);
        if (ranks == 1) expected[parameter.name] = gradient;
        const std::vector<float>& wanted = expected.at(parameter.name);
        for (std::size_t i = 0; i < wanted.size(); ++i) {
          ASSERT_NEAR(gradient[i], wanted[i], 1e-6F * (1 + std::abs(wanted[i])))
              << parameter.name << " " << i << (divided ? " divided" : "");
        }
      }
    });
  }
}

TEST(Projector, ThePlanIsWhatIsTaken) {
  CpuBackend backend(1);
  IdleCommunicator solo;
  TinyModel tiny(tiny_config(), lora_options(DType::bf16, mlp), backend, solo_groups(solo), 64);
  EXPECT_EQ(tiny.model_bytes(), tiny.plan.model());
  MicroBatch batch;
  batch.forest = single_sequence(64);
  for (std::int32_t row = 0; row < 64; ++row) {
    batch.tokens.push_back(feature_token(row));
    batch.token_ids.push_back(row);
    batch.targets.push_back({row, 3, 0});
  }
  batch.features.resize(64 * width, 0.5F);
  run(tiny, {batch}, backend);
  EXPECT_EQ(tiny.activations.peak_bytes(), tiny.plan.activations);
  const TinyModel without(tiny_config(), {.precision = DType::bf16, .lora = tiny_lora(0.2)}, backend,
                          solo_groups(solo), 64);
  EXPECT_LT(without.plan.model(), tiny.plan.model());
  EXPECT_LT(without.plan.activations, tiny.plan.activations);
}

TEST(Projector, InitialValuesAreThoseOfTorchLinear) {
  CpuBackend backend(1);
  IdleCommunicator solo;
  const auto values = [&](std::uint64_t seed) {
    ModelOptions options = lora_options(DType::f32, {ProjectorKind::mlp, 400, 100});
    options.seed = seed;
    const TinyModel tiny(tiny_config(), options, backend, solo_groups(solo));
    std::map<std::string, std::vector<float>> all;
    for (const Parameter& parameter : tiny.model.parameters().all()) {
      if (is_projector_tensor(parameter.name))
        all[parameter.name] = download_floats(backend, parameter.master);
    }
    return all;
  };
  const auto first = values(1);
  ASSERT_EQ(first.size(), 4U);
  const std::map<std::string, float> bounds{{"multi_modal_projector.linear_1.weight", 0.05F},
                                            {"multi_modal_projector.linear_1.bias", 0.05F},
                                            {"multi_modal_projector.linear_2.weight", 0.1F},
                                            {"multi_modal_projector.linear_2.bias", 0.1F}};
  for (const auto& [name, bound] : bounds) {
    const auto [least, most] = std::minmax_element(first.at(name).begin(), first.at(name).end());
    EXPECT_GE(*least, -bound) << name;
    EXPECT_LE(*most, bound) << name;
    EXPECT_GT(*most - *least, 1.5F * bound) << name;
  }
  EXPECT_EQ(values(1), first);
  EXPECT_NE(values(2), first);
}

TEST(Projector, IsReadAsItWasWritten) {
  const ScratchFolder folder;
  const std::vector<float> weight(12 * width, 0.25F), bias(12, -1.0F);
  EXPECT_FALSE(find_projector(folder.path()));
  const std::vector<TensorToWrite> tensors{
      {{"multi_modal_projector.linear_1.weight", FileDType::f32, {12, width}}, weight.data()},
      {{"multi_modal_projector.linear_1.bias", FileDType::f32, {12}}, bias.data()}};
  write_projector(folder.path(), linear, 12, tensors);
  const std::optional<SavedProjector> saved = find_projector(folder.path());
  ASSERT_TRUE(saved);
  EXPECT_EQ(saved->config, linear);
  EXPECT_EQ(saved->outputs, 12);
  require_fits(*saved, tiny_config());

  CpuBackend backend(1);
  IdleCommunicator solo;
  TinyModel tiny(tiny_config(), lora_options(DType::f32, linear), backend, solo_groups(solo));
  tiny.model.load_projector(*saved);
  for (const Parameter& parameter : tiny.model.parameters().all()) {
    if (parameter.name.ends_with("linear_1.weight")) {
      EXPECT_EQ(download_floats(backend, parameter.value), weight);
    }
    if (parameter.name.ends_with("linear_1.bias")) {
      EXPECT_EQ(download_floats(backend, parameter.value), bias);
    }
  }
  TinyModel other(tiny_config(), lora_options(DType::f32, {ProjectorKind::linear, 4, 0}), backend,
                  solo_groups(solo));
  EXPECT_TRUE(holds(message_of<DataError>([&] { other.model.load_projector(*saved); }),
                    "linear_1.weight is [12, 5], the model needs [12, 4]"));
  ModelConfig wide = tiny_config();
  wide.hidden_size = 16;
  EXPECT_TRUE(holds(message_of<DataError>([&] { require_fits(*saved, wide); }),
                    "projector.safetensors maps to 12 numbers, the base has a width of 16"));
}

TEST(Projector, RefusesConfigurationsThatItWouldComputeOtherwise) {
  const ScratchFolder folder;
  const auto refused = [&](const std::string& json) {
    write_bytes(folder / "projector_config.json", json);
    return message_of<DataError>([&] { find_projector(folder.path()); });
  };
  EXPECT_TRUE(holds(refused(R"({"projector_type": "qformer"})"), "projector_type is \"qformer\""));
  EXPECT_TRUE(holds(refused(R"({"projector_type": "mlp", "feature_size": 3, "hidden_size": 4,
                                "projector_hidden_act": "gelu", "output_size": 5})"),
                    "projector_hidden_act is \"gelu\"; \"relu\" can be read"));
  EXPECT_TRUE(holds(refused(R"({"projector_type": "linear", "output_size": 5})"), "feature_size"));
  EXPECT_TRUE(holds(refused(R"({"projector_type": "linear", "feature_size": 0, "output_size": 5})"),
                    "sizes 0, 0 and 5 are not above 0"));
  EXPECT_TRUE(holds(refused(R"({"projector_type": "linear", "feature_size": 2, "output_size": 5})"),
                    "projector.safetensors"));
}

TEST(Projector, FeaturesNeedOne) {
  CpuBackend backend(1);
  IdleCommunicator solo;
  TinyModel tiny(tiny_config(), {.precision = DType::f32, .lora = tiny_lora(0)}, backend, solo_groups(solo));
  const std::vector<MicroBatch> batches = one_step(random_dataset(1, 37, 2, width), true);
  EXPECT_TRUE(holds(message_of<Error>([&] { run(tiny, batches, backend); }),
                    "features for a model without projector"));
  TinyModel other(tiny_config(), lora_options(DType::f32, {ProjectorKind::linear, 4, 0}), backend,
                  solo_groups(solo));
  EXPECT_TRUE(holds(message_of<Error>([&] { run(other, batches, backend); }),
                    "rows of 5 features for a projector of 4"));
}

// Two labels that only the features tell apart: equal words, two candidate answers, both supervised tokens.
Dataset told_by_features(std::int64_t dialogues, std::uint64_t seed, bool candidates, bool informative) {
  DatasetOrigin origin;
  origin.corpora = {"told by features"};
  origin.split = candidates ? "dev" : "train";
  origin.vocabulary_size = 37;
  origin.labels = origin.label_words = {"calm", "cross"};
  DatasetBuilder builder(origin);
  const auto draw = [&](std::int64_t i, std::uint32_t stream) {
    return uniform(random_word(seed, RandomUse::sample_corpus, stream, static_cast<std::uint64_t>(i)));
  };
  FeatureTable features{.width = width, .values = {}};
  std::vector<std::int32_t> gold;
  for (std::int64_t d = 0; d < dialogues; ++d) {
    gold.push_back(draw(d, 0) < 0.5F ? 0 : 1);
    for (std::int32_t i = 0; i < width; ++i) {
      const float noise = draw(d * width + i, 1) - 0.5F;
      const float sign = (gold.back() == 0 ? 1.0F : -1.0F) * (i % 2 == 0 ? 0.6F : -0.6F);
      features.values.push_back(informative ? sign + noise : noise);
    }
  }
  builder.set_features(features);
  for (std::int64_t d = 0; d < dialogues; ++d) {
    const std::int32_t label = gold[static_cast<std::size_t>(d)];
    const std::int32_t utterance = builder.add_utterance({0, std::to_string(d), "0", "", "", label});
    std::vector<GroupSample> samples;
    for (std::int32_t answer = 0; answer < 2; ++answer) {
      if (!candidates && answer != label) continue;
      samples.push_back({{{1, 5, feature_token(static_cast<std::int32_t>(d)), 6, 20 + answer, 2},
                          {unsupervised, unsupervised, unsupervised, unsupervised, 20 + answer, 2}},
                         utterance,
                         answer});
    }
    builder.add_group(samples, "dialogue");
  }
  return builder.finish();
}

struct Learned {
  double f1 = 0;
  std::vector<std::int32_t> predicted, generated;  // labels, and what was generated for each prompt
};

Learned learn(bool informative) {
  CpuBackend backend(1);
  IdleCommunicator solo;
  const Groups groups = solo_groups(solo);
  TinyModel tiny(tiny_config(), lora_options(DType::f32, mlp, 0), backend, groups);
  const Dataset train = told_by_features(64, 1, false, informative),
                dev = told_by_features(100, 2, true, informative);
  const Batches batches(train, {.batch_size = 16, .tokens_per_microbatch = 256});
  TrainingStep training_step(tiny.model, tiny.optimizer_arena, tiny.activations);
  for (std::int64_t step = 0; step < 60; ++step) {
    const Batches::Step batch = batches.step(step, 0);
    training_step.begin();
    for (const MicroBatch& microbatch : batch.microbatches)
      training_step.accumulate(microbatch, 1 / batch.weight, 0);
    training_step.update({.learning_rate = 1e-2, .step = step + 1});
  }
  Learned learned;
  const Evaluation evaluation =
      evaluate(tiny.model, dev, {.tokens_per_microbatch = 256}, tiny.activations, {});
  learned.f1 = evaluation.scores().weighted_f1();
  for (const Prediction& prediction : evaluation.predictions)
    learned.predicted.push_back(prediction.predicted);

  std::vector<std::vector<std::int32_t>> prompts;
  for_each_window_of_prompts(dev, [&](const UtterancePrompts& all) { prompts = all.prompts; });
  const GenerateOptions options{.max_new_tokens = 2, .features = &dev.features};
  const GenerationLimits limits = generation_limits(prompts, options, tiny_config());
  const MemoryPlan plan = plan_memory(
      tiny_config(), tiny.model.options(), groups.grid,
      {.tokens = limits.prompt_tokens, .cached_sequences = limits.sequences, .cached_length = limits.length});
  Arena arena(backend, plan.activations, "generation");
  for (const auto& answer : generate(tiny.model, prompts, options, arena, {}))
    learned.generated.push_back(answer.empty() ? -1 : answer[0] - 20);
  return learned;
}

TEST(Projector, TeachesWhatOnlyFeaturesTell) {
  const Learned learned = learn(true);
  EXPECT_GT(learned.f1, 0.95);
  EXPECT_EQ(learned.generated, learned.predicted) << "a generated answer begins with the best label";
  const Learned guessed = learn(false);
  EXPECT_LT(guessed.f1, 0.65) << "nothing else tells the labels apart";
}

}  // namespace
}  // namespace chorus
