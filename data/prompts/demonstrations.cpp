#include "data/prompts/demonstrations.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <unordered_map>

#include "data/text/text.h"
#include "ops/base/error.h"
#include "ops/base/random.h"

namespace chorus {

namespace {

class Bm25 : public Similarity {
 public:
  explicit Bm25(std::span<const std::string> pool) : lengths_(pool.size()) {
    for (std::size_t i = 0; i < pool.size(); ++i) {
      std::map<std::string, float> counts;
      for (const std::string& word : words_of(pool[i])) counts[word] += 1;
      for (const auto& [word, count] : counts) {
        postings_[word].push_back({i, count});
        lengths_[i] += count;
      }
    }
    mean_length_ = std::accumulate(lengths_.begin(), lengths_.end(), 0.0F) /
                   static_cast<float>(std::max<std::size_t>(pool.size(), 1));
  }

  std::vector<float> to(const std::string& text) const override {
    constexpr float k1 = 1.2F, b = 0.75F;
    std::vector<float> scores(lengths_.size());
    for (const std::string& word : words_of(text)) {
      const auto found = postings_.find(word);
      if (found == postings_.end()) continue;
      const auto all = static_cast<float>(lengths_.size()), with = static_cast<float>(found->second.size());
      const float rarity = std::log(1 + (all - with + 0.5F) / (with + 0.5F));
      for (const auto& [i, count] : found->second) {
        scores[i] += rarity * count * (k1 + 1) / (count + k1 * (1 - b + b * lengths_[i] / mean_length_));
      }
    }
    return scores;
  }

 private:
  struct Posting {
    std::size_t line;
    float count;
  };
  std::unordered_map<std::string, std::vector<Posting>> postings_;
  std::vector<float> lengths_;  // in words
  float mean_length_ = 0;
};

class Cosine : public Similarity {
 public:
  Cosine(std::span<const std::string> pool, std::vector<std::string> texts, const EmbedTexts& embed) {
    std::vector<std::string> distinct(pool.begin(), pool.end());
    distinct.insert(distinct.end(), texts.begin(), texts.end());
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    vectors_ = embed(distinct);
    width_ = vectors_.size() / distinct.size();
    for (std::size_t i = 0; i < distinct.size(); ++i) {
      normalise(std::span(vectors_).subspan(i * width_, width_));
      rows_[distinct[i]] = i;
    }
    for (const std::string& text : pool) pool_.push_back(rows_.at(text));
  }

  std::vector<float> to(const std::string& text) const override {
    const float* asked = vectors_.data() + rows_.at(text) * width_;
    std::vector<float> scores;
    scores.reserve(pool_.size());
    for (const std::size_t row : pool_) {
      scores.push_back(product(asked, vectors_.data() + row * width_));
    }
    return scores;
  }

 private:
  // In lanes, so that the compiler may use vector instructions.
  float product(const float* a, const float* b) const {
    constexpr std::size_t lanes = 16;
    std::array<float, lanes> sums{};
    std::size_t d = 0;
    for (; d + lanes <= width_; d += lanes) {
      for (std::size_t lane = 0; lane < lanes; ++lane) sums[lane] += a[d + lane] * b[d + lane];
    }
    for (; d < width_; ++d) sums[0] += a[d] * b[d];
    return std::accumulate(sums.begin(), sums.end(), 0.0F);
  }
  static void normalise(std::span<float> vector) {
    float squares = 0;
    for (const float x : vector) squares += x * x;
    require<DataError>(std::isfinite(squares), "the base gives a text a vector that is not finite");
    if (squares > 0) {
      for (float& x : vector) x /= std::sqrt(squares);
    }
  }

  std::vector<float> vectors_;  // [distinct texts, width]
  std::size_t width_ = 0;
  std::unordered_map<std::string, std::size_t> rows_;
  std::vector<std::size_t> pool_;  // rows
};

// The lines in an order that depends on the seed alone.
void shuffle(std::vector<Line>& lines, std::uint64_t seed) {
  for (std::size_t i = lines.size(); i > 1; --i) {
    const std::uint64_t word = random_word(seed, RandomUse::selection, 0, i - 1);
    std::swap(lines[i - 1], lines[(word * i) >> 32]);
  }
}

// As many lines of each label as the rarest has; the first ones.
std::vector<Line> balanced(const std::vector<Line>& lines) {
  std::map<std::string, std::size_t> total, kept;
  for (const Line& line : lines) ++total[line.utterance().label];
  std::size_t least = std::numeric_limits<std::size_t>::max();
  for (const auto& [label, count] : total) least = std::min(least, count);
  std::vector<Line> result;
  for (const Line& line : lines) {
    if (kept[line.utterance().label]++ < least) result.push_back(line);
  }
  return result;
}

}  // namespace

std::unique_ptr<Similarity> make_bm25(std::span<const std::string> pool) {
  return std::make_unique<Bm25>(pool);
}

std::unique_ptr<Similarity> make_cosine(std::span<const std::string> pool, std::vector<std::string> texts,
                                        const EmbedTexts& embed) {
  return std::make_unique<Cosine>(pool, std::move(texts), embed);
}

Demonstrations::Demonstrations(const DemonstrationOptions& options, std::vector<Line> pool,
                               std::vector<std::string> texts, const EmbedTexts& embed)
    : options_(options), pool_(std::move(pool)) {
  require<DataError>(!pool_.empty(), "--demonstrations needs a train split to take examples from");
  if (options.balanced || options.retrieval == Retrieval::fixed) shuffle(pool_, options.seed);
  if (options.balanced) pool_ = balanced(pool_);
  std::vector<std::string> pool_texts;
  for (const Line& line : pool_) pool_texts.push_back(line.utterance().text);
  if (options.retrieval == Retrieval::bm25) similarity_ = make_bm25(pool_texts);
  if (options.retrieval == Retrieval::embedding) {
    require<ConfigurationError>(static_cast<bool>(embed),
                                "--retrieval embedding needs a base to make the vectors");
    similarity_ = make_cosine(pool_texts, std::move(texts), embed);
  }
}

std::vector<Line> Demonstrations::find(const Line& line, bool training) const {
  if (options_.retrieval == Retrieval::fixed) return fixed_for(line);
  const std::vector<float> scores = similarity_->to(line.utterance().text);
  const bool same_label = training && options_.labels == DemonstrationLabels::same_in_training;
  std::vector<std::size_t> allowed;
  for (std::size_t i = 0; i < pool_.size(); ++i) {
    if (pool_[i].dialogue == line.dialogue) continue;
    if (same_label && pool_[i].utterance().label != line.utterance().label) continue;
    allowed.push_back(i);
  }
  const std::size_t count = std::min(allowed.size(), static_cast<std::size_t>(options_.count));
  std::partial_sort(
      allowed.begin(), allowed.begin() + static_cast<std::ptrdiff_t>(count), allowed.end(),
      [&](std::size_t a, std::size_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  std::vector<Line> found;
  for (std::size_t i = count; i-- > 0;) found.push_back(pool_[allowed[i]]);
  return found;
}

std::vector<Line> Demonstrations::fixed_for(const Line& line) const {
  std::map<std::string, std::int64_t> taken;
  std::vector<Line> found;
  for (const Line& candidate : pool_) {
    if (candidate.dialogue == line.dialogue || taken[candidate.utterance().label] >= options_.count) continue;
    ++taken[candidate.utterance().label];
    found.push_back(candidate);
  }
  return found;
}

}  // namespace chorus
