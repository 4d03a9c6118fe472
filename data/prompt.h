#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/dialogue.h"
#include "data/forest_builder.h"
#include "data/recipe.h"
#include "data/tokenizer.h"

namespace chorus {

// The prompts that ask about one utterance: one sequence per answer, all with the same history.
struct Prompts {
  std::vector<Sequence> sequences;  // empty if even without history one would be too long
  std::int64_t lines_cut = 0;       // of the history, the oldest first
};

// Turns utterances into tokens by a recipe.
class PromptWriter {
 public:
  // `labels` are those of the corpus, in index order. No sequence will have more than `max_tokens` tokens (0:
  // no limit). Throws DataError where the recipe's label words do not fit the labels. `tokenizer` must
  // outlive this.
  PromptWriter(Recipe recipe, const Tokenizer& tokenizer, std::vector<std::string> labels,
               std::int64_t max_tokens);

  // Asks about utterance `turn` of the dialogue, answered with the labels `answers`. How much history there
  // is room for depends on the longest label, not on the answers asked for, so that training and scoring see
  // the same prompt.
  Prompts write(const Dialogue& dialogue, std::size_t turn, std::span<const std::int32_t> answers,
                bool supervise_all);

  const Recipe& recipe() const { return recipe_; }
  const std::vector<std::string>& words() const { return words_; }  // of the labels

 private:
  using Tokens = std::vector<std::int32_t>;

  std::map<std::string, std::string> values(const Dialogue& dialogue, std::size_t line) const;
  std::string speaker(const Dialogue& dialogue, std::size_t line) const;
  // The history that the recipe asks for, the oldest line first, without the `lines_cut` oldest lines for
  // which `room` tokens do not suffice.
  std::vector<Tokens> history(const Dialogue& dialogue, std::size_t turn, std::int64_t room,
                              std::int64_t& lines_cut);
  const Tokens& encode(const Recipe::Part& part, const std::map<std::string, std::string>& values);

  Recipe recipe_;
  const Tokenizer& tokenizer_;
  std::vector<std::string> words_;
  std::vector<Tokens> answers_;  // of each label, with </s>
  std::int64_t longest_answer_ = 0;
  std::string label_statement_;
  std::int64_t max_tokens_;
  std::unordered_map<std::string, Tokens> encoded_;  // the same lines come again and again
};

}  // namespace chorus
