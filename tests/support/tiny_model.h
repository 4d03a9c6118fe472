#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/formats/base_model.h"
#include "core/planning/model_setup.h"
#include "core/training/training_step.h"
#include "data/sets/dataset.h"
#include "ops/base/random.h"

namespace chorus::test {

// A model of a few thousand parameters with grouped queries and a head width that is not D / Hq.
inline ModelConfig tiny_config() {
  ModelConfig config;
  config.vocabulary_size = 37;
  config.hidden_size = 12;
  config.intermediate_size = 20;
  config.layers = 2;
  config.query_heads = 4;
  config.key_value_heads = 2;
  config.head_width = 8;
  config.norm_epsilon = 1e-5;
  config.max_positions = 64;
  config.bos = 1;
  config.eos = {2};
  return config;
}

// Weights large enough that every part of the model matters.
inline std::function<std::vector<float>(const ModelTensor&)> random_weights(const ModelConfig& config) {
  auto weights = std::make_shared<std::map<std::string, std::vector<float>>>();
  std::uint32_t stream = 100;
  for (const ModelTensor& tensor : model_tensors(config)) {
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    const bool norm = tensor.is_norm();
    const auto inputs = static_cast<float>(tensor.shape.size() == 1 ? 1 : tensor.shape[1]);
    const float bound = norm ? 0.2F : 1.5F / std::sqrt(inputs);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = bound * (2 * uniform(random_word(7, RandomUse::initial_value, stream, i)) - 1) +
                  (norm ? 1.0F : 0.0F);
    }
    (*weights)[tensor.name] = values;
    ++stream;
  }
  return [weights](const ModelTensor& tensor) { return weights->at(tensor.name); };
}

inline LoraConfig tiny_lora(double dropout) {
  LoraConfig lora;
  lora.rank = 3;
  lora.alpha = 6;
  lora.dropout = dropout;
  lora.targets.assign(all_projections.begin(), all_projections.end());
  return lora;
}

// A model with its memory on one rank. B of every adapter is not zero, as after some training.
struct TinyModel {
  TinyModel(const ModelConfig& config, const ModelOptions& options, Backend& backend, const Groups& groups,
            std::int64_t tokens = 256)
      : TinyModel(config, options, backend, groups, tokens, {}) {
    base.llama.load(random_weights(config));
    initialise();
  }
  TinyModel(const BaseModel& stored, const ModelOptions& options, Backend& backend, const Groups& groups,
            const StoredWeights& in_place)
      : TinyModel(stored.config(), options, backend, groups, 256, in_place) {
    base.llama.load(stored);
    initialise();
  }

  // What was taken of plan.model().
  std::int64_t model_bytes() const { return base.weights.peak_bytes() + setup.parameters.peak_bytes(); }

  BaseSetup base;
  ModelSetup setup;
  Model& model;
  const MemoryPlan& plan;
  Arena &optimizer_arena, &activations;

 private:
  TinyModel(const ModelConfig& config, const ModelOptions& options, Backend& backend, const Groups& groups,
            std::int64_t tokens, const StoredWeights& in_place)
      : base(config, options, backend, groups, in_place),
        setup(base, options, {.tokens = tokens, .training = true}),
        model(setup.model),
        plan(setup.plan),
        optimizer_arena(setup.optimizer),
        activations(setup.activations) {}

  void initialise() {
    if (model.options().projector) model.initialise_projector();
    if (!model.options().lora) return;
    model.adapters().initialise();
    std::uint32_t stream = 500;
    for (Parameter& parameter : model.parameters().all()) {
      ++stream;
      if (parameter.name.find("lora_B") == std::string::npos) continue;
      std::vector<float> b(static_cast<std::size_t>(parameter.full.elements()));
      for (std::size_t i = 0; i < b.size(); ++i) {
        b[i] = uniform(random_word(7, RandomUse::initial_value, stream, i)) - 0.5F;
      }
      model.parameters().assign(parameter, b);
    }
  }
};

// Groups of dialogues whose samples share prefixes, with answers of one to three tokens. With a `feature_width` each turn
// ends in one or two rows of features.
inline Dataset random_dataset(std::int64_t groups, std::int32_t vocabulary, std::uint64_t seed,
                              std::int32_t feature_width = 0) {
  DatasetOrigin origin;
  origin.corpora = {"random"};
  origin.split = "train";
  origin.vocabulary_size = vocabulary;
  DatasetBuilder builder(origin);
  constexpr std::int64_t most_rows = 8;  // of a group
  FeatureTable features{.width = feature_width, .values = {}};
  for (std::int64_t i = 0; i < groups * most_rows * feature_width; ++i) {
    features.values.push_back(
        2 * uniform(random_word(seed, RandomUse::sample_corpus, 1, static_cast<std::uint64_t>(i))) - 1);
  }
  builder.set_features(features);
  std::uint64_t drawn = 0;
  const auto draw = [&](std::uint32_t bound) {
    return static_cast<std::int32_t>(random_word(seed, RandomUse::sample_corpus, 0, drawn++) % bound);
  };
  for (std::int64_t g = 0; g < groups; ++g) {
    std::vector<std::int32_t> history{1};
    std::vector<GroupSample> samples;
    const std::int32_t turns = 1 + draw(4);
    for (std::int32_t turn = 0; turn < turns; ++turn) {
      for (std::int32_t t = 2 + draw(5); t > 0; --t)
        history.push_back(3 + draw(static_cast<std::uint32_t>(vocabulary) - 3));
      for (std::int32_t row = 0; row < 1 + turn % 2 && feature_width > 0; ++row)
        history.push_back(feature_token(static_cast<std::int32_t>(g * most_rows) + 2 * turn + row));
      GroupSample sample;
      sample.sequence.tokens = history;
      sample.sequence.labels.assign(history.size(), unsupervised);
      for (std::int32_t t = 1 + draw(3); t > 0; --t) {
        const std::int32_t token = 3 + draw(static_cast<std::uint32_t>(vocabulary) - 3);
        sample.sequence.tokens.push_back(token);
        sample.sequence.labels.push_back(token);
      }
      samples.push_back(sample);
    }
    builder.add_group(samples, "random group");
  }
  return builder.finish();
}

}  // namespace chorus::test
