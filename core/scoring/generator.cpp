#include "core/scoring/generator.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/formats/finite.h"
#include "ops/base/index.h"
#include "ops/base/random.h"
#include "ops/transfer.h"
#include "parallel/host_values.h"

namespace chorus {

namespace {

// Prompts that are decoded together, each in one row of the caches.
class Decoding {
 public:
  // `numbers` are those of the prompts among all. What is cached may be of other prompts, of one sequence alone.
  Decoding(const Model& model, std::span<const std::vector<std::int32_t>> prompts,
           std::span<const std::int64_t> numbers, TextCaches& caches, const GenerateOptions& options,
           Arena& arena)
      : model_(model),
        prompts_(prompts),
        numbers_(numbers),
        caches_(caches),
        options_(options),
        arena_(arena),
        answers_(prompts.size()),
        ended_(prompts.size(), false) {}

  std::vector<std::vector<std::int32_t>> run() {
    read_prompts();
    for (std::int64_t i = 1; i < options_.max_new_tokens && !all_ended(); ++i) decode();
    return std::move(answers_);
  }

 private:
  bool all_ended() const {
    return std::all_of(ended_.begin(), ended_.end(), [](bool ended) { return ended; });
  }

  bool is_end(std::int32_t token) const {
    const std::vector<std::int32_t>& eos = model_.config().eos;
    return std::ranges::count(eos, token) > 0 || std::ranges::count(options_.ends, token) > 0;
  }

  std::string name_of(std::size_t p) const {
    return options_.name_of_prompt ? options_.name_of_prompt(numbers_[p])
                                   : fmt::format("prompt {}", numbers_[p]);
  }

  // What of each prompt is not cached yet, at least its last token, whose scores are needed.
  void read_prompts() {
    std::vector<std::span<const std::int32_t>> unread;
    bool decoding = false;
    for (std::size_t p = 0; p < prompts_.size(); ++p) {
      const std::span<const std::int32_t> prompt(prompts_[p]);
      std::vector<std::int32_t>& text = caches_.texts[p];
      const auto apart = std::ranges::mismatch(text, prompt.first(prompt.size() - 1)).in1;
      text.erase(apart, text.end());
      decoding = decoding || !text.empty();
      unread.push_back(prompt.subspan(text.size()));
    }
    read(unread, decoding);
  }

  // One more token of every prompt; those that have ended go on unread, which keeps the shapes.
  void decode() {
    std::vector<std::span<const std::int32_t>> last;
    for (std::size_t p = 0; p < prompts_.size(); ++p) {
      std::vector<std::int32_t>& text = caches_.texts[p];
      if (std::ssize(text) == caches_.length) text.pop_back();
      last.emplace_back(&last_[p], 1);
    }
    read(last, true);
  }

  // Computes these tokens of each sequence behind those that are cached, and chooses what follows. Without `decoding` they
  // see only each other.
  void read(std::span<const std::span<const std::int32_t>> texts, bool decoding) {
    MicroBatch batch;
    std::vector<std::int32_t> cache_rows, positions, lengths;
    for (std::size_t p = 0; p < texts.size(); ++p) {
      const auto count = static_cast<std::int32_t>(texts[p].size());
      const auto cached = static_cast<std::int32_t>(caches_.texts[p].size());
      batch.forest.segments.push_back({batch.forest.tokens, count, -1, 0});
      batch.forest.tokens += count;
      batch.tokens.insert(batch.tokens.end(), texts[p].begin(), texts[p].end());
      for (std::int32_t position = cached; position < cached + count; ++position) {
        positions.push_back(position);
        lengths.push_back(position + 1);
        cache_rows.push_back(
            static_cast<std::int32_t>(static_cast<std::int64_t>(p) * caches_.length + position));
      }
      batch.targets.push_back({batch.forest.tokens - 1, 0, 0});
      for (const std::int32_t token : texts[p]) {
        if (!is_feature(token)) continue;
        require(options_.features != nullptr, "a prompt with features, and no features");
        const std::span<const float> values = options_.features->row(feature_row(token));
        batch.features.insert(batch.features.end(), values.begin(), values.end());
      }
    }
    batch.token_ids.resize(batch.tokens.size());
    {
      Arena::Scope scope(arena_);
      DeviceBatch device = model_.upload(batch, arena_);
      CacheAccess access;
      access.rows = upload_integers(model_.backend(), arena_, cache_rows);
      if (decoding) {
        device.positions = upload_integers(model_.backend(), arena_, positions);
        access.decoding = true;
        access.lengths = upload_integers(model_.backend(), arena_, lengths);
      }
      const std::vector<float> logits = model_.logits(device, access, caches_.layers, arena_);
      for (std::size_t p = 0; p < texts.size(); ++p)
        caches_.texts[p].insert(caches_.texts[p].end(), texts[p].begin(), texts[p].end());
      take_next(logits);
    }
  }

  std::int32_t choose(std::span<const float> logits, std::int64_t prompt) const {
    const auto best = std::ranges::max_element(logits);
    if (options_.temperature == 0) return static_cast<std::int32_t>(best - logits.begin());
    std::vector<double> sums;  // of the probabilities so far, but for their common factor
    double sum = 0;
    for (const float logit : logits)
      sums.push_back(sum += std::exp((static_cast<double>(logit) - *best) / options_.temperature));
    const std::uint32_t word =
        random_word(options_.seed, RandomUse::decode, static_cast<std::uint32_t>(prompt),
                    static_cast<std::uint64_t>(steps_));
    const auto drawn = std::ranges::upper_bound(sums, uniform(word) * sum);
    return static_cast<std::int32_t>(drawn - sums.begin());
  }

  void take_next(const std::vector<float>& logits) {
    const std::int64_t vocabulary = model_.config().vocabulary_size;
    const std::int64_t pieces = options_.pieces > 0 ? options_.pieces : vocabulary;
    last_.resize(prompts_.size());
    ++steps_;
    for (std::size_t p = 0; p < prompts_.size(); ++p) {
      const auto row = logits.begin() + static_cast<std::int64_t>(p) * vocabulary;
      if (!ended_[p] && !all_finite({row, row + vocabulary}))
        throw DataError(fmt::format("{}: the scores of the next token are not finite: {}", name_of(p),
                                    not_finite_advice));
      last_[p] = choose({row, row + pieces}, numbers_[p]);
      if (is_end(last_[p])) ended_[p] = true;
      if (!ended_[p]) answers_[p].push_back(last_[p]);
      if (std::ssize(prompts_[p]) + std::ssize(answers_[p]) >= caches_.length) ended_[p] = true;
    }
  }

  const Model& model_;
  std::span<const std::vector<std::int32_t>> prompts_;
  std::span<const std::int64_t> numbers_;
  TextCaches& caches_;
  const GenerateOptions& options_;
  Arena& arena_;
  std::vector<std::vector<std::int32_t>> answers_;
  std::vector<bool> ended_;
  std::vector<std::int32_t> last_;
  std::int64_t steps_ = 0;  // new tokens per prompt so far
};

// Prompts of one data rank, in the order in which they are decoded.
std::vector<std::int64_t> own_prompts(std::int64_t prompts, const Communicator& data) {
  std::vector<std::int64_t> own;
  for (std::int64_t p = data.rank(); p < prompts; p += data.size()) own.push_back(p);
  return own;
}

// Gives every data rank the answers of all: each fills its rows of an array of zeros.
void share_answers(std::vector<std::vector<std::int32_t>>& answers, std::int64_t max_new_tokens,
                   const Model& model, Arena& arena) {
  if (model.groups().data.size() == 1) return;
  const std::int64_t width = max_new_tokens + 1;
  std::vector<std::int32_t> table(at(std::ssize(answers) * width));
  for (std::size_t p = 0; p < answers.size(); ++p) {
    const auto row = table.begin() + static_cast<std::int64_t>(p) * width;
    *row = static_cast<std::int32_t>(answers[p].size());
    std::copy(answers[p].begin(), answers[p].end(), row + 1);
  }
  sum_over_ranks(std::span(table), model.groups().data, model.backend(), arena);
  for (std::size_t p = 0; p < answers.size(); ++p) {
    const auto row = table.begin() + static_cast<std::int64_t>(p) * width;
    answers[p].assign(row + 1, row + 1 + *row);
  }
}

}  // namespace

AnswerEnds answer_ends(const BaseModel& base, const Tokenizer& tokenizer) {
  const std::vector<std::int32_t>& eos = base.config().eos;
  AnswerEnds ends{read_generation_ends(base.folder(), base.config().vocabulary_size), ""};
  const auto known = [&](const std::vector<std::int32_t>& tokens) {
    return std::ranges::count(tokens, tokenizer.eos()) > 0;
  };
  if (!known(eos) && !known(ends.tokens)) {
    ends.contradiction = fmt::format(
        "{}: config.json ends texts with {}, the tokenizer with {} ({}): answers end with any of "
        "them",
        base.folder().string(), eos.empty() ? "no token" : fmt::format("token {}", fmt::join(eos, " or ")),
        tokenizer.eos(), tokenizer.token(tokenizer.eos()));
  }
  ends.tokens.push_back(tokenizer.eos());
  return ends;
}

GenerationLimits generation_limits(std::span<const std::vector<std::int32_t>> prompts,
                                   const GenerateOptions& options, const ModelConfig& model) {
  GenerationLimits limits;
  std::int64_t longest = 1;
  for (const auto& prompt : prompts) longest = std::max<std::int64_t>(longest, std::ssize(prompt));
  limits.sequences = std::min(options.sequences_at_once, std::max<std::int64_t>(1, std::ssize(prompts)));
  limits.prompt_tokens = longest * limits.sequences;
  limits.length = std::min(model.longest_text(), longest + options.max_new_tokens);
  require<DataError>(longest < limits.length, "a prompt of ", longest,
                     " tokens leaves no room for an answer: the base model has ", model.bound_of_texts());
  return limits;
}

std::vector<std::vector<std::int32_t>> generate(const Model& model,
                                                std::span<const std::vector<std::int32_t>> prompts,
                                                const GenerateOptions& options, Arena& arena,
                                                const Progress& progress,
                                                const StopRequested& stop_requested) {
  const GenerationLimits limits = generation_limits(prompts, options, model.config());
  std::vector<std::vector<std::int32_t>> answers(prompts.size());
  const std::vector<std::int64_t> own = own_prompts(std::ssize(prompts), model.groups().data);
  StopAgreement agreement(stop_requested, model.groups(), model.backend(), arena);
  for (std::size_t begin = 0; begin < own.size() && !agreement.stops();
       begin += at(options.sequences_at_once)) {
    const std::size_t end = std::min(own.size(), begin + at(options.sequences_at_once));
    std::vector<std::vector<std::int32_t>> together;
    for (std::size_t i = begin; i < end; ++i) together.push_back(prompts[at(own[i])]);
    Arena::Scope scope(arena);
    TextCaches caches(model, std::ssize(together), limits.length, arena);
    auto found =
        Decoding(model, together, std::span(own).subspan(begin, end - begin), caches, options, arena).run();
    for (std::size_t i = begin; i < end; ++i) answers[at(own[i])] = std::move(found[i - begin]);
    if (progress) progress(static_cast<std::int64_t>(end), std::ssize(own));
  }
  agreement.conclude();
  share_answers(answers, options.max_new_tokens, model, arena);
  return answers;
}

std::vector<std::int32_t> CachedText::answer(std::span<const std::int32_t> prompt,
                                             const GenerateOptions& options,
                                             const StopRequested& stop_requested) {
  require<DataError>(std::ssize(prompt) < caches_.length, "a prompt of ", prompt.size(),
                     " tokens leaves no room for an answer in a text of ", caches_.length);
  StopAgreement agreement(stop_requested, model_.groups(), model_.backend(), arena_);
  std::vector<std::vector<std::int32_t>> answers(1);
  if (!agreement.stops()) {
    const std::vector<std::vector<std::int32_t>> prompts{{prompt.begin(), prompt.end()}};
    const std::int64_t number = 0;
    answers = Decoding(model_, prompts, std::span(&number, 1), caches_, options, arena_).run();
  }
  agreement.conclude();
  return answers[0];
}

}  // namespace chorus
