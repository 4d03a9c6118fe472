#include "data/sets/split_writer.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "data/sets/data_split.h"

namespace chorus {

namespace {

// Until it is known how many there are.
std::filesystem::path unnumbered(const std::filesystem::path& folder, const std::string& split,
                                 std::int64_t number) {
  return folder / fmt::format("{}-{:05}.h5", split, number);
}

}  // namespace

SplitWriter::SplitWriter(std::filesystem::path folder, const DatasetOrigin& origin, std::int64_t shard_bytes)
    : folder_(std::move(folder)), split_(origin.split), shard_bytes_(shard_bytes), builder_(origin) {}

std::int32_t SplitWriter::add_utterance(UtteranceReference utterance) {
  end_shard_if_full();
  const std::array widths{utterance.dialogue.size(), utterance.id.size(), utterance.speaker.size(),
                          utterance.text.size()};
  for (std::size_t i = 0; i < widths.size(); ++i) widths_[i] = std::max(widths_[i], widths[i]);
  return builder_.add_utterance(std::move(utterance));
}

void SplitWriter::set_features(FeatureTable features) { builder_.set_features(std::move(features)); }

std::int32_t SplitWriter::add_feature_rows(std::span<const float> rows) {
  return builder_.add_feature_rows(rows);
}

void SplitWriter::add_group(std::span<const GroupSample> samples, const std::string& where) {
  end_shard_if_full();
  builder_.add_group(samples, where);
  full_ = bytes() >= shard_bytes_ && builder_.so_far().features.width == 0;
}

SplitCounts SplitWriter::finish() {
  if (!builder_.so_far().samples.empty()) write(true);
  for (std::int64_t number = 1; number <= shards_; ++number)
    std::filesystem::rename(unnumbered(folder_, split_, number),
                            folder_ / shard_name(split_, number, shards_));
  return counts_;
}

std::int64_t SplitWriter::bytes() const {
  const Dataset& data = builder_.so_far();
  const std::size_t widths = std::accumulate(widths_.begin(), widths_.end(), std::size_t{0});
  const auto count = [](const auto& values, std::size_t bytes) {
    return static_cast<std::int64_t>(values.size() * bytes);
  };
  return count(data.tokens, 4) + count(data.segments, 12) + count(data.samples, 28) + count(data.targets, 8) +
         count(data.tree_tokens, 24) + count(data.utterances, 8 + widths);
}

void SplitWriter::end_shard_if_full() {
  if (std::exchange(full_, false)) write(false);
}

void SplitWriter::write(bool last) {
  Dataset data = builder_.finish();
  widths_ = {};
  counts_.samples += std::ssize(data.samples);
  counts_.trees += data.trees();
  counts_.tokens += std::ssize(data.tokens);
  counts_.unshared_tokens += data.unshared_tokens();
  counts_.supervised_tokens += std::ssize(data.targets);
  const bool whole = last && shards_ == 0;
  if (!whole) data.shard = {++shards_, last, former_};
  const std::filesystem::path file =
      whole ? folder_ / (split_ + ".h5") : unnumbered(folder_, split_, shards_);
  data.write(file.string());
  if (!whole && !last) former_ = hash_of_shard(file);
}

}  // namespace chorus
