#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "data/prompts/chat_template.h"

namespace chorus {

// How dialogues become prompts, as data. A recipe is a JSON object; docs/formats.md describes its fields.
//
// With Tokenisation::parts, parts are tokenised one by one and their tokens joined, <s> before the first and </s>
// behind the answer. Equal parts are therefore equal tokens whatever stands next to them, and prompts of a dialogue
// share exactly the tokens of the parts that they begin with. It also means that a tokenizer which puts a space before
// each text puts one before each part, so a part should end, not begin, with a line break.
//
// Within a chat template the prompt is a user's turn and the answer an assistant's, written as those of any conversation: as one
// text each, and the answer ends as the template has it.
struct Recipe {
  // What is asked of an utterance: its label, who says it, or what the label of the next utterance will be, before that
  // is known.
  enum class Task { emotion, speaker, impact };
  enum class Tokenisation { parts, whole };
  // `text` stands once and speaks of the utterance asked about; `history` is repeated for each line before it, the
  // oldest first; `future` for each line after it, in their order; `demonstrations` for each example; `answer` stands last.
  enum class PartKind { text, history, future, demonstrations, answer };
  // What a part says of a line that has all these side texts (data/corpora/side_texts.h), each a placeholder of its name.
  struct Variant {
    std::vector<std::string> has;
    std::string text;
    bool optional = false;  // whether the recipe may be used where no line has one of them
  };
  struct Part {
    PartKind kind = PartKind::text;
    std::string text;               // with placeholders; {{ and }} for braces
    std::vector<Variant> variants;  // the first that fits a line stands instead of `text`
    std::string before, after;      // of all the repetitions, if there are any
  };

  std::string name, description;
  Task task = Task::emotion;
  Tokenisation tokenisation = Tokenisation::parts;
  std::optional<std::int64_t> history;  // number of previous utterances shown; none: all of them
  std::optional<std::int64_t> future;   // the same of following ones
  bool numbered_speakers = false;       // Speaker_0, Speaker_1, … by first appearance in the dialogue
  std::map<std::string, std::int64_t> speaker_numbers;  // of speakers that always have the same one
  bool supervise_all = false;                           // learn the whole prompt, not only answer and </s>
  bool open_answer = false;  // no </s> behind the answer, for bases that never learned it
  std::map<std::string, std::string>
      label_words;  // corpus label → word in the prompt; others stay as they are
  std::string label_separator = ", ";
  std::vector<Part> parts;
  std::optional<ChatTemplate> chat;  // around prompt and answer; none: they are a text of their own
  std::string json;                  // what it was read from

  // `origin` begins the messages. Throws DataError for JSON that is malformed, has unknown fields (naming the
  // nearest known one) or placeholders, describes no prompt, or one that tells the answer.
  static Recipe parse(const std::string& json, const std::string& origin);
  // A shipped recipe by its name, or the path of a file. Throws ConfigurationError, beginning with `option`, if it is
  // neither.
  static Recipe load(const std::string& name_or_path, const std::string& option = "--recipe");

  // The same with another history (see parse_history), end of answers or chat template, also in `json`.
  Recipe with_history(const std::string& history, const std::string& origin) const;
  Recipe with_open_answer(bool open) const;
  Recipe with_chat_template(const ChatTemplate& form) const;

  // The name, with that of the chat template: "shared, chat template chatml".
  std::string title() const;

  std::string word(const std::string& label) const;
  bool has(PartKind kind) const;
  bool mentions(std::string_view placeholder) const;  // in any part
  std::set<std::string> side_texts() const;           // names of those that variants show
  std::set<std::string> needed_side_texts() const;    // of these, what some line must have
};

struct ShippedRecipe {
  std::string name, json;
};
const std::vector<ShippedRecipe>& shipped_recipes();

// Reads "all" or a number of lines. Throws ConfigurationError, beginning with `origin`.
std::optional<std::int64_t> parse_history(const std::string& text, const std::string& origin);

}  // namespace chorus
