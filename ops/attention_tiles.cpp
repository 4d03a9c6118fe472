#include "ops/attention_tiles.h"

#include <algorithm>
#include <cstring>

#include "ops/base/index.h"
#include "ops/forest_paths.h"

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

std::int32_t tiles_of(const Ranges& ranges) {
  std::int32_t tokens = 0;
  for (const Forest::Range& range : ranges) tokens += range.end - range.begin;
  return (tokens + AttentionTiles::rows_per_tile - 1) / AttentionTiles::rows_per_tile;
}

Ranges joined(const Ranges& a, const Ranges& b) {
  Ranges all = a;
  all.insert(all.end(), b.begin(), b.end());
  return joined(std::move(all));
}

// A slice joins a group unless that would have to read half as many tiles more as the slice needs alone.
bool may_join(const Ranges& group, const Ranges& with, const Ranges& slice) {
  return 2 * (tiles_of(with) - tiles_of(group)) <= tiles_of(slice);
}

// All tokens of the ranges, a tile at a time.
template <typename F>
void for_each_tile(const Ranges& ranges, const F& f) {
  std::vector<std::int32_t> tokens;
  for (const Forest::Range& range : ranges) {
    for (std::int32_t token = range.begin; token < range.end; ++token) {
      tokens.push_back(token);
      if (count(tokens) < AttentionTiles::rows_per_tile) continue;
      f(tokens);
      tokens.clear();
    }
  }
  if (!tokens.empty()) f(tokens);
}

// Appends the list of the next group of tiles to those of all. The groups of a long sequence go on where the one before
// ended, which began at `before`, so that their lists grow with its length, not with its square. Returns where it begins.
template <typename T>
std::int32_t append_or_go_on(std::vector<T>& all, const std::vector<T>& list, std::int32_t before) {
  const std::int32_t shared = count(all) - before;
  const bool goes_on = shared <= count(list) && std::equal(all.begin() + before, all.end(), list.begin());
  all.insert(all.end(), goes_on ? list.begin() + shared : list.begin(), list.end());
  return count(all) - count(list);
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

// A slice of keys and who sees it.
struct AttentionTiles::KeyMember {
  std::vector<std::int32_t> keys;
  std::vector<ForestPaths::Sight> seen_by;

  bool all_seen_by(const std::vector<std::int32_t>& queries) const {
    const auto sight = first_behind(queries.front());
    return sight != seen_by.end() && sight->begin <= queries.front() && sight->end > queries.back() &&
           seen(*sight, queries.front()) == count(keys);
  }
  // Adds how many keys each query sees, times `unit`, to its word.
  void add_visible(const std::vector<std::int32_t>& queries, std::uint32_t unit,
                   std::vector<std::uint32_t>& words) const {
    auto sight = first_behind(queries.front());
    for (std::size_t q = 0; q < queries.size(); ++q) {
      while (sight != seen_by.end() && sight->end <= queries[q]) ++sight;
      if (sight == seen_by.end()) return;
      if (sight->begin <= queries[q]) words[q] += unit * static_cast<std::uint32_t>(seen(*sight, queries[q]));
    }
  }

 private:
  static std::int32_t seen(const ForestPaths::Sight& sight, std::int32_t query) {
    return std::min(sight.from + query - sight.begin, sight.to);
  }
  // The first one that ends behind the query.
  std::vector<ForestPaths::Sight>::const_iterator first_behind(std::int32_t query) const {
    return std::upper_bound(seen_by.begin(), seen_by.end(), query,
                            [](std::int32_t q, const ForestPaths::Sight& sight) { return q < sight.end; });
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
  add_key_groups(forest);
}

// Slices in their order, which puts relatives near each other.
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
      const bool joins = count(members) < slices_per_group && may_join(all, with, member.sees);
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
  for_each_tile(all,
                [&](const std::vector<std::int32_t>& tokens) { list.push_back(gather(members, tokens)); });
  const std::int32_t before = groups.empty() ? 0 : groups.back().keys_begin;
  Group group{};
  for (std::size_t m = 0; m < members.size(); ++m) group.slices[m] = members[m].slice;
  group.keys_begin = append_or_go_on(group_keys, list, before);
  group.keys_end = count(group_keys);
  groups.push_back(group);
}

std::int32_t AttentionTiles::gather_unless_run(const std::vector<std::int32_t>& tokens) {
  if (tokens.back() - tokens.front() + 1 == count(tokens)) return -1;
  gathered.insert(gathered.end(), tokens.begin(), tokens.end());
  return count(gathered) - count(tokens);
}

AttentionTiles::GroupKeys AttentionTiles::gather(const std::vector<Member>& members,
                                                 const std::vector<std::int32_t>& tokens) {
  GroupKeys tile{tokens.back() - count(tokens) + 1, count(tokens), -1, -1};
  tile.gathered = gather_unless_run(tokens);
  if (tile.gathered < 0) {  // nearly all tiles of a long sequence
    const Forest::Range run{tile.first, tile.first + tile.count};
    if (std::all_of(members.begin(), members.end(), [&](const Member& m) { return m.sees_all_of(run); }))
      return tile;
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

// Slices in the order in which their paths begin: those of a path follow each other, then come those that leave it. From the
// last to the first, so that the lists of a long sequence go on.
void AttentionTiles::add_key_groups(const Forest& forest) {
  struct Pending {
    std::vector<KeyMember> members;
    Ranges all;
  };
  std::vector<Pending> pending;
  const auto add = [&](KeyMember member) {
    Ranges queries;
    for (const ForestPaths::Sight& sight : member.seen_by) queries.push_back({sight.begin, sight.end});
    queries = joined(std::move(queries));
    if (!pending.empty() && count(pending.back().members) < slices_per_group) {
      Ranges with = joined(pending.back().all, queries);
      if (may_join(pending.back().all, with, queries)) {
        pending.back().all = std::move(with);
        pending.back().members.push_back(std::move(member));
        return;
      }
    }
    pending.push_back({{std::move(member)}, std::move(queries)});
  };
  const ForestPaths paths(forest);
  for (const std::vector<ForestPaths::Part>& path : paths.all()) {
    std::vector<ForestPaths::Part> slice;
    std::vector<std::int32_t> keys;
    for (ForestPaths::Part part : path) {
      while (part.begin < part.end) {
        const std::int32_t rows = std::min(part.end - part.begin, rows_per_slice - count(keys));
        slice.push_back({part.segment, part.begin, part.begin + rows});
        for (std::int32_t i = 0; i < rows; ++i)
          keys.push_back(forest.segments[at(part.segment)].first + part.begin + i);
        part.begin += rows;
        if (count(keys) < rows_per_slice) continue;
        add({std::move(keys), paths.seen_by(slice)});
        keys.clear();
        slice.clear();
      }
    }
    if (!keys.empty()) add({std::move(keys), paths.seen_by(slice)});
  }
  for (auto group = pending.rbegin(); group != pending.rend(); ++group)
    add_key_group(group->members, group->all);
}

// Tiles from the last to the first: those of the keys themselves, in which not all is seen, stand at the end.
void AttentionTiles::add_key_group(const std::vector<KeyMember>& members, const Ranges& all) {
  std::vector<std::vector<std::int32_t>> tiles_of_queries;
  for_each_tile(all, [&](const std::vector<std::int32_t>& tokens) { tiles_of_queries.push_back(tokens); });
  std::reverse(tiles_of_queries.begin(), tiles_of_queries.end());
  std::vector<GroupQueries> list;
  std::int32_t unmasked = 0;
  KeyGroup group{};
  group.masks = count(visible);
  for (const std::vector<std::int32_t>& tokens : tiles_of_queries) {
    const bool all_seen =
        unmasked == count(list) &&
        std::all_of(members.begin(), members.end(), [&](const auto& m) { return m.all_seen_by(tokens); });
    list.push_back({tokens.front(), count(tokens), gather_unless_run(tokens)});
    if (all_seen) {
      ++unmasked;
      continue;
    }
    std::vector<std::uint32_t> words(at(rows_per_tile));
    for (std::size_t m = 0; m < members.size(); ++m) members[m].add_visible(tokens, 1U << (8 * m), words);
    append_words(visible, words);
  }
  for (std::size_t m = 0; m < members.size(); ++m) {
    const std::vector<std::int32_t>& keys = members[m].keys;
    group.slices[m] = {keys.front(), count(keys), gather_unless_run(keys)};
  }
  const std::int32_t before = key_groups.empty() ? 0 : key_groups.back().queries_begin;
  group.queries_begin = append_or_go_on(group_queries, list, before);
  group.masked_begin = group.queries_begin + unmasked;
  group.queries_end = count(group_queries);
  key_groups.push_back(group);
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
  append_words(words, visible);  // first, so that kernels can read four words at a time
  append_words(words, tiles);
  append_words(words, keys);
  append_words(words, runs);
  append_words(words, groups);
  append_words(words, group_keys);
  append_words(words, key_groups);
  append_words(words, group_queries);
  append_words(words, gathered);
  append_words(words, seen);
  return words;
}

}  // namespace chorus
