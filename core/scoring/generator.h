#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/model/model.h"
#include "core/scoring/progress.h"
#include "data/prompts/tokenizer.h"
#include "data/sets/dataset.h"
#include "parallel/interruption.h"

namespace chorus {

struct GenerateOptions {
  std::int64_t max_new_tokens = 64;
  std::int64_t sequences_at_once = 8;      // decoded together, each with its own cache
  const FeatureTable* features = nullptr;  // what tokens below 0 of the prompts stand for
  std::vector<std::int32_t> ends = {};     // end an answer, as those of `config().eos` do
  std::int64_t pieces = 0;                 // tokens from here on are never taken; 0: the whole vocabulary
  // 0: the most probable token. Otherwise one is drawn with the probabilities softmax(logits / temperature), a function of
  // the seed, the prompt's number and that of the token alone.
  double temperature = 0;
  std::uint64_t seed = 0;
  // Names a prompt in messages; "prompt 3" where it is empty.
  std::function<std::string(std::int64_t prompt)> name_of_prompt = {};
};

// How much a generation of these prompts takes, for plan_memory().
struct GenerationLimits {
  std::int64_t prompt_tokens = 0;  // of the prompts decoded together, at most
  std::int64_t sequences = 0, length = 0;
};
GenerationLimits generation_limits(std::span<const std::vector<std::int32_t>> prompts,
                                   const GenerateOptions& options, const ModelConfig& model);

// The tokens that end an answer beside those of config.json: the tokenizer's end of a text, which `chorus prepare` writes behind
// answers, and those of generation_config.json where there is one.
struct AnswerEnds {
  std::vector<std::int32_t> tokens;
  // A line for people where config.json names other ends than the tokenizer has; or empty.
  std::string contradiction;
};
AnswerEnds answer_ends(const BaseModel& base, const Tokenizer& tokenizer);

// One token after another, until an end or max_new_tokens. Returns the new tokens of each prompt, without
// the end. Prompts are shared out over the data ranks; every rank returns all. Throws DataError for a prompt without
// room for one new token or whose logits are not finite, and Interrupted, on all ranks, when the prompts in hand at a
// request to stop are answered. Collective.
std::vector<std::vector<std::int32_t>> generate(const Model& model,
                                                std::span<const std::vector<std::int32_t>> prompts,
                                                const GenerateOptions& options, Arena& arena,
                                                const Progress& progress,
                                                const StopRequested& stop_requested = {});

// Caches of several texts, a row for each, and the tokens whose keys and values they hold.
struct TextCaches {
  TextCaches(const Model& model, std::int64_t sequences, std::int64_t most, Arena& arena)
      : length(most),
        layers(model.take_caches(sequences, most, arena)),
        texts(static_cast<std::size_t>(sequences)) {}
  std::int64_t length;  // of a text at most
  std::vector<LayerCache> layers;
  std::vector<std::vector<std::int32_t>> texts;
};

// A text whose keys and values stay in memory, as a conversation that grows: of a prompt only what stands behind the
// beginning that it shares with the text is computed. The prompt and its answer are then the text.
class CachedText {
 public:
  // Of up to `length` tokens. All must outlive the object, and what it takes of `arena` is never given back.
  CachedText(const Model& model, std::int64_t length, Arena& arena)
      : model_(model), arena_(arena), caches_(model, 1, length, arena) {}

  // As generate() answers this prompt alone, up to rounding; every data rank computes it. Throws as generate(), and DataError for
  // a prompt of `length` tokens or more; what is cached then still holds. Collective.
  std::vector<std::int32_t> answer(std::span<const std::int32_t> prompt, const GenerateOptions& options,
                                   const StopRequested& stop_requested = {});

 private:
  const Model& model_;
  Arena& arena_;
  TextCaches caches_;
};

}  // namespace chorus
