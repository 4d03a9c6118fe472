#include "ops/cuda/attention_tiles.h"

#include <algorithm>
#include <cstring>

#include "ops/index.h"

namespace chorus {

namespace {

template <typename T>
std::int32_t count(const std::vector<T>& list) {
  return static_cast<std::int32_t>(list.size());
}

template <typename T>
void append_words(std::vector<std::int32_t>& words, const std::vector<T>& list) {
  const std::size_t before = words.size();
  words.resize(before + list.size() * (sizeof(T) / sizeof(std::int32_t)));
  if (!list.empty()) std::memcpy(words.data() + before, list.data(), list.size() * sizeof(T));
}

}  // namespace

AttentionTiles::AttentionTiles(const Forest& forest) {
  std::vector<std::int32_t> first_tile;  // of each segment, and the end
  for (std::int32_t i = 0; i < count(forest.segments); ++i) {
    const Segment& segment = forest.segments[at(i)];
    first_tile.push_back(count(tiles));
    const std::int32_t keys_begin = count(keys);
    for (const Forest::Range& range : forest.ancestor_ranges(i)) add_keys(range.begin, range.end);
    std::int32_t keys_end = count(keys);
    add_keys(segment.first, segment.first + segment.length);
    for (std::int32_t begin = 0; begin < segment.length; begin += rows_per_tile) {
      const std::int32_t rows = std::min(rows_per_tile, segment.length - begin);
      tiles.push_back({segment.first + begin, rows, keys_begin, ++keys_end, 0, 0});
    }
  }
  first_tile.push_back(count(tiles));
  add_runs_of_segments(forest, first_tile);
}

void AttentionTiles::add_keys(std::int32_t begin, std::int32_t end) {
  for (; begin < end; begin += rows_per_tile) keys.push_back({begin, std::min(rows_per_tile, end - begin)});
}

// Tiles are numbered in the order of the segments, so that the runs of siblings often join.
void AttentionTiles::add_run(const Run& run, std::int32_t runs_begin) {
  const bool joins =
      count(runs) > runs_begin && runs.back().end == run.begin && runs.back().visible == run.visible;
  if (joins) {
    runs.back().end = run.end;
  } else {
    runs.push_back(run);
  }
}

void AttentionTiles::add_runs_of_segments(const Forest& forest, const std::vector<std::int32_t>& first_tile) {
  // Per segment its descendants in ascending order, and how many of its tokens each one sees.
  std::vector<std::vector<Run>> seen_by(forest.segments.size());
  for (std::size_t i = 0; i < forest.segments.size(); ++i) {
    for (const Segment* s = &forest.segments[i]; s->parent >= 0; s = &forest.segments[at(s->parent)])
      seen_by[at(s->parent)].push_back({first_tile[i], first_tile[i + 1], s->branch});
  }
  for (std::size_t i = 0; i < forest.segments.size(); ++i) {
    for (std::int32_t t = first_tile[i]; t < first_tile[i + 1]; ++t) {
      Tile& tile = tiles[at(t)];
      tile.runs_begin = count(runs);
      add_run({t, first_tile[i + 1], tile.rows}, tile.runs_begin);
      const std::int32_t before = tile.first - forest.segments[i].first;
      for (const Run& run : seen_by[i]) {
        if (run.visible > before)
          add_run({run.begin, run.end, std::min(run.visible - before, tile.rows)}, tile.runs_begin);
      }
      tile.runs_end = count(runs);
    }
  }
}

std::vector<std::int32_t> AttentionTiles::words() const {
  std::vector<std::int32_t> words;
  append_words(words, tiles);
  append_words(words, keys);
  append_words(words, runs);
  return words;
}

}  // namespace chorus
