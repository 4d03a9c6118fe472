#include "data/prompts/chat_writer.h"

#include <algorithm>

#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

using Kind = ChatPiece::Kind;
using Role = Message::Role;

// U+2581, which stands for a space.
constexpr std::string_view lower_one_eighth_block = "\xE2\x96\x81";

bool puts_space_before(const Tokenizer& tokenizer) {
  const std::vector<std::int32_t> ids = tokenizer.encode("a");
  return !ids.empty() && tokenizer.token(ids[0]).starts_with(lower_one_eighth_block);
}

}  // namespace

class ChatWriter::Text {
 public:
  Text(const ChatWriter& writer, Sequence& sequence) : writer_(writer), sequence_(sequence) {}

  void add_words(std::string_view words, bool trained) {
    if (trained != trained_) flush();
    trained_ = trained;
    words_ += words;
  }
  // Words with places of features, each of which its rows take.
  void add_content(std::string_view content, std::span<const PlacedRows> features, bool trained) {
    for (std::size_t next = 0;; ++next) {
      const std::size_t place = content.find(feature_place);
      add_words(content.substr(0, place), trained);
      if (place == std::string_view::npos) break;
      flush();
      require(next < features.size(), "a place of features has no rows");
      for (std::int32_t row = 0; row < features[next].count; ++row)
        push(feature_token(features[next].first + row), false);
      content.remove_prefix(place + 1);
    }
  }
  void add_token(std::int32_t id, bool trained) {
    flush();
    push(id, trained);
  }
  void flush() {
    std::string_view words = words_;
    // The space that such a tokenizer puts there itself.
    if (writer_.puts_space_before_ && words.starts_with(' ')) words.remove_prefix(1);
    if (!words.empty()) {
      for (const std::int32_t id : writer_.tokenizer_.encode_as_text(words)) {
        require<DataError>(std::ranges::count(writer_.tokens_, id) == 0, "the text '", words.substr(0, 40),
                           "…' holds ", writer_.tokenizer_.token(id),
                           ", which the tokenizer cannot read as text");
        push(id, trained_);
      }
    }
    words_.clear();
  }

 private:
  void push(std::int32_t id, bool trained) {
    sequence_.tokens.push_back(id);
    sequence_.labels.push_back(trained ? id : unsupervised);
  }

  const ChatWriter& writer_;
  Sequence& sequence_;
  std::string words_;
  bool trained_ = false;
};

ChatWriter::ChatWriter(ChatTemplate form, const Tokenizer& tokenizer)
    : form_(std::move(form)), tokenizer_(tokenizer), puts_space_before_(puts_space_before(tokenizer)) {
  form_.require_tokens(tokenizer, "chat template " + form_.name);
  for (const std::string& token : form_.tokens) tokens_.push_back(*tokenizer.special(token));
  if (tokenizer.bos()) tokens_.push_back(*tokenizer.bos());
  tokens_.push_back(end());
}

std::string ChatWriter::objection(std::span<const Message> turns) const {
  if (!form_.alternating) return "";
  for (std::size_t i = 0; i < turns.size(); ++i) {
    if ((turns[i].role == Role::user) != (i % 2 == 0))
      return fmt::format("with chat template {} user and assistant speak in turn, and turn {} is the {}'s",
                         form_.name, i + 1, turns[i].role == Role::user ? "user" : "assistant");
  }
  return "";
}

void ChatWriter::add(const Message* system, const Message& turn, Sequence& sequence) const {
  const bool is_first = sequence.tokens.empty(), is_user = turn.role == Role::user;
  Text text(*this, sequence);
  Filling filling{content_of(turn), turn.input, "", turn.features};
  const ChatPattern* pattern = &form_.user;
  if (!turn.input.empty()) {
    if (form_.user_with_input.empty()) {
      filling.content += "\n" + turn.input;
    } else {
      pattern = &form_.user_with_input;
    }
  }
  if (is_first) {
    add(form_.begin, {}, false, text);
    if (system == nullptr) {
      add(turn.input.empty() ? form_.no_system : form_.no_system_with_input, {}, false, text);
    } else if (!form_.system.empty()) {
      add(form_.system, {content_of(*system), "", ""}, false, text);
    } else {
      pattern = &form_.system_user;
      filling.system = system->content;
    }
  }
  if (is_user) {
    add(*pattern, filling, false, text);
  } else {
    text.flush();
    add(form_.before_answer, {}, false, text);
    // Where it stands alone, as before a generated answer.
    text.flush();
    add(form_.answer, filling, turn.trained, text);
    add(form_.after_answer, {}, false, text);
  }
  text.flush();
}

std::vector<std::int32_t> ChatWriter::prompt(const Message* system, std::span<const Message> turns) const {
  Sequence sequence;
  for (const Message& turn : turns) add(system, turn, sequence);
  Text text(*this, sequence);
  add(form_.before_answer, {}, false, text);
  text.flush();
  return std::move(sequence.tokens);
}

std::vector<std::int32_t> ChatWriter::answer(const std::string& content) const {
  Sequence sequence;
  Text text(*this, sequence);
  add(form_.answer, {content_of({Role::assistant, content, "", true}), "", ""}, true, text);
  text.flush();
  return std::move(sequence.tokens);
}

std::int32_t ChatWriter::id_of(const ChatPiece& piece) const {
  return piece.kind == Kind::eos ? tokenizer_.eos() : *tokenizer_.special(piece.text);
}

void ChatWriter::add(const ChatPattern& pattern, const Filling& filling, bool trained, Text& text) const {
  for (const ChatPiece& piece : pattern) {
    switch (piece.kind) {
      case Kind::text:
        text.add_words(piece.text, trained);
        break;
      case Kind::content:
        text.add_content(filling.content, filling.features, trained);
        break;
      case Kind::input:
        text.add_words(filling.input, trained);
        break;
      case Kind::system:
        text.add_words(filling.system, trained);
        break;
      case Kind::bos:
        for (const std::int32_t id : tokenizer_.beginning()) text.add_token(id, trained);
        break;
      case Kind::token:
      case Kind::eos:
        text.add_token(id_of(piece), trained);
        break;
    }
  }
}

std::string ChatWriter::content_of(const Message& message) const {
  return form_.trim ? std::string(trimmed(message.content)) : message.content;
}

std::string marked_text(const Sequence& sequence, const Tokenizer& tokenizer) {
  std::string text;
  std::vector<std::int32_t> run;
  const auto close = [&] {
    text += tokenizer.decode(run);
    run.clear();
  };
  bool marked = false;
  for (std::size_t i = 0; i < sequence.tokens.size(); ++i) {
    const std::int32_t token = sequence.tokens[i];
    if (const bool trained = sequence.labels[i] != unsupervised; trained != marked) {
      close();
      text += trained ? "«" : "»";
      marked = trained;
    }
    if (is_feature(token)) {
      close();
      text += marked_feature(token);
      continue;
    }
    run.push_back(token);
    // Such as <s> of SentencePiece; its space is silent only where a text begins.
    const std::string name = tokenizer.token(token);
    const bool is_silent = name != lower_one_eighth_block && tokenizer.decode(std::span(&token, 1)).empty();
    if (!is_silent) continue;
    run.pop_back();
    close();
    text += name;
  }
  close();
  return text + (marked ? "»" : "");
}

std::string marked_feature(std::int32_t token) { return fmt::format("[feature {}]", feature_row(token)); }

}  // namespace chorus
