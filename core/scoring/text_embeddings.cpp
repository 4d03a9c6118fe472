#include "core/scoring/text_embeddings.h"

#include <algorithm>

#include "core/formats/finite.h"

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

// Appends the mean of the hidden states of each segment.
void append_means(const TextBatch& batch, const Model& model, Arena& arena, std::vector<float>& means) {
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
    for (const double value : sum) means.push_back(static_cast<float>(value / segment.length));
  }
}

}  // namespace

std::vector<float> embed_texts(const Model& model, const Tokenizer& tokenizer,
                               std::span<const std::string> texts, std::int64_t tokens_per_microbatch,
                               Arena& arena, const Progress& progress) {
  std::vector<float> means;
  TextBatch batch;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::vector<std::int32_t> tokens = tokenizer.beginning();
    const std::vector<std::int32_t> words = tokenizer.encode(texts[i]);
    tokens.insert(tokens.end(), words.begin(), words.end());
    if (tokens.empty()) tokens.push_back(tokenizer.eos());  // there is always a vector
    tokens.resize(std::min(tokens.size(), static_cast<std::size_t>(tokens_per_microbatch)));
    if (batch.microbatch.forest.tokens + std::ssize(tokens) > tokens_per_microbatch) {
      append_means(batch, model, arena, means);
      batch = {};
      if (progress) progress(static_cast<std::int64_t>(i), std::ssize(texts));
    }
    batch.add(tokens);
  }
  if (batch.microbatch.forest.tokens > 0) append_means(batch, model, arena, means);
  return means;
}

}  // namespace chorus
