#include "core/scoring/evaluator.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "core/scoring/predictions.h"
#include "ops/cpu/cpu_backend.h"
#include "parallel/thread_communicator.h"
#include "tests/support/message_of.h"
#include "tests/support/tiny_model.h"

namespace chorus {
namespace {

// Dialogues whose utterances have one sample per label, with answers of different length, or of one token each.
Dataset labelled_dataset(bool as_long = false) {
  DatasetOrigin origin;
  origin.corpora = {"test"};
  origin.split = "test";
  origin.vocabulary_size = 37;
  origin.labels = origin.label_words = {"a", "b", "c"};
  DatasetBuilder builder(origin);
  for (std::int32_t dialogue = 0; dialogue < 7; ++dialogue) {
    std::vector<GroupSample> samples;
    std::vector<std::int32_t> history{1};
    for (std::int32_t turn = 0; turn < 3; ++turn) {
      history.insert(history.end(), {3 + dialogue, 10 + turn, 20 + (dialogue * turn) % 9});
      const std::int32_t utterance = builder.add_utterance(
          {0, std::to_string(dialogue), std::to_string(turn), "", "", (dialogue + turn) % 3});
      for (std::int32_t answer = 0; answer < 3; ++answer) {
        Sequence sequence{history, std::vector<std::int32_t>(history.size(), unsupervised)};
        for (std::int32_t t = 0; t <= (as_long ? 0 : answer); ++t) {
          sequence.tokens.push_back(30 + answer + t);
          sequence.labels.push_back(30 + answer + t);
        }
        samples.push_back({sequence, utterance, answer});
      }
    }
    builder.add_group(samples, "dialogue");
  }
  return builder.finish();
}

struct Case {
  int data_size, tensor_size;
  bool sharing;
  std::int64_t tokens;
};

Evaluation evaluate_as(const Dataset& dataset, const Case& how) {
  Evaluation result;
  run_on_threads(how.data_size, how.tensor_size, [&](const Groups& groups) {
    CpuBackend backend(1);
    ModelOptions options;
    options.lora = test::tiny_lora(0.5);
    test::TinyModel tiny(test::tiny_config(), options, backend, groups, how.tokens);
    const Evaluation evaluation =
        evaluate(tiny.model, dataset, {.tokens_per_microbatch = how.tokens, .prefix_sharing = how.sharing},
                 tiny.activations, {});
    if (groups.world.rank() == 0) result = evaluation;
  });
  return result;
}

TEST(Evaluate, SharingPackingAndGridsGiveTheSameScores) {
  const Dataset dataset = labelled_dataset();
  ASSERT_TRUE(has_candidates(dataset));
  const Evaluation expected = evaluate_as(dataset, {1, 1, false, 200});
  ASSERT_EQ(expected.predictions.size(), 21U);
  EXPECT_GT(expected.loss, 0);
  for (const Case& how :
       {Case{1, 1, true, 200}, Case{1, 1, true, 30}, Case{2, 1, true, 64}, Case{3, 2, true, 64}}) {
    const Evaluation other = evaluate_as(dataset, how);
    EXPECT_LT(other.tokens, expected.tokens);
    EXPECT_NEAR(other.loss, expected.loss, 1e-5 * expected.loss);
    for (std::size_t i = 0; i < expected.sample_scores.size(); ++i) {
      EXPECT_NEAR(other.sample_scores[i], expected.sample_scores[i],
                  2e-5F * std::abs(expected.sample_scores[i]));
    }
    for (std::size_t u = 0; u < expected.predictions.size(); ++u) {
      EXPECT_EQ(other.predictions[u].predicted, expected.predictions[u].predicted);
    }
  }
}

TEST(Evaluate, ThePredictionIsTheMostProbableAnswer) {
  const Dataset dataset = labelled_dataset();
  const Evaluation evaluation = evaluate_as(dataset, {1, 1, true, 200});
  for (std::size_t u = 0; u < evaluation.predictions.size(); ++u) {
    const float best =
        evaluation.sample_scores[3 * u + static_cast<std::size_t>(evaluation.predictions[u].predicted)];
    for (std::size_t answer = 0; answer < 3; ++answer)
      EXPECT_LE(evaluation.sample_scores[3 * u + answer], best);
    EXPECT_EQ(evaluation.predictions[u].gold, dataset.utterances[u].label);
  }
}

// The first label would win everywhere, and its share of the utterances would look like a score.
TEST(Evaluate, ScoresThatAreNotFiniteAreRefusedOnEveryRank) {
  const Dataset dataset = labelled_dataset();
  std::vector<std::string> messages(2);
  run_on_threads(2, 1, [&](const Groups& groups) {
    CpuBackend backend(1);
    ModelOptions options;
    options.lora = test::tiny_lora(0.5);
    test::TinyModel tiny(test::tiny_config(), options, backend, groups, 64);
    Parameter& trained = tiny.model.parameters().all().front();
    std::vector<float> values(static_cast<std::size_t>(trained.full.elements()), 0.5F);
    values[1] = std::numeric_limits<float>::quiet_NaN();
    tiny.model.parameters().assign(trained, values);
    messages[static_cast<std::size_t>(groups.world.rank())] = test::message_of<DataError>(
        [&] { evaluate(tiny.model, dataset, {.tokens_per_microbatch = 64}, tiny.activations, {}); });
  });
  EXPECT_EQ(messages[0].substr(0, messages[0].find(';')), messages[1].substr(0, messages[1].find(';')));
  EXPECT_NE(messages[0].find("utterance 0 of dialogue 0 (test, test): the score of the label 'a' is "),
            std::string::npos)
      << messages[0];
  EXPECT_NE(messages[0].find("nan: a weight of the base or the adapter is no finite number"),
            std::string::npos)
      << messages[0];
}

// A head of zeros gives every word the same probability, as hidden states do that overflowed.
TEST(Evaluate, LabelsThatAreEquallyProbableAreNoAnswer) {
  const Dataset dataset = labelled_dataset(true);
  const ModelConfig config = test::tiny_config();
  Evaluation evaluation;
  run_on_threads(1, 1, [&](const Groups& groups) {
    CpuBackend backend(1);
    ModelOptions options;
    options.lora = test::tiny_lora(0);
    test::TinyModel tiny(config, options, backend, groups, 200);
    const auto weights = test::random_weights(config);
    tiny.base.llama.load([&](const ModelTensor& tensor) {
      std::vector<float> values = weights(tensor);
      if (tensor.role == TensorRole::head) std::ranges::fill(values, 0.0F);
      return values;
    });
    evaluation = evaluate(tiny.model, dataset, {.tokens_per_microbatch = 200}, tiny.activations, {});
  });
  const auto words = std::log(static_cast<double>(config.vocabulary_size));
  EXPECT_NEAR(evaluation.loss, words, 1e-5 * words);
  const Scores scores(dataset.origin.labels, evaluation.predictions);
  EXPECT_EQ(scores.unmatched(), 21);
  EXPECT_EQ(scores.misses(), 21);
  EXPECT_EQ(scores.weighted_f1(), 0);
  const std::vector<AnsweredUtterance> answered = answered_utterances(evaluation, dataset);
  EXPECT_EQ(answered[0].predicted, "");
  EXPECT_EQ(answered[0].scores.size(), 3U);
}

TEST(PromptsOf, EndBeforeTheAnswer) {
  const Dataset dataset = labelled_dataset();
  const auto prompts = prompts_of(dataset);
  ASSERT_EQ(prompts.size(), 21U);
  EXPECT_EQ(prompts[1], (std::vector<std::int32_t>{1, 3, 10, 20, 3, 11, 20}));
}

TEST(MatchAnswers, CountsMisses) {
  Dataset dataset = labelled_dataset();
  std::vector<std::string> answers(21, "b");
  answers[4] = "zzz";
  const Evaluation evaluation = match_answers(answers, dataset, MatchRule::words);
  const Scores scores(dataset.origin.labels, evaluation.predictions);
  EXPECT_EQ(scores.misses(), 1);
  EXPECT_EQ(evaluation.predictions[4].predicted, no_label);
  EXPECT_EQ(match_answers(answers, dataset, MatchRule::instructerc).predictions[4].predicted, 0);
  EXPECT_EQ(evaluation.predictions[0].predicted, 1);
}

}  // namespace
}  // namespace chorus
