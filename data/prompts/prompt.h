#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/prompts/chat_writer.h"
#include "data/prompts/recipe.h"
#include "data/prompts/tokenizer.h"
#include "data/sets/forest_builder.h"

namespace chorus {

// The prompts that ask about one utterance: one sequence per answer, all with the same other lines.
struct Prompts {
  std::vector<Sequence> sequences;  // empty if one would be too long even without history and future
  std::int64_t lines_cut = 0;  // of history and future, the farthest first, of two equally far the later one
};

// Turns utterances into tokens by a recipe.
class PromptWriter {
 public:
  struct Settings {
    std::vector<std::string> labels;  // that can be answered with, in index order
    std::int64_t max_tokens = 0;      // no sequence will have more; 0: no limit
    std::int64_t first_speaker = 0;   // number of the first speaker, where speakers are numbered
  };

  // Throws DataError where the recipe's label words do not fit the labels, ConfigurationError where the tokenizer lacks a
  // token of its chat template. `tokenizer` must outlive this.
  PromptWriter(Recipe recipe, const Tokenizer& tokenizer, Settings settings);

  // Asks about a line, answered with the labels `answers`. How many other lines there is room for depends on the
  // longest label, not on the answers asked for, so that training and scoring see the same prompt. Throws DataError for a
  // text in which the tokenizer finds a token of the chat template.
  Prompts write(const Line& line, std::span<const std::int32_t> answers, bool supervise_all,
                std::span<const Line> demonstrations = {});
  // The words of the prompt with its whole history and future, up to the answer; {features} are left out.
  std::string text(const Line& line, std::span<const Line> demonstrations = {}) const;

  // What the recipe calls the speaker of a line.
  std::string speaker(const Line& line) const;
  const Recipe& recipe() const { return recipe_; }
  const std::vector<std::string>& words() const { return words_; }  // of the labels

 private:
  using Tokens = std::vector<std::int32_t>;
  using Values = std::map<std::string, std::string>;

  // A run of words, and the features that stand behind it.
  struct Piece {
    std::string text;
    std::int32_t first_feature = 0, features = 0;
  };

  // How many lines before and after the one asked about.
  struct OtherLines {
    std::size_t before = 0, after = 0;
    std::size_t count() const { return before + after; }
    OtherLines nearest(std::size_t count) const;
  };

  Values values(const Line& line) const;
  OtherLines lines_wanted(const Line& line) const;
  void append(std::vector<Piece>& pieces, const Recipe::Part& part, const Line& line, Values values) const;
  void append_repeated(std::vector<Piece>& pieces, const Recipe::Part& part,
                       std::span<const Line> lines) const;
  std::vector<Piece> pieces(const Line& line, const OtherLines& others,
                            std::span<const Line> demonstrations) const;
  Tokens encode(const std::vector<Piece>& pieces);
  Tokens encode_turn(const std::vector<Piece>& pieces) const;
  const Tokens& encode(const std::string& text);

  Recipe recipe_;
  const Tokenizer& tokenizer_;
  Settings settings_;
  std::optional<ChatWriter> chat_;
  std::vector<std::string> words_;
  std::vector<Tokens> answers_;  // of each label, with the end of a text or turn
  std::int64_t longest_answer_ = 0;
  std::string label_statement_;
  std::unordered_map<std::string, Tokens> encoded_;  // the same lines come again and again
};

// The number of a line's speaker: his own by the recipe, or by first appearance in the dialogue.
std::int64_t speaker_number(const Recipe& recipe, const Line& line, std::int64_t first_speaker);

// Speaker_0, Speaker_1, …: the answers of a recipe for speakers.
std::string numbered_speaker(std::int64_t number);

}  // namespace chorus
