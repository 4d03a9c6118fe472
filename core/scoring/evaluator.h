#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/model/model.h"
#include "core/scoring/label_match.h"
#include "core/scoring/metrics.h"
#include "core/scoring/progress.h"
#include "data/sets/batches.h"
#include "parallel/interruption.h"

namespace chorus {

// What a pass over a split found: of each utterance how it was answered, and nothing of its words.
struct Evaluation {
  std::vector<std::string> labels;      // [L] to choose from
  std::vector<Prediction> predictions;  // [utterances]; empty where the data has no candidate answers
  std::vector<float> label_scores;      // [utterances, L] log probability of each as the answer; or empty
  double loss = 0;                      // mean per supervised token of the right answers
  std::vector<std::string> answers;     // [utterances] what was generated, instead of the two above
  std::int64_t tokens = 0, unshared_tokens = 0;
  double seconds = 0;

  Scores scores() const { return {labels, predictions}; }
};

// Tokens of the trees that are in memory at a time while a split is scored. More than the splits of the usual corpora have,
// which are so packed into micro-batches as a whole.
inline constexpr std::int64_t scoring_window = 1 << 22;

// Scores every sample of a split once: all labels of an utterance are branches of its tree, so nothing is generated.
// Every rank returns the same. Throws Error if a sample was not scored exactly once, DataError with the first utterance
// where a score is not finite, and Interrupted, on all ranks, within one micro-batch of a request to stop. Micro-batches are
// those of `options`, each of trees of one window, of at most so many tokens; what the window changes is rounding. Told of
// `progress` are samples. Collective.
Evaluation evaluate(const Model& model, const DataSplit& split, const BatchOptions& options, Arena& arena,
                    const Progress& progress, const StopRequested& stop_requested = {},
                    std::int64_t window = scoring_window);

// What utterances are asked.
struct UtterancePrompts {
  std::vector<std::int32_t> utterances;
  std::vector<std::vector<std::int32_t>> prompts;  // of each of them, up to its answer
};
// Those of one window of trees after those of another.
void for_each_window_of_prompts(const DataSplit& split,
                                const std::function<void(const UtterancePrompts&)>& use,
                                std::int64_t window = scoring_window);

// Looks for a label in the generated answer of each utterance (see match_label()).
Evaluation match_answers(std::vector<std::string> answers, const DataSplit& split, MatchRule rule);

}  // namespace chorus
