#include "ops/forest_paths.h"

#include <algorithm>
#include <utility>

#include "ops/base/index.h"

namespace chorus {

Ranges joined(Ranges ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  Ranges result;
  for (const Forest::Range& range : ranges) {
    if (!result.empty() && range.begin <= result.back().end) {
      result.back().end = std::max(result.back().end, range.end);
    } else {
      result.push_back(range);
    }
  }
  return result;
}

ForestPaths::ForestPaths(const Forest& forest)
    : forest_(forest), children_(forest.segments.size()), tokens_(forest.segments.size()) {
  const auto segments = static_cast<std::int32_t>(forest.segments.size());
  for (std::int32_t i = 0; i < segments; ++i) {
    const std::int32_t parent = forest.segments[at(i)].parent;
    if (parent >= 0) children_[at(parent)].push_back(i);
  }
  for (std::int32_t i = segments - 1; i >= 0; --i) {
    const Segment& segment = forest.segments[at(i)];
    std::vector<std::int32_t>& children = children_[at(i)];
    Ranges tokens{{segment.first, segment.first + segment.length}};
    for (const std::int32_t child : children)
      tokens.insert(tokens.end(), tokens_[at(child)].begin(), tokens_[at(child)].end());
    tokens_[at(i)] = joined(std::move(tokens));
    std::stable_sort(children.begin(), children.end(),
                     [&](std::int32_t a, std::int32_t b) { return branch(a) < branch(b); });
  }
}

std::vector<std::vector<ForestPaths::Part>> ForestPaths::all() const {
  std::vector<std::vector<Part>> paths;
  std::vector<Part> begins;
  for (std::size_t i = 0; i < forest_.segments.size(); ++i)
    if (forest_.segments[i].parent < 0) begins.push_back({static_cast<std::int32_t>(i), 0, 0});
  while (!begins.empty()) {
    Part part = begins.back();
    begins.pop_back();
    paths.emplace_back();
    while (part.segment >= 0) {
      const std::int32_t child = leave(part, begins);
      paths.back().push_back(part);
      part = {child, 0, 0};
    }
  }
  std::sort(paths.begin(), paths.end(), [](const auto& a, const auto& b) {
    return std::pair(a[0].segment, a[0].begin) < std::pair(b[0].segment, b[0].begin);
  });
  return paths;
}

std::vector<ForestPaths::Sight> ForestPaths::seen_by(const std::vector<Part>& piece) const {
  std::vector<Sight> sights;
  std::int32_t before = 0;
  for (std::size_t p = 0; p < piece.size(); ++p) {
    const Part& part = piece[p];
    const Segment& segment = forest_.segments[at(part.segment)];
    const std::int32_t keys = part.end - part.begin;
    sights.push_back({segment.first + part.begin, segment.first + segment.length, before + 1, before + keys});
    for (const std::int32_t child : children_[at(part.segment)]) {
      const bool is_next = p + 1 < piece.size() && piece[p + 1].segment == child;
      if (branch(child) <= part.begin || is_next) continue;
      const std::int32_t seen = before + std::min(branch(child) - part.begin, keys);
      for (const Forest::Range& range : tokens_[at(child)])
        sights.push_back({range.begin, range.end, seen, seen});
    }
    before += keys;
  }
  std::sort(sights.begin(), sights.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  return sights;
}

std::int32_t ForestPaths::branch(std::int32_t segment) const { return forest_.segments[at(segment)].branch; }

std::int32_t ForestPaths::size(std::int32_t segment) const {
  std::int32_t tokens = 0;
  for (const Forest::Range& range : tokens_[at(segment)]) tokens += range.end - range.begin;
  return tokens;
}

// Ends a part where the path leaves its segment for a child, which is returned, or with the segment: -1.
std::int32_t ForestPaths::leave(Part& part, std::vector<Part>& begins) const {
  const std::vector<std::int32_t>& children = children_[at(part.segment)];
  auto child =
      std::find_if(children.begin(), children.end(), [&](std::int32_t c) { return branch(c) > part.begin; });
  part.end = forest_.segments[at(part.segment)].length;
  std::int32_t below = 0;  // tokens that are reached by the children from `child` on
  for (auto c = child; c != children.end(); ++c) below += size(*c);
  while (child != children.end()) {
    const std::int32_t here = branch(*child);
    const auto first = child;
    std::int32_t heaviest = *first;
    for (; child != children.end() && branch(*child) == here; ++child) {
      if (size(*child) > size(heaviest)) heaviest = *child;
      below -= size(*child);
    }
    const bool leaves = size(heaviest) > part.end - here + below;
    for (auto other = first; other != child; ++other)
      if (!leaves || *other != heaviest) begins.push_back({*other, 0, 0});
    if (!leaves) continue;
    if (here < part.end) begins.push_back({part.segment, here, 0});
    part.end = here;
    return heaviest;
  }
  return -1;
}

}  // namespace chorus
