#include "ops/attention_tiles.h"

#include <algorithm>
#include <cstring>

#include "ops/base/index.h"

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

using Ranges = std::vector<Forest::Range>;  // apart and ascending

std::int32_t tiles_of(const Ranges& ranges) {
  std::int32_t tokens = 0;
  for (const Forest::Range& range : ranges) tokens += range.end - range.begin;
  return (tokens + AttentionTiles::rows_per_tile - 1) / AttentionTiles::rows_per_tile;
}

Ranges joined(const Ranges& a, const Ranges& b) {
  Ranges all = a, result;
  all.insert(all.end(), b.begin(), b.end());
  std::sort(all.begin(), all.end(), [](const auto& x, const auto& y) { return x.begin < y.begin; });
  for (const Forest::Range& range : all) {
    if (!result.empty() && range.begin <= result.back().end) {
      result.back().end = std::max(result.back().end, range.end);
    } else {
      result.push_back(range);
    }
  }
  return result;
}

}  // namespace

// A slice and all that its last row sees.
struct AttentionTiles::Member {
  Slice slice;
  Ranges sees;

  std::int32_t last() const { return slice.first + slice.rows - 1; }
  bool sees_token(std::int32_t token) const { return end_of_seen(token) > token; }
  // Of the tokens that are not after the slice.
  bool sees_all_of(const Forest::Range& tokens) const {
    return tokens.begin > last() || end_of_seen(tokens.begin) >= std::min(tokens.end, last() + 1);
  }

 private:
  // Of the range that begins at or before the token.
  std::int32_t end_of_seen(std::int32_t token) const {
    const auto after =
        std::upper_bound(sees.begin(), sees.end(), token,
                         [](std::int32_t t, const Forest::Range& range) { return t < range.begin; });
    return after == sees.begin() ? 0 : (after - 1)->end;
  }
};

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
  add_groups(forest);
}

// Slices in their order, which puts relatives near each other. One joins the group before it unless that would have to
// read half as many tiles of keys more as the slice needs alone.
void AttentionTiles::add_groups(const Forest& forest) {
  std::vector<Member> members;
  Ranges all;
  const auto finish = [&] {
    if (!members.empty()) add_group(members, all);
    members.clear();
    all.clear();
  };
  for (std::int32_t i = 0; i < count(forest.segments); ++i) {
    const Segment& segment = forest.segments[at(i)];
    const Ranges ancestors = forest.ancestor_ranges(i);
    for (std::int32_t begin = 0; begin < segment.length; begin += rows_per_slice) {
      Member member{{segment.first + begin, std::min(rows_per_slice, segment.length - begin)}, ancestors};
      member.sees.push_back({segment.first, member.last() + 1});
      const Ranges with = joined(all, member.sees);
      const bool joins =
          count(members) < slices_per_group && 2 * (tiles_of(with) - tiles_of(all)) <= tiles_of(member.sees);
      if (joins || members.empty()) {
        all = with;
      } else {
        finish();
        all = member.sees;
      }
      members.push_back(std::move(member));
    }
  }
  finish();
}

void AttentionTiles::add_group(const std::vector<Member>& members, const Ranges& all) {
  std::vector<GroupKeys> list;
  std::vector<std::int32_t> tokens;
  for (const Forest::Range& range : all) {
    for (std::int32_t token = range.begin; token < range.end; ++token) {
      tokens.push_back(token);
      if (count(tokens) < rows_per_tile) continue;
      list.push_back(gather(members, tokens));
      tokens.clear();
    }
  }
  if (!tokens.empty()) list.push_back(gather(members, tokens));
  // The groups of a long sequence go on where the one before ended, so that their lists grow with its length, not
  // with its square.
  const std::int32_t begin = groups.empty() ? 0 : groups.back().keys_begin,
                     before = count(group_keys) - begin;
  const bool goes_on =
      before <= count(list) && std::equal(group_keys.begin() + begin, group_keys.end(), list.begin());
  group_keys.insert(group_keys.end(), goes_on ? list.begin() + before : list.begin(), list.end());
  Group group{};
  for (std::size_t m = 0; m < members.size(); ++m) group.slices[m] = members[m].slice;
  group.keys_end = count(group_keys);
  group.keys_begin = group.keys_end - count(list);
  groups.push_back(group);
}

AttentionTiles::GroupKeys AttentionTiles::gather(const std::vector<Member>& members,
                                                 const std::vector<std::int32_t>& tokens) {
  GroupKeys tile{tokens.back() - count(tokens) + 1, count(tokens), -1, -1};
  if (tokens.front() == tile.first) {  // nearly all tiles of a long sequence
    const Forest::Range run{tile.first, tile.first + tile.count};
    if (std::all_of(members.begin(), members.end(), [&](const Member& m) { return m.sees_all_of(run); }))
      return tile;
  } else {
    tile.gathered = count(gathered);
    gathered.insert(gathered.end(), tokens.begin(), tokens.end());
  }
  std::vector<std::uint32_t> bits(2 * slices_per_group);
  bool all_seen = true;
  for (std::size_t m = 0; m < members.size(); ++m) {
    for (std::size_t c = 0; c < tokens.size(); ++c) {
      const bool sees = members[m].sees_token(tokens[c]);
      if (sees) bits[2 * m + c / 32] |= std::uint32_t{1} << (c % 32);
      all_seen = all_seen && (sees || tokens[c] > members[m].last());
    }
  }
  if (!all_seen) {
    tile.seen = count(seen);
    append_words(seen, bits);
  }
  return tile;
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
  append_words(words, groups);
  append_words(words, group_keys);
  append_words(words, gathered);
  append_words(words, seen);
  return words;
}

}  // namespace chorus
