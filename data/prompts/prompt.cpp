#include "data/prompts/prompt.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "data/corpora/side_texts.h"
#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr std::size_t most_texts_kept = 1 << 16;

}  // namespace

std::int64_t speaker_number(const Recipe& recipe, const Line& line, std::int64_t first_speaker) {
  const std::string& name = line.utterance().speaker;
  const auto fixed = recipe.speaker_numbers.find(name);
  if (fixed != recipe.speaker_numbers.end()) return first_speaker + fixed->second;
  std::set<std::string> before;
  for (const Utterance& utterance : line.dialogue->utterances) {
    if (utterance.speaker == name) break;
    before.insert(utterance.speaker);
  }
  return first_speaker + std::ssize(before);
}

std::string numbered_speaker(std::int64_t number) { return "Speaker_" + std::to_string(number); }

PromptWriter::PromptWriter(Recipe recipe, const Tokenizer& tokenizer, Settings settings)
    : recipe_(std::move(recipe)), tokenizer_(tokenizer), settings_(std::move(settings)) {
  if (settings_.max_tokens <= 0) settings_.max_tokens = std::numeric_limits<std::int64_t>::max();
  if (recipe_.chat) chat_.emplace(*recipe_.chat, tokenizer_);
  const std::string origin = "recipe " + recipe_.name;
  const std::vector<std::string>& labels = settings_.labels;
  for (const auto& [label, word] : recipe_.label_words) {
    require<DataError>(std::find(labels.begin(), labels.end(), label) != labels.end(), origin,
                       ": label_words names the label '", label, "', the corpus has ", joined(labels, ", "));
  }
  for (const std::string& label : labels) {
    words_.push_back(recipe_.word(label));
    const std::string text = fill_in(recipe_.parts.back().text, {{"label", words_.back()}}, origin);
    Tokens answer = chat_ ? chat_->answer(text) : encode(text);
    if (!chat_ && !recipe_.open_answer) answer.push_back(tokenizer_.eos());
    for (const Tokens& other : answers_) {
      const std::size_t common = std::min(answer.size(), other.size());
      require<DataError>(
          !std::equal(answer.begin(), answer.begin() + static_cast<std::ptrdiff_t>(common), other.begin()),
          origin, ": two labels have the word '", words_.back(),
          "', or one begins like the other and \"answer_end\" is none, or the tokenizer cannot tell "
          "them apart");
    }
    longest_answer_ = std::max(longest_answer_, std::int64_t{std::ssize(answer)});
    answers_.push_back(std::move(answer));
  }
  label_statement_ = joined(words_, recipe_.label_separator);
}

std::string PromptWriter::speaker(const Line& line) const {
  if (!recipe_.numbered_speakers) return line.utterance().speaker;
  return numbered_speaker(speaker_number(recipe_, line, settings_.first_speaker));
}

PromptWriter::Values PromptWriter::values(const Line& line) const {
  const Utterance& utterance = line.utterance();
  const auto label = std::find(settings_.labels.begin(), settings_.labels.end(), utterance.label);
  return {{"labels", label_statement_},
          {"speaker", speaker(line)},
          {"speaker_number", std::to_string(speaker_number(recipe_, line, settings_.first_speaker))},
          {"utterance", utterance.text},
          {"label", label == settings_.labels.end() ? "" : recipe_.word(*label)},
          {"index", std::to_string(line.turn + 1)},
          {"features", std::string(1, feature_place)}};
}

// One before and one after by turns, then more of where there are more.
PromptWriter::OtherLines PromptWriter::OtherLines::nearest(std::size_t count) const {
  const std::size_t before_first = (count + 1) / 2, after_first = count / 2;
  if (before_first > before) return {before, count - before};
  if (after_first > after) return {count - after, after};
  return {before_first, after_first};
}

PromptWriter::OtherLines PromptWriter::lines_wanted(const Line& line) const {
  const auto wanted = [&](Recipe::PartKind kind, std::optional<std::int64_t> most, std::size_t there) {
    if (!recipe_.has(kind)) return std::size_t{0};
    return most ? std::min(there, static_cast<std::size_t>(*most)) : there;
  };
  return {wanted(Recipe::PartKind::history, recipe_.history, line.turn),
          wanted(Recipe::PartKind::future, recipe_.future, line.dialogue->utterances.size() - line.turn - 1)};
}

void PromptWriter::append(std::vector<Piece>& pieces, const Recipe::Part& part, const Line& line,
                          Values values) const {
  const Utterance& utterance = line.utterance();
  const auto variant = std::ranges::find_if(part.variants, [&](const Recipe::Variant& each) {
    return std::ranges::all_of(
        each.has, [&](const std::string& name) { return side_text(utterance, name) != nullptr; });
  });
  const bool varies = variant != part.variants.end();
  if (varies)
    for (const std::string& name : variant->has) values[name] = *side_text(utterance, name);
  const std::string text = fill_in(varies ? variant->text : part.text, values, "recipe " + recipe_.name);
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t mark = text.find(feature_place, begin);
    Piece piece{text.substr(begin, mark - begin)};
    if (mark != std::string::npos) {
      piece.first_feature = utterance.first_feature;
      piece.features = utterance.features;
    }
    if (!piece.text.empty() || piece.features > 0) pieces.push_back(std::move(piece));
    if (mark == std::string::npos) break;
    begin = mark + 1;
  }
}

void PromptWriter::append_repeated(std::vector<Piece>& pieces, const Recipe::Part& part,
                                   std::span<const Line> lines) const {
  if (lines.empty()) return;
  const auto edge = [&](const std::string& text) {
    const std::string filled = fill_in(text, {{"labels", label_statement_}}, "recipe " + recipe_.name);
    if (!filled.empty()) pieces.push_back({filled});
  };
  edge(part.before);
  for (const Line& line : lines) append(pieces, part, line, values(line));
  edge(part.after);
}

std::vector<PromptWriter::Piece> PromptWriter::pieces(const Line& line, const OtherLines& others,
                                                      std::span<const Line> demonstrations) const {
  std::vector<Line> before, after;
  for (std::size_t turn = line.turn - others.before; turn < line.turn; ++turn)
    before.push_back({line.dialogue, turn});
  for (std::size_t turn = line.turn + 1; turn <= line.turn + others.after; ++turn)
    after.push_back({line.dialogue, turn});
  std::vector<Piece> pieces;
  for (const Recipe::Part& part : recipe_.parts) {
    if (part.kind == Recipe::PartKind::text) append(pieces, part, line, values(line));
    if (part.kind == Recipe::PartKind::history) append_repeated(pieces, part, before);
    if (part.kind == Recipe::PartKind::future) append_repeated(pieces, part, after);
    if (part.kind == Recipe::PartKind::demonstrations) append_repeated(pieces, part, demonstrations);
  }
  return pieces;
}

const PromptWriter::Tokens& PromptWriter::encode(const std::string& text) {
  if (encoded_.size() >= most_texts_kept) encoded_.clear();
  const auto [entry, is_new] = encoded_.try_emplace(text);
  if (is_new) entry->second = tokenizer_.encode(text);
  return entry->second;
}

PromptWriter::Tokens PromptWriter::encode_turn(const std::vector<Piece>& pieces) const {
  Message turn;
  for (const Piece& piece : pieces) {
    turn.content += piece.text;
    if (piece.features == 0) continue;
    turn.content += feature_place;
    turn.features.push_back({piece.first_feature, piece.features});
  }
  return chat_->prompt(nullptr, std::span(&turn, 1));
}

PromptWriter::Tokens PromptWriter::encode(const std::vector<Piece>& pieces) {
  if (chat_) return encode_turn(pieces);
  Tokens tokens = tokenizer_.beginning();
  std::string words;
  const auto close = [&](bool keep) {
    if (words.empty()) return;
    const Tokens encoded = keep ? encode(words) : tokenizer_.encode(words);
    tokens.insert(tokens.end(), encoded.begin(), encoded.end());
    words.clear();
  };
  const bool by_parts = recipe_.tokenisation == Recipe::Tokenisation::parts;
  for (const Piece& piece : pieces) {
    words += piece.text;
    if (by_parts || piece.features > 0) close(by_parts);
    for (std::int32_t i = 0; i < piece.features; ++i)
      tokens.push_back(feature_token(piece.first_feature + i));
  }
  close(by_parts);
  return tokens;
}

Prompts PromptWriter::write(const Line& line, std::span<const std::int32_t> answers, bool supervise_all,
                            std::span<const Line> demonstrations) {
  const OtherLines wanted = lines_wanted(line);
  const std::int64_t room = settings_.max_tokens - longest_answer_;
  Tokens prompt = encode(pieces(line, wanted, demonstrations));
  Prompts prompts;
  if (std::ssize(prompt) > room) {  // As many of the nearest lines as fit, by bisection.
    std::size_t fits = 0, too_many = wanted.count();
    prompt = encode(pieces(line, {}, demonstrations));
    if (std::ssize(prompt) > room) return prompts;
    while (too_many - fits > 1) {
      const std::size_t middle = (fits + too_many) / 2;
      Tokens tried = encode(pieces(line, wanted.nearest(middle), demonstrations));
      if (std::ssize(tried) > room) {
        too_many = middle;
      } else {
        fits = middle;
        prompt = std::move(tried);
      }
    }
    prompts.lines_cut = static_cast<std::int64_t>(wanted.count() - fits);
  }

  for (const std::int32_t answer : answers) {
    const Tokens& end = answers_[static_cast<std::size_t>(answer)];
    Sequence sequence{prompt, Tokens(prompt.size(), unsupervised)};
    for (std::size_t i = 1; i < prompt.size() && supervise_all; ++i) {
      if (!is_feature(prompt[i])) sequence.labels[i] = prompt[i];
    }
    sequence.tokens.insert(sequence.tokens.end(), end.begin(), end.end());
    sequence.labels.insert(sequence.labels.end(), end.begin(), end.end());
    prompts.sequences.push_back(std::move(sequence));
  }
  return prompts;
}

std::string PromptWriter::text(const Line& line, std::span<const Line> demonstrations) const {
  std::string text;
  for (const Piece& piece : pieces(line, lines_wanted(line), demonstrations)) text += piece.text;
  return text;
}

}  // namespace chorus
