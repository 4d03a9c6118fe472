#include "data/sets/batches.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>
#include <utility>

#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "ops/base/index.h"
#include "ops/base/random.h"

namespace chorus {

nlohmann::ordered_json identity(const BatchOptions& options) {
  nlohmann::ordered_json identity{{"batch-size", options.batch_size}, {"shuffle", options.shuffle}};
  // Not said at its default, so that checkpoints of older versions go on.
  if (options.curriculum != 1) identity["curriculum"] = options.curriculum;
  return identity;
}

// The trees of an epoch in their order, and how many samples precede each.
struct Batches::EpochOrder {
  std::int64_t epoch = 0;
  std::vector<std::int64_t> trees;
  std::vector<std::int64_t> samples_before;  // [trees + 1]
};

// Neighbours that a step takes.
struct Batches::SamplesOfTree {
  std::int64_t tree, first, count;  // `first` counts from the first of the tree
};

namespace {

// The trees of a step alone, and where they stand in the split. Samples and tokens are counted in it.
struct Excerpt {
  Excerpt(const DataSplit& split, std::vector<std::int64_t> trees)
      : split(split), trees(std::move(trees)), data(split.take(this->trees)) {}

  std::int64_t first_token(std::int32_t tree) const { return split.tree_tokens()[at(trees[at(tree)])]; }
  std::int64_t sample_in_split(std::int64_t sample) const {
    const std::int32_t tree = data.samples[at(sample)].tree;
    return split.tree_samples()[at(trees[at(tree)])] + sample - data.tree_samples[at(tree)];
  }

  const DataSplit& split;
  std::vector<std::int64_t> trees;
  Dataset data;
};

// How many tokens of each segment of a tree a set of samples needs.
class NeededTokens {
 public:
  explicit NeededTokens(std::span<const Segment> tree) : tree_(tree), needed_(tree.size(), 0) {}

  // How many more tokens the path needs.
  std::int64_t additional(PathEnd end) const {
    std::int64_t more = 0;
    visit(end, [&](std::int32_t segment, std::int32_t length) {
      more += std::max(0, length - needed_[at(segment)]);
    });
    return more;
  }
  void add(PathEnd end) {
    visit(end, [&](std::int32_t segment, std::int32_t length) {
      needed_[at(segment)] = std::max(needed_[at(segment)], length);
    });
  }
  void clear() { std::fill(needed_.begin(), needed_.end(), 0); }
  std::int32_t of(std::size_t segment) const { return needed_[segment]; }

 private:
  template <typename Visitor>
  void visit(PathEnd end, Visitor visitor) const {
    while (end.segment >= 0) {
      visitor(end.segment, end.length);
      end = {tree_[at(end.segment)].parent, tree_[at(end.segment)].branch};
    }
  }

  std::span<const Segment> tree_;
  std::vector<std::int32_t> needed_;
};

// Appends pieces to a micro-batch.
class MicroBatchWriter {
 public:
  MicroBatchWriter(const Excerpt& excerpt, MicroBatch& out)
      : excerpt_(excerpt), dataset_(excerpt.data), out_(out) {}

  void add(const std::vector<std::int64_t>& samples) {
    const std::int32_t tree = dataset_.samples[at(samples[0])].tree;
    first_token_ = dataset_.tree_tokens[at(tree)];
    first_id_ = excerpt_.first_token(tree);
    const std::size_t tree_size = at(dataset_.tree_tokens[at(tree + 1)] - first_token_);
    if (new_row_.size() < tree_size) new_row_.resize(tree_size);
    if (samples.size() == 1) {
      add_path(samples[0]);
    } else {
      add_tree(tree, samples);
    }
    for (const std::int64_t sample : samples) add_targets(sample);
  }

  void finish() {
    std::stable_sort(out_.targets.begin(), out_.targets.end(),
                     [](const Target& a, const Target& b) { return a.row < b.row; });
  }

 private:
  void add_row(std::int32_t row) {
    new_row_[at(row)] = out_.forest.tokens++;
    const std::int32_t token = dataset_.tokens[at(first_token_ + row)];
    out_.tokens.push_back(token);
    if (is_feature(token)) {
      const std::span<const float> values = excerpt_.split.features().row(feature_row(token));
      out_.features.insert(out_.features.end(), values.begin(), values.end());
    }
    out_.token_ids.push_back(first_id_ + row);
  }

  // A path that shares with nobody is one root, whatever the number of segments it came from.
  void add_path(std::int64_t sample) {
    const std::vector<std::int32_t> rows = dataset_.rows_of(sample);
    out_.forest.segments.push_back({out_.forest.tokens, static_cast<std::int32_t>(rows.size()), -1, 0});
    for (const std::int32_t row : rows) add_row(row);
  }

  void add_tree(std::int64_t tree, const std::vector<std::int64_t>& samples) {
    const std::span<const Segment> segments = dataset_.segments_of(tree);
    NeededTokens needed(segments);
    for (const std::int64_t sample : samples) needed.add(dataset_.samples[at(sample)].end);
    std::vector<std::int32_t> new_segment(segments.size(), -1);
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const std::int32_t length = needed.of(i);
      if (length == 0) continue;
      const Segment& s = segments[i];
      new_segment[i] = static_cast<std::int32_t>(out_.forest.segments.size());
      const std::int32_t parent = s.parent < 0 ? -1 : new_segment[at(s.parent)];
      out_.forest.segments.push_back({out_.forest.tokens, length, parent, s.branch});
      for (std::int32_t t = 0; t < length; ++t) add_row(s.first + t);
    }
  }

  void add_targets(std::int64_t sample) {
    const auto index = static_cast<std::int32_t>(out_.samples.size());
    out_.samples.push_back(excerpt_.sample_in_split(sample));
    out_.weights.push_back(dataset_.samples[at(sample)].weight);
    out_.unshared_tokens += dataset_.length(sample);
    for (const Target& target : dataset_.targets_of(sample)) {
      out_.targets.push_back({new_row_[at(target.row)], target.token, index});
    }
  }

  const Excerpt& excerpt_;
  const Dataset& dataset_;
  MicroBatch& out_;
  std::int64_t first_token_ = 0, first_id_ = 0;  // of the tree at hand, here and in the split
  // Of each row that was taken from the tree at hand; the others hold old values.
  std::vector<std::int32_t> new_row_;
};

// Samples of one tree that are computed together.
struct Piece {
  std::vector<std::int64_t> samples;
  std::int64_t tokens = 0, targets = 0;
};

Piece piece_of(const Dataset& dataset, std::span<const std::int64_t> samples) {
  Piece piece{{samples.begin(), samples.end()}, 0, 0};
  NeededTokens needed(dataset.segments_of(dataset.samples[at(samples[0])].tree));
  for (const std::int64_t sample : samples) {
    const PathEnd end = dataset.samples[at(sample)].end;
    piece.tokens += needed.additional(end);
    piece.targets += std::ssize(dataset.targets_of(sample));
    needed.add(end);
  }
  return piece;
}

// Divides samples of one tree, in their order, into pieces that fit into a micro-batch.
void append_pieces(const Dataset& dataset, std::span<const std::int64_t> samples, const BatchOptions& options,
                   std::vector<Piece>& pieces) {
  NeededTokens needed(dataset.segments_of(dataset.samples[at(samples[0])].tree));
  Piece piece;
  for (const std::int64_t sample : samples) {
    const PathEnd end = dataset.samples[at(sample)].end;
    const std::int64_t targets = std::ssize(dataset.targets_of(sample));
    const bool fits = piece.tokens + needed.additional(end) <= options.tokens_per_microbatch &&
                      piece.targets + targets <= options.tokens_per_microbatch && options.prefix_sharing;
    if (!fits && !piece.samples.empty()) {
      pieces.push_back(std::exchange(piece, {}));
      needed.clear();
    }
    piece.samples.push_back(sample);
    piece.tokens += needed.additional(end);
    piece.targets += targets;
    needed.add(end);
  }
  pieces.push_back(std::move(piece));
}

std::vector<Piece> pieces_of(const Dataset& dataset, const std::vector<std::int64_t>& samples,
                             const BatchOptions& options) {
  std::vector<Piece> pieces;
  for (std::size_t begin = 0; begin < samples.size();) {
    std::size_t end = begin + 1;
    const std::int32_t tree = dataset.samples[at(samples[begin])].tree;
    while (end < samples.size() && dataset.samples[at(samples[end])].tree == tree) ++end;
    append_pieces(dataset, std::span(samples).subspan(begin, end - begin), options, pieces);
    begin = end;
  }
  return pieces;
}

void sort_longest_first(std::vector<Piece>& pieces) {
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Piece& a, const Piece& b) { return a.tokens > b.tokens; });
}

struct Assignment {
  std::vector<std::int32_t> rank;    // [pieces]
  std::vector<std::int64_t> tokens;  // [ranks]
  std::int32_t busiest() const {
    return static_cast<std::int32_t>(std::max_element(tokens.begin(), tokens.end()) - tokens.begin());
  }
  std::int64_t most() const { return tokens[at(busiest())]; }
};

// Within 5 % of what no division could better.
bool is_balanced(const Assignment& assignment) {
  const std::int64_t total =
      std::accumulate(assignment.tokens.begin(), assignment.tokens.end(), std::int64_t{0});
  return 20 * assignment.most() * std::ssize(assignment.tokens) <= 21 * total;
}

// Longest first, each piece to the rank that has least so far (Graham 1969).
Assignment assign(const std::vector<Piece>& longest_first, int ranks) {
  Assignment assignment{{}, std::vector<std::int64_t>(at(ranks), 0)};
  for (const Piece& piece : longest_first) {
    const auto idlest = std::min_element(assignment.tokens.begin(), assignment.tokens.end());
    *idlest += piece.tokens;
    assignment.rank.push_back(static_cast<std::int32_t>(idlest - assignment.tokens.begin()));
  }
  return assignment;
}

// Halves a piece of the busiest rank. False if none of its pieces has two samples.
bool halve_longest_of(const Dataset& dataset, const Assignment& assignment,
                      std::vector<Piece>& longest_first) {
  for (std::size_t i = 0; i < longest_first.size(); ++i) {
    const std::vector<std::int64_t> samples = longest_first[i].samples;
    if (assignment.rank[i] != assignment.busiest() || samples.size() < 2) continue;
    const std::size_t half = samples.size() / 2;
    longest_first[i] = piece_of(dataset, std::span(samples).first(half));
    longest_first.push_back(piece_of(dataset, std::span(samples).subspan(half)));
    sort_longest_first(longest_first);
    return true;
  }
  return false;
}

// Spreads the pieces over the ranks. A step may well consist of fewer trees than there are ranks: then pieces
// are halved, which computes their trunks twice, where that relieves the busiest rank by at
// least 2 %.
Assignment balance(const Dataset& dataset, std::vector<Piece>& pieces, int ranks) {
  sort_longest_first(pieces);
  Assignment best = assign(pieces, ranks);
  std::vector<Piece> tried_pieces = pieces;
  Assignment tried = best;
  for (int halvings = 0; halvings < 2 * ranks && !is_balanced(best); ++halvings) {
    if (!halve_longest_of(dataset, tried, tried_pieces)) break;
    tried = assign(tried_pieces, ranks);
    if (50 * tried.most() > 49 * best.most()) continue;
    pieces = tried_pieces;
    best = tried;
  }
  return best;
}

// First fit of the pieces of one rank, longest first. Returns indices of pieces for each micro-batch.
std::vector<std::vector<std::size_t>> pack(const std::vector<Piece>& pieces, const Assignment& assignment,
                                           int rank, std::int64_t limit) {
  struct Bin {
    std::int64_t tokens = 0, targets = 0;
  };
  std::vector<Bin> bins;
  std::vector<std::vector<std::size_t>> contents;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (assignment.rank[i] != rank) continue;
    const Piece& piece = pieces[i];
    auto bin = std::find_if(bins.begin(), bins.end(), [&](const Bin& b) {
      return b.tokens + piece.tokens <= limit && b.targets + piece.targets <= limit;
    });
    if (bin == bins.end()) {
      bin = bins.insert(bins.end(), Bin{});
      contents.emplace_back();
    }
    bin->tokens += piece.tokens;
    bin->targets += piece.targets;
    contents[at(bin - bins.begin())].push_back(i);
  }
  return contents;
}

// The split, if batches can be made of it.
DataSplit validated(DataSplit split, const BatchOptions& options, int data_ranks) {
  require<DataError>(split.samples() > 0, "the ", split.origin().split, " split has no samples");
  require<ConfigurationError>(options.batch_size > 0, "--batch-size is ", options.batch_size,
                              ", it must be positive");
  require<ConfigurationError>(options.tokens_per_microbatch > 0 &&
                                  options.tokens_per_microbatch <= std::numeric_limits<std::int32_t>::max(),
                              "--tokens-per-microbatch is ", options.tokens_per_microbatch,
                              ", it must be positive and less than 2^31");
  require<ConfigurationError>(data_ranks > 0, data_ranks, " data-parallel ranks");
  require<ConfigurationError>(options.curriculum > 0 && options.curriculum <= split.trees(), "--curriculum ",
                              options.curriculum, " cannot divide the ", split.trees(), " trees of the ",
                              split.origin().split, " split: say 1 to ", split.trees());
  require<ConfigurationError>(split.longest_sample() <= options.tokens_per_microbatch,
                              "the longest sample of the ", split.origin().split, " split is ",
                              split.longest_sample(), " tokens long and does not fit into a micro-batch of ",
                              options.tokens_per_microbatch,
                              "; raise --tokens-per-microbatch to at least that, or ",
                              how_to_shorten(split.origin(), options.tokens_per_microbatch));
  return split;
}

}  // namespace

std::int64_t rows_with_targets(const MicroBatch& batch) {
  std::int64_t rows = 0;
  for (std::size_t t = 0; t < batch.targets.size(); ++t) {
    rows += t == 0 || batch.targets[t].row != batch.targets[t - 1].row ? 1 : 0;
  }
  return rows;
}

Batches::Batches(DataSplit split, const BatchOptions& options, int data_ranks)
    : split_(validated(std::move(split), options, data_ranks)),
      options_(options),
      data_ranks_(data_ranks),
      epochs_(epochs_of_split()) {}

std::int64_t Batches::trees_of(std::int64_t epoch) const {
  return split_.trees() * std::min(epoch + 1, options_.curriculum) / options_.curriculum;
}

Epochs Batches::epochs_of_split() const {
  std::vector<std::int64_t> samples;
  for (std::int64_t epoch = 0; epoch < options_.curriculum; ++epoch)
    samples.push_back(split_.tree_samples()[at(trees_of(epoch))]);
  return {samples, options_.batch_size};
}

std::int64_t Batches::steps_per_epoch() const {
  return (split_.samples() + options_.batch_size - 1) / options_.batch_size;
}

std::shared_ptr<const Batches::EpochOrder> Batches::epoch_order(std::int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  if (last_order_ && last_order_->epoch == epoch) return last_order_;
  auto order = std::make_shared<EpochOrder>();
  order->epoch = epoch;
  order->trees.resize(at(trees_of(epoch)));
  std::iota(order->trees.begin(), order->trees.end(), 0);
  if (options_.shuffle) {  // Fisher and Yates
    for (std::size_t i = order->trees.size(); i > 1; --i) {
      const std::uint64_t word =
          random_word(options_.seed, RandomUse::shuffle, static_cast<std::uint32_t>(epoch), i - 1);
      std::swap(order->trees[i - 1], order->trees[(word * i) >> 32]);
    }
  }
  order->samples_before.push_back(0);
  for (const std::int64_t tree : order->trees) {
    const std::int64_t samples = split_.tree_samples()[at(tree + 1)] - split_.tree_samples()[at(tree)];
    order->samples_before.push_back(order->samples_before.back() + samples);
  }
  last_order_ = order;
  return order;
}

std::vector<Batches::SamplesOfTree> Batches::samples_of(std::int64_t step) const {
  const std::int64_t epoch = epochs_.of(step);
  const auto order = epoch_order(epoch);
  const std::int64_t begin = (step - epochs_.begin(epoch)) * options_.batch_size;
  const std::int64_t end = std::min(begin + options_.batch_size, order->samples_before.back());
  const std::vector<std::int64_t>& before = order->samples_before;
  std::int64_t place = std::upper_bound(before.begin(), before.end(), begin) - before.begin() - 1;
  std::vector<SamplesOfTree> samples;
  for (std::int64_t i = begin; i < end; i = before[at(++place)]) {
    const std::int64_t first = i - before[at(place)];
    samples.push_back({order->trees[at(place)], first, std::min(end, before[at(place + 1)]) - i});
  }
  return samples;
}

Batches::Step Batches::step(std::int64_t step, int data_rank) const {
  require(step >= 0 && data_rank >= 0 && data_rank < data_ranks_, "step ", step, " of data rank ", data_rank,
          " of ", data_ranks_);
  return divide(samples_of(step), data_rank);
}

Batches::Step Batches::whole_trees(std::int64_t first, std::int64_t end, int data_rank) const {
  const std::span<const std::int64_t> begins = split_.tree_samples();
  std::vector<SamplesOfTree> all;
  for (std::int64_t tree = first; tree < end; ++tree)
    all.push_back({tree, 0, begins[at(tree + 1)] - begins[at(tree)]});
  return divide(all, data_rank);
}

// Over the ranks, and into micro-batches.
Batches::Step Batches::divide(const std::vector<SamplesOfTree>& chosen, int data_rank) const {
  std::vector<std::int64_t> trees, samples;
  for (const SamplesOfTree& each : chosen) trees.push_back(each.tree);
  const Excerpt excerpt(split_, std::move(trees));
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    for (std::int64_t sample = 0; sample < chosen[i].count; ++sample)
      samples.push_back(excerpt.data.tree_samples[i] + chosen[i].first + sample);
  }
  std::vector<Piece> pieces = pieces_of(excerpt.data, samples, options_);
  const Assignment assignment = balance(excerpt.data, pieces, data_ranks_);

  Step result;
  result.samples = std::ssize(samples);
  for (const Piece& piece : pieces) {
    result.tokens += piece.tokens;
    result.supervised_tokens += piece.targets;
  }
  for (const std::int64_t sample : samples) {
    result.unshared_tokens += excerpt.data.length(sample);
    result.weight += static_cast<double>(excerpt.data.samples[at(sample)].weight) *
                     static_cast<double>(std::ssize(excerpt.data.targets_of(sample)));
  }
  for (const auto& contents : pack(pieces, assignment, data_rank, options_.tokens_per_microbatch)) {
    MicroBatchWriter writer(excerpt, result.microbatches.emplace_back());
    for (const std::size_t piece : contents) writer.add(pieces[piece].samples);
    writer.finish();
  }
  return result;
}

}  // namespace chorus
