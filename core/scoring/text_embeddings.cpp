#include "core/scoring/text_embeddings.h"

#include <algorithm>

#include "core/formats/finite.h"
#include "parallel/host_values.h"

namespace chorus {

namespace {

// Texts that are computed at once, each a tree of one segment.
struct TextBatch {
  MicroBatch microbatch;

  void add(const std::vector<std::int32_t>& tokens) {
    const auto length = static_cast<std::int32_t>(tokens.size());
    microbatch.forest.segments.push_back({microbatch.forest.tokens, length, -1, 0});
    for (std::int32_t i = 0; i < length; ++i)
      microbatch.targets.push_back({microbatch.forest.tokens + i, 0, 0});
    microbatch.forest.tokens += length;
    microbatch.tokens.insert(microbatch.tokens.end(), tokens.begin(), tokens.end());
    microbatch.token_ids.resize(microbatch.tokens.size());
  }
};

// Writes the mean of the hidden states of each segment, and returns where the next begins.
float* write_means(const TextBatch& batch, const Model& model, Arena& arena, float* means) {
  Arena::Scope scope(arena);
  const DeviceBatch device = model.upload(batch.microbatch, arena);
  const std::vector<float> hidden = model.hidden_states(device, arena);
  require<DataError>(all_finite(hidden), "the vectors of lines are not finite: ", not_finite_advice);
  const auto width = static_cast<std::size_t>(model.config().hidden_size);
  for (const Segment& segment : batch.microbatch.forest.segments) {
    std::vector<double> sum(width);
    const float* row = hidden.data() + static_cast<std::size_t>(segment.first) * width;
    for (std::size_t i = 0; i < static_cast<std::size_t>(segment.length) * width; ++i)
      sum[i % width] += static_cast<double>(row[i]);
    for (const double value : sum) *means++ = static_cast<float>(value / segment.length);
  }
  return means;
}

// Of at most so many; there is always one.
std::vector<std::int32_t> tokens_of(const std::string& text, const Tokenizer& tokenizer, std::int64_t most) {
  std::vector<std::int32_t> tokens = tokenizer.beginning();
  const std::vector<std::int32_t> words = tokenizer.encode(text);
  tokens.insert(tokens.end(), words.begin(), words.end());
  if (tokens.empty()) tokens.push_back(tokenizer.eos());
  tokens.resize(std::min(tokens.size(), static_cast<std::size_t>(most)));
  return tokens;
}

// The texts in their order, in batches of at most so many tokens.
std::vector<TextBatch> batches_of(std::span<const std::string> texts, const Tokenizer& tokenizer,
                                  std::int64_t most_tokens) {
  std::vector<TextBatch> batches;
  for (const std::string& text : texts) {
    const std::vector<std::int32_t> tokens = tokens_of(text, tokenizer, most_tokens);
    if (batches.empty() || batches.back().microbatch.forest.tokens + std::ssize(tokens) > most_tokens)
      batches.emplace_back();
    batches.back().add(tokens);
  }
  return batches;
}

// Each row is written by one rank of the data group, and zero on the others. In parts, for which the arena has room.
void share(std::vector<float>& means, const Model& model, std::int64_t tokens_per_microbatch, Arena& arena) {
  const auto part = static_cast<std::size_t>(std::max<std::int64_t>(tokens_per_microbatch / 4, 1) *
                                             model.config().hidden_size);
  for (std::size_t begin = 0; begin < means.size(); begin += part) {
    const std::size_t count = std::min(part, means.size() - begin);
    sum_over_ranks(std::span(means).subspan(begin, count), model.groups().data, model.backend(), arena);
  }
}

}  // namespace

std::vector<float> embed_texts(const Model& model, const Tokenizer& tokenizer,
                               std::span<const std::string> texts, std::int64_t tokens_per_microbatch,
                               Arena& arena, const Progress& progress, const StopRequested& stop_requested) {
  const std::size_t ranks = static_cast<std::size_t>(model.groups().data.size()),
                    rank = static_cast<std::size_t>(model.groups().data.rank());
  const std::size_t begin = texts.size() * rank / ranks, end = texts.size() * (rank + 1) / ranks;
  const auto batches = batches_of(texts.subspan(begin, end - begin), tokenizer, tokens_per_microbatch);
  const auto width = static_cast<std::size_t>(model.config().hidden_size);
  std::vector<float> means(texts.size() * width);
  float* next = means.data() + begin * width;
  StopAgreement agreement(stop_requested, model.groups(), model.backend(), arena);
  for (std::size_t i = 0; i < batches.size() && !agreement.stops(); ++i) {
    next = write_means(batches[i], model, arena, next);
    if (progress) progress(static_cast<std::int64_t>(i) + 1, std::ssize(batches));
  }
  agreement.conclude();
  share(means, model, tokens_per_microbatch, arena);
  return means;
}

}  // namespace chorus
