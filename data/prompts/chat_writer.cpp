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
  void add_content(const Content& content, bool trained) {
    std::string_view words = content.words;
    for (std::size_t next = 0;; ++next) {
      const std::size_t place = words.find(feature_place);
      add_words(words.substr(0, place), trained);
      if (place == std::string_view::npos) break;
      flush();
      require(next < content.features.size(), "a place of features has no rows");
      for (std::int32_t row = 0; row < content.features[next].count; ++row)
        push(feature_token(content.features[next].first + row), false);
      words.remove_prefix(place + 1);
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
  Filling filling{content_of(turn)};
  const ChatPattern* pattern = &form_.user;
  if (!turn.input.empty()) {
    if (form_.user_with_input.empty()) {
      filling.content.words += "\n" + turn.input;
    } else {
      pattern = &form_.user_with_input;
      const auto before = static_cast<std::size_t>(std::ranges::count(turn.content, feature_place));
      filling.input = {turn.input, filling.content.features.subspan(std::min(before, turn.features.size()))};
    }
  }
  if (is_first) {
    add(form_.begin, {}, false, text);
    if (system == nullptr) {
      add(turn.input.empty() ? form_.no_system : form_.no_system_with_input, {}, false, text);
    } else if (!form_.system.empty()) {
      add(form_.system, {content_of(*system)}, false, text);
    } else {
      pattern = &form_.system_user;
      filling.system = {system->content, system->features};
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
  const Message message{Role::assistant, content, "", true};
  add(form_.answer, {content_of(message)}, true, text);
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
        text.add_content(filling.content, trained);
        break;
      case Kind::input:
        text.add_content(filling.input, trained);
        break;
      case Kind::system:
        text.add_content(filling.system, trained);
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

ChatWriter::Content ChatWriter::content_of(const Message& message) const {
  return {form_.trim ? std::string(trimmed(message.content)) : message.content, message.features};
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
      std::span<const std::int32_t> rest = std::span(sequence.tokens).subspan(i);
      text += take_marked_features(rest);
      i = sequence.tokens.size() - rest.size() - 1;
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

std::string take_marked_features(std::span<const std::int32_t>& tokens) {
  const std::int32_t first = feature_row(tokens[0]);
  std::int32_t last = first;
  for (tokens = tokens.subspan(1); !tokens.empty() && tokens[0] == feature_token(last + 1); ++last)
    tokens = tokens.subspan(1);
  return first == last ? fmt::format("[feature {}]", first) : fmt::format("[features {} to {}]", first, last);
}

}  // namespace chorus
