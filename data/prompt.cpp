#include "data/prompt.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "data/words.h"
#include "ops/error.h"

namespace chorus {

namespace {
constexpr std::size_t most_texts_kept = 1 << 16;
}

PromptWriter::PromptWriter(Recipe recipe, const Tokenizer& tokenizer, std::vector<std::string> labels,
                           std::int64_t max_tokens)
    : recipe_(std::move(recipe)),
      tokenizer_(tokenizer),
      max_tokens_(max_tokens > 0 ? max_tokens : std::numeric_limits<std::int64_t>::max()) {
  const std::string origin = "recipe " + recipe_.name;
  for (const auto& [label, word] : recipe_.label_words) {
    require<DataError>(std::find(labels.begin(), labels.end(), label) != labels.end(), origin,
                       ": label_words names the label '", label, "', the corpus has ", joined(labels, ", "));
  }
  for (const std::string& label : labels) {
    words_.push_back(recipe_.word(label));
    Tokens answer = encode(recipe_.parts.back(), {{"label", words_.back()}});
    if (!recipe_.open_answer) answer.push_back(tokenizer_.eos());
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

std::string PromptWriter::speaker(const Dialogue& dialogue, std::size_t line) const {
  const std::string& name = dialogue.utterances[line].speaker;
  if (!recipe_.numbered_speakers) return name;
  std::set<std::string> before;
  for (const Utterance& utterance : dialogue.utterances) {
    if (utterance.speaker == name) break;
    before.insert(utterance.speaker);
  }
  return "Speaker_" + std::to_string(before.size());
}

std::map<std::string, std::string> PromptWriter::values(const Dialogue& dialogue, std::size_t line) const {
  return {{"labels", label_statement_},
          {"speaker", speaker(dialogue, line)},
          {"utterance", dialogue.utterances[line].text},
          {"index", std::to_string(line + 1)}};
}

const PromptWriter::Tokens& PromptWriter::encode(const Recipe::Part& part,
                                                 const std::map<std::string, std::string>& values) {
  if (encoded_.size() >= most_texts_kept) encoded_.clear();
  const std::string text = fill_in(part.text, values, "recipe " + recipe_.name);
  const auto [entry, is_new] = encoded_.try_emplace(text);
  if (is_new) entry->second = tokenizer_.encode(text);
  return entry->second;
}

std::vector<PromptWriter::Tokens> PromptWriter::history(const Dialogue& dialogue, std::size_t turn,
                                                        std::int64_t room, std::int64_t& lines_cut) {
  const auto part = std::find_if(recipe_.parts.begin(), recipe_.parts.end(),
                                 [](const Recipe::Part& p) { return p.kind == Recipe::PartKind::history; });
  std::size_t wanted = part == recipe_.parts.end() ? 0 : turn;
  if (recipe_.history) wanted = std::min(wanted, static_cast<std::size_t>(*recipe_.history));
  std::vector<Tokens> lines;
  for (std::size_t i = 0; i < wanted; ++i) {
    const Tokens& line = encode(*part, values(dialogue, turn - 1 - i));
    room -= std::ssize(line);
    if (room < 0) break;
    lines.push_back(line);
  }
  lines_cut = static_cast<std::int64_t>(wanted - lines.size());
  std::reverse(lines.begin(), lines.end());
  return lines;
}

Prompts PromptWriter::write(const Dialogue& dialogue, std::size_t turn, std::span<const std::int32_t> answers,
                            bool supervise_all) {
  const auto append = [](Tokens& to, const Tokens& tokens) {
    to.insert(to.end(), tokens.begin(), tokens.end());
  };
  Tokens prompt{tokenizer_.bos()}, after_history;
  bool behind_history = false;
  const auto current = values(dialogue, turn);
  for (const Recipe::Part& part : recipe_.parts) {
    if (part.kind == Recipe::PartKind::history) behind_history = true;
    if (part.kind == Recipe::PartKind::text)
      append(behind_history ? after_history : prompt, encode(part, current));
  }

  Prompts prompts;
  const std::int64_t room = max_tokens_ - std::ssize(prompt) - std::ssize(after_history) - longest_answer_;
  if (room < 0) return prompts;
  for (const Tokens& line : history(dialogue, turn, room, prompts.lines_cut)) append(prompt, line);
  append(prompt, after_history);

  for (const std::int32_t answer : answers) {
    Sequence sequence{prompt, supervise_all ? prompt : Tokens(prompt.size(), unsupervised)};
    sequence.labels[0] = unsupervised;
    append(sequence.tokens, answers_[static_cast<std::size_t>(answer)]);
    append(sequence.labels, answers_[static_cast<std::size_t>(answer)]);
    prompts.sequences.push_back(std::move(sequence));
  }
  return prompts;
}

}  // namespace chorus
