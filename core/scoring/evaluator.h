#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/model/model.h"
#include "core/scoring/label_match.h"
#include "core/scoring/metrics.h"
#include "core/scoring/progress.h"
#include "data/sets/batches.h"
#include "parallel/interruption.h"

namespace chorus {

// What a pass over a split found.
struct Evaluation {
  std::vector<Prediction> predictions;  // [utterances]; empty where the data has no candidate answers
  std::vector<float> sample_scores;     // [samples] log probability of each sample's supervised tokens
  double loss = 0;                      // mean per supervised token of the right answers
  std::vector<std::string> answers;     // [utterances] what was generated, instead of the two above
  std::int64_t tokens = 0, unshared_tokens = 0;
  double seconds = 0;
};

// Scores every sample of a split once: all labels of an utterance are branches of its tree, so nothing is generated.
// Every rank returns the same. Throws Error if a sample was not scored exactly once, DataError with the first utterance
// where a score is not finite, and Interrupted, on all ranks, within one micro-batch of a request to stop. Micro-batches are
// those of `options`, and all samples one step. Collective.
Evaluation evaluate(const Model& model, const Dataset& dataset, BatchOptions options, Arena& arena,
                    const Progress& progress, const StopRequested& stop_requested = {});

// The prompt of each utterance, up to its answer.
std::vector<std::vector<std::int32_t>> prompts_of(const Dataset& dataset);

// Looks for a label in the generated answer of each utterance (see match_label()).
Evaluation match_answers(std::vector<std::string> answers, const Dataset& dataset, MatchRule rule);

// Whether the split can be scored: every utterance has one sample per label.
bool has_candidates(const Dataset& dataset);

}  // namespace chorus
