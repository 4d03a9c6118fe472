#pragma once

#include <string>
#include <vector>

#include "data/prompts/tokenizer.h"

namespace chorus {

// A piece of what a template puts around messages: words, a token of the tokenizer, or a place for what is filled in.
struct ChatPiece {
  enum class Kind { text, token, bos, eos, content, input, system };
  Kind kind = Kind::text;
  std::string text;  // of words and tokens
};
using ChatPattern = std::vector<ChatPiece>;

// How a conversation becomes one text, as data: a JSON object, whose fields docs/formats.md explains.
struct ChatTemplate {
  std::string name, description;
  std::string known_by;                         // stands in the Jinja templates that say the same
  std::vector<std::string> tokens;              // that the tokenizer must have
  bool trim = false;                            // white space around contents is left out
  bool alternating = false;                     // a user begins, then both speak in turn
  ChatPattern begin;                            // before everything
  ChatPattern system;                           // a system prompt that stands by itself; empty: it does not
  ChatPattern no_system, no_system_with_input;  // instead of it
  ChatPattern user, user_with_input;
  ChatPattern system_user;  // the first user turn with the system prompt inside; empty: that stands by itself
  // Of an answer; what is learned is the part in the middle, which ends with the end of the turn.
  ChatPattern before_answer, answer, after_answer;
  std::string json;  // what it was read from

  // `origin` begins the messages. Throws DataError for JSON that is malformed, has unknown fields (naming the nearest known
  // one) or placeholders, or answers without an end.
  static ChatTemplate parse(const std::string& json, const std::string& origin);

  // Of its tokens, those that the tokenizer does not have.
  std::vector<std::string> missing_tokens(const Tokenizer& tokenizer) const;
  // Throws ConfigurationError, beginning with `origin` and naming the shipped ones that fit, where there are such.
  void require_tokens(const Tokenizer& tokenizer, const std::string& origin) const;
};

struct ShippedChatTemplate {
  std::string name, json;
};
const std::vector<ShippedChatTemplate>& shipped_chat_templates();

// The names of those that the tokenizer has all tokens for.
std::vector<std::string> fitting_chat_templates(const Tokenizer& tokenizer);

struct ChosenChatTemplate {
  ChatTemplate form;
  std::string reason;  // why it was chosen; "" where it was named
};

// A shipped template by its name, or the path of a file. "auto": by the chat_template in tokenizer_config.json, or in
// chat_template.jinja, beside the tokenizer; without these by the tokenizer's own tokens. Throws ConfigurationError,
// naming those that fit, for one that is not known, that the tokenizer lacks a token of, or that nothing tells.
ChosenChatTemplate choose_chat_template(const std::string& name, const Tokenizer& tokenizer);

}  // namespace chorus
