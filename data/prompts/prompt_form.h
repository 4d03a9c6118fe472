#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/corpora/dialogue.h"
#include "data/prompts/chat_template.h"
#include "data/prompts/recipe.h"
#include "data/prompts/tokenizer.h"
#include "data/sets/dataset.h"

namespace chorus {

// How a model was asked in training, which is how it must be asked later: kept beside its adapter as prompts.json.
struct PromptForm {
  Recipe recipe;
  std::vector<std::string> labels;  // [L] in index order
  // Instead of these, where it was trained on conversations with an assistant.
  std::optional<ChatTemplate> chat = {};

  // Of the data it is trained on. Throws DataError, beginning with `where`, for data without prompts.
  static PromptForm of(const DatasetOrigin& origin, const std::string& where);
  // Of `folder`, or of the one around it, as that of a checkpoint. Throws ConfigurationError where neither has
  // prompts.json, DataError for one that is damaged.
  static PromptForm read(const std::filesystem::path& folder);
  // The prompts.json of such a folder, if there is one.
  static std::optional<std::filesystem::path> find(const std::filesystem::path& folder);
  void write(const std::filesystem::path& folder) const;

  // For people: "recipe shared, chat template chatml".
  std::string title() const;
  // Whether the recipe, or the template of conversations, is the same, whatever the labels are.
  bool asks_like(const PromptForm& other) const;

  // Throws ConfigurationError, saying why, where lines alone cannot be asked about: recipes that show features or examples of
  // a train split, and those that do not ask for a label; conversations have no labels at all.
  void require_askable() const;
};

inline constexpr const char* prompt_form_file = "prompts.json";

// What DatasetOrigin::recipe_text is of conversations: a recipe has no such field.
std::string prompt_text_of(const ChatTemplate& chat);

struct QuestionLimits {
  std::int64_t max_tokens = 1024;  // of a prompt with its answer: a longer one loses the farthest lines
  std::int64_t vocabulary_size = 0;
  bool last_line_only = false;  // ask about the last line of each dialogue
};

// The data set that asks about every line of the dialogues, each answered with every label, for evaluate(). Throws DataError
// where a line alone has too many tokens, ConfigurationError where none has a side text that the recipe needs.
Dataset questions_about(std::span<const Dialogue> dialogues, const PromptForm& form,
                        const Tokenizer& tokenizer, const QuestionLimits& limits);

}  // namespace chorus
