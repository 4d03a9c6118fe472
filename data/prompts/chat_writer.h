#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/corpora/message.h"
#include "data/prompts/chat_template.h"
#include "data/prompts/tokenizer.h"
#include "data/sets/forest_builder.h"

namespace chorus {

// Writes conversations as a template has them. The template's tokens become the tokenizer's ids, while contents are read as
// plain text: what looks like a token in them is none. Words between two tokens are tokenised as one text, but for the
// beginning of an answer and of a message, so that a message's tokens do not depend on those around it. Refers to the tokenizer.
class ChatWriter {
 public:
  // Throws ConfigurationError where the tokenizer lacks a token of the template.
  ChatWriter(ChatTemplate form, const Tokenizer& tokenizer);

  const ChatTemplate& form() const { return form_; }

  // Why the template cannot write these turns; "" where it can.
  std::string objection(std::span<const Message> turns) const;
  // Appends a turn; what stands before the first one, with the system prompt (null: none), comes with it. Labels are those
  // of answers that are trained, with the end of the turn. Throws DataError for a content in which the tokenizer finds a token of the
  // template all the same.
  void add(const Message* system, const Message& turn, Sequence& sequence) const;
  // What an assistant answers to; `turns` is not empty and ends with a user's.
  std::vector<std::int32_t> prompt(const Message* system, std::span<const Message> turns) const;
  // The tokens of an answer behind a prompt, with the one that ends it.
  std::vector<std::int32_t> answer(const std::string& content) const;
  // The token that ends an answer.
  std::int32_t end() const { return id_of(form_.answer.back()); }

 private:
  // Words with places of features, and the rows of each.
  struct Content {
    std::string words;
    std::span<const PlacedRows> features = {};
  };
  struct Filling {
    Content content, input = {}, system = {};
  };
  // Words, and tokens between them, on their way into a sequence.
  class Text;

  std::int32_t id_of(const ChatPiece& piece) const;
  void add(const ChatPattern& pattern, const Filling& filling, bool trained, Text& text) const;
  Content content_of(const Message& message) const;

  ChatTemplate form_;
  const Tokenizer& tokenizer_;
  std::vector<std::int32_t> tokens_;  // that no content may become
  bool puts_space_before_;            // SentencePiece's, before every text
};

// The tokens as text, where they are trained between « and »; tokens that decode() leaves out, as
// <s> and </s>, are shown.
std::string marked_text(const Sequence& sequence, const Tokenizer& tokenizer);
// How the rows of features at the front of `tokens` are shown, which follow each other in their table: "[feature 12]", or
// "[features 12 to 587]". Takes them from there.
std::string take_marked_features(std::span<const std::int32_t>& tokens);

}  // namespace chorus
