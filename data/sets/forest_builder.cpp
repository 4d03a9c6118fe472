#include "data/sets/forest_builder.h"

#include <algorithm>

#include "ops/base/error.h"
#include "ops/base/index.h"

namespace chorus {

void validate(const Sequence& sequence, std::int64_t vocabulary_size, std::int64_t feature_rows,
              const std::string& where) {
  const std::size_t length = sequence.tokens.size();
  require<DataError>(length > 0, where, ": a sample without tokens");
  require<DataError>(sequence.labels.size() == length, where, ": ", length, " tokens but ",
                     sequence.labels.size(), " labels");
  bool any = false;
  for (std::size_t i = 0; i < length; ++i) {
    const std::int32_t token = sequence.tokens[i];
    const std::int32_t label = sequence.labels[i];
    require<DataError>(token >= -feature_rows && token < vocabulary_size, where, ": token ", token,
                       " at position ", i, " is outside the vocabulary of ", vocabulary_size);
    require<DataError>(label == unsupervised || (label == token && !is_feature(token)), where, ": label ",
                       label, " at position ", i, " is neither the token there, ", token, ", nor ",
                       unsupervised);
    any = any || label != unsupervised;
  }
  require<DataError>(sequence.labels[0] == unsupervised, where,
                     ": the first token is supervised, but nothing precedes it; its label must be ",
                     unsupervised);
  require<DataError>(any, where, ": no token is supervised, so nothing can be learned from the sample");
}

std::int64_t rows_of(const Sequence& sequence) {
  return std::ssize(sequence.tokens) - (sequence.labels.back() == unsupervised ? 0 : 1);
}

void ForestBuilder::add(const Sequence& sequence) {
  const std::span<const std::int32_t> path(sequence.tokens.data(), at(rows_of(sequence)));
  std::vector<std::int32_t> rows;
  rows.reserve(path.size());
  PathEnd end = follow(path, rows);
  if (rows.size() < path.size()) end = grow(end, path.subspan(rows.size()), rows);

  const auto sample = static_cast<std::int32_t>(path_ends_.size());
  for (std::size_t i = 1; i < sequence.labels.size(); ++i) {
    if (sequence.labels[i] != unsupervised) targets_.push_back({rows[i - 1], sequence.labels[i], sample});
  }
  path_ends_.push_back(end);
}

PathEnd ForestBuilder::follow(std::span<const std::int32_t> path, std::vector<std::int32_t>& rows) const {
  PathEnd end{-1, 0};
  while (rows.size() < path.size()) {
    const std::int32_t token = path[rows.size()];
    if (end.segment >= 0) {
      const Segment& segment = forest_.segments[at(end.segment)];
      const std::int32_t row = segment.first + end.length;
      if (end.length < segment.length && tokens_[at(row)] == token) {
        rows.push_back(row);
        ++end.length;
        continue;
      }
    }
    const std::int32_t next = child(end, token);
    if (next < 0) break;
    rows.push_back(forest_.segments[at(next)].first);
    end = {next, 1};
  }
  return end;
}

std::int32_t ForestBuilder::child(PathEnd end, std::int32_t token) const {
  for (const std::int32_t index : children_[at(end.segment + 1)]) {
    const Segment& segment = forest_.segments[at(index)];
    if (segment.branch == end.length && tokens_[at(segment.first)] == token) return index;
  }
  return -1;
}

PathEnd ForestBuilder::grow(PathEnd end, std::span<const std::int32_t> rest,
                            std::vector<std::int32_t>& rows) {
  const auto index = static_cast<std::int32_t>(forest_.segments.size());
  const auto length = static_cast<std::int32_t>(rest.size());
  forest_.segments.push_back({forest_.tokens, length, end.segment, end.length});
  tokens_.insert(tokens_.end(), rest.begin(), rest.end());
  for (std::int32_t i = 0; i < length; ++i) rows.push_back(forest_.tokens + i);
  forest_.tokens += length;
  children_[at(end.segment + 1)].push_back(index);
  children_.emplace_back();
  return {index, length};
}

}  // namespace chorus
