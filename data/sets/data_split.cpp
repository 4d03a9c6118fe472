#include "data/sets/data_split.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "data/corpora/split_files.h"
#include "data/sets/hdf5_file.h"
#include "ops/base/error.h"
#include "ops/base/hash.h"
#include "ops/base/index.h"

namespace chorus {

namespace {

namespace fs = std::filesystem;

// --- names -----------------------------------------------------------------------------------------------------

struct ShardName {
  std::string split;
  std::int64_t number = 0, count = 0;
};

std::optional<std::int64_t> parse_shard_number(std::string_view digits) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool is_number = digits.size() >= 5 && error == std::errc() && end == digits.data() + digits.size();
  return is_number && value > 0 ? std::optional(value) : std::nullopt;
}

// Of a name without its extension.
std::optional<ShardName> parse_shard_name(std::string_view stem) {
  constexpr std::string_view between = "-of-";
  const std::size_t end = stem.rfind(between);
  const std::size_t begin = end == std::string_view::npos ? end : stem.substr(0, end).rfind('-');
  if (begin == std::string_view::npos) return std::nullopt;
  const auto number = parse_shard_number(stem.substr(begin + 1, end - begin - 1)),
             count = parse_shard_number(stem.substr(end + between.size()));
  if (!number || !count) return std::nullopt;
  return ShardName{std::string(stem.substr(0, begin)), *number, *count};
}

bool is_shard(const fs::path& file) { return parse_shard_name(file.stem().string()).has_value(); }

// What a folder holds of one split.
struct Found {
  std::vector<fs::path> whole;
  std::map<std::int64_t, std::map<std::int64_t, fs::path>> shards;  // by their count, by their number
};

SplitFiles complete(const std::string& name, const Found& found, const fs::path& folder) {
  const std::size_t kinds = found.whole.size() + found.shards.size();
  std::vector<std::string> names;
  for (const fs::path& file : found.whole) names.push_back(file.filename().string());
  for (const auto& [count, files] : found.shards) names.push_back(files.begin()->second.filename().string());
  require<DataError>(kinds == 1, folder.string(), ": the split ", name, " is there ", kinds, " times, as ",
                     names.front(), " and as ", names.back(), ": keep the files of one preparation");
  if (!found.whole.empty()) return {name, found.whole};
  const auto& [count, files] = *found.shards.begin();
  SplitFiles split{name, {}};
  for (const auto& [number, file] : files) {
    const std::int64_t expected = std::ssize(split.files) + 1;
    require<DataError>(number == expected, (folder / shard_name(name, expected, count)).string(),
                       ": this shard is missing: ", files.size(), " of ", count, " are there");
    split.files.push_back(file);
  }
  require<DataError>(std::ssize(split.files) == count,
                     (folder / shard_name(name, std::ssize(split.files) + 1, count)).string(),
                     ": this shard is missing: ", files.size(), " of ", count, " are there");
  return split;
}

// --- shards ----------------------------------------------------------------------------------------------------

// That a shard stands where its file's name says, behind `before`, of the same preparation.
void check_place(const Dataset& shard, const DatasetOrigin& first, const fs::path& file,
                 const fs::path& before, std::int64_t number, std::int64_t count) {
  constexpr const char* advice =
      "; take all shards of one preparation with the names that they had, or run 'chorus prepare' again";
  const ShardPlace& place = shard.shard;
  require<DataError>(place.number == number, file.string(), ": is ",
                     place.number == 0 ? "a whole split" : fmt::format("shard {} of its split", place.number),
                     ", and its name says ", number == 0 ? "a whole one" : fmt::format("shard {}", number),
                     advice);
  if (number == 0) return;
  require<DataError>(place.last == (number == count), file.string(), ": is ", place.last ? "" : "not ",
                     "the last shard of its split, and its name says ", number, " of ", count, advice);
  require<DataError>(before.empty() || place.former == hash_of_shard(before), file.string(),
                     " does not follow ", before.string(), ": one of them is of another preparation", advice);
  require<DataError>(shard.origin == first && shard.features.width == 0, file.string(),
                     ": is of another corpus, recipe or tokenizer than the shards before it", advice);
}

}  // namespace

// The arrays of a shard where it is mapped.
struct MappedShard {
  explicit MappedShard(const fs::path& path) : file(path) {
    const Hdf5Reader reader(path);
    const auto map = [&](auto& array, const char* name) {
      array = reader.in_place<typename std::decay_t<decltype(array)>::value_type>(name, file);
    };
    map(tokens, "tokens");
    map(tree_tokens, "tree_tokens");
    map(tree_segments, "tree_segments");
    map(tree_samples, "tree_samples");
    map(segment_length, "segment_length");
    map(segment_parent, "segment_parent");
    map(segment_branch, "segment_branch");
    map(sample_segment, "sample_segment");
    map(sample_length, "sample_length");
    map(sample_utterance, "sample_utterance");
    map(sample_answer, "sample_answer");
    map(sample_weight, "sample_weight");
    map(sample_targets, "sample_targets");
    map(target_row, "target_row");
    map(target_token, "target_token");
    map(utterance_label, "utterance_label");
  }

  // Adds a tree to what is taken.
  void add(std::int64_t tree, Dataset& to) const {
    const auto begin_of = [&](std::span<const std::int64_t> offsets) { return at(offsets[at(tree)]); };
    const auto end_of = [&](std::span<const std::int64_t> offsets) { return at(offsets[at(tree + 1)]); };
    to.tokens.insert(to.tokens.end(), tokens.data() + begin_of(tree_tokens),
                     tokens.data() + end_of(tree_tokens));
    std::int32_t first = 0;
    for (std::size_t i = begin_of(tree_segments); i < end_of(tree_segments); ++i) {
      to.segments.push_back({first, segment_length[i], segment_parent[i], segment_branch[i]});
      first += segment_length[i];
    }
    for (std::size_t i = begin_of(tree_samples); i < end_of(tree_samples); ++i) {
      const auto index = static_cast<std::int32_t>(to.samples.size());
      to.samples.push_back({static_cast<std::int32_t>(to.trees()),
                            {sample_segment[i], sample_length[i]},
                            static_cast<std::int32_t>(utterance_in_split(sample_utterance[i])),
                            sample_answer[i],
                            sample_weight[i]});
      for (std::size_t t = at(sample_targets[i]); t < at(sample_targets[i + 1]); ++t)
        to.targets.push_back({target_row[t], target_token[t], index});
      to.sample_targets.push_back(std::ssize(to.targets));
    }
    to.end_tree();
  }

  void add_summaries(std::int64_t first, std::int64_t end, std::vector<SampleSummary>& to) const {
    for (std::size_t i = at(tree_samples[at(first)]); i < at(tree_samples[at(end)]); ++i)
      to.push_back({utterance_in_split(sample_utterance[i]), sample_answer[i],
                    static_cast<std::int32_t>(sample_targets[i + 1] - sample_targets[i])});
  }

  std::vector<UtteranceReference> utterances() const {
    return Dataset::read_utterances(file.path().string());
  }
  std::int64_t end_tree() const { return first_tree + std::ssize(tree_tokens) - 1; }
  std::int32_t utterance_in_split(std::int32_t utterance) const {
    return utterance < 0 ? utterance : utterance + first_utterance;
  }

  MappedFile file;
  std::span<const std::int32_t> tokens, segment_length, segment_parent, segment_branch, sample_segment,
      sample_length, sample_utterance, sample_answer, target_row, target_token, utterance_label;
  std::span<const std::int64_t> tree_tokens, tree_segments, tree_samples, sample_targets;
  std::span<const float> sample_weight;
  std::int64_t first_tree = 0;  // in the split
  std::int32_t first_utterance = 0;
};

namespace {

// Of arrays that stand in parts, as Dataset::content_hash() has it of those that are whole.
class HashOfShards {
 public:
  explicit HashOfShards(const std::vector<MappedShard>& shards) : shards_(shards) {}

  template <typename T>
  HashOfShards& add(std::span<const T> MappedShard::*array) {
    add_count(array, 0);
    for (const MappedShard& shard : shards_) {
      hash_.add(std::as_bytes(shard.*array));
      shard.file.give_back(shard.file.bytes());
    }
    return *this;
  }
  // Counted from the beginning of the split.
  HashOfShards& add_offsets(std::span<const std::int64_t> MappedShard::*offsets) {
    add_count(offsets, 1 - std::ssize(shards_));
    std::int64_t before = 0;
    add_value(before);
    for (const MappedShard& shard : shards_) {
      for (const std::int64_t offset : (shard.*offsets).subspan(1)) add_value(before + offset);
      before += (shard.*offsets).back();
      shard.file.give_back(shard.file.bytes());
    }
    return *this;
  }
  HashOfShards& add_utterances() {
    add_count(&MappedShard::sample_utterance, 0);
    for (const MappedShard& shard : shards_) {
      for (const std::int32_t utterance : shard.sample_utterance)
        add_value(shard.utterance_in_split(utterance));
      shard.file.give_back(shard.file.bytes());
    }
    return *this;
  }
  Fnv1a& hash() { return hash_; }

 private:
  template <typename T>
  void add_count(std::span<const T> MappedShard::*array, std::int64_t more) {
    std::int64_t count = more;
    for (const MappedShard& shard : shards_) count += std::ssize(shard.*array);
    add_value(count);
  }
  template <typename T>
  void add_value(T value) {
    hash_.add(std::as_bytes(std::span(&value, 1)));
  }

  const std::vector<MappedShard>& shards_;
  Fnv1a hash_;
};

}  // namespace

std::string shard_name(const std::string& split, std::int64_t number, std::int64_t count) {
  return fmt::format("{}-{:05}-of-{:05}.h5", split, number, count);
}

std::string hash_of_shard(const fs::path& path) {
  const MappedFile file(path);
  constexpr std::size_t at_once = 1 << 24;
  XxHash64 hash;
  for (std::size_t begin = 0; begin < file.bytes().size(); begin += at_once) {
    const auto piece = file.bytes().subspan(begin, std::min(at_once, file.bytes().size() - begin));
    hash.add(piece);
    file.give_back(piece);
  }
  return print_hash(hash);
}

std::vector<SplitFiles> splits_in(const fs::path& folder) {
  require<DataError>(fs::is_directory(folder), folder.string(), ": no such folder");
  std::map<std::string, Found> found;
  for (const fs::path& file : split_files(folder, ".h5")) {
    const std::string stem = file.stem().string();
    if (const auto shard = parse_shard_name(stem)) {
      found[shard->split].shards[shard->count][shard->number] = file;
    } else {
      found[stem].whole.push_back(file);
    }
  }
  std::vector<SplitFiles> splits;
  for (const auto& [name, files] : found) splits.push_back(complete(name, files, folder));
  std::ranges::stable_sort(splits, split_comes_before, &SplitFiles::name);
  return splits;
}

SplitFiles find_split(const fs::path& folder, const std::string& name) {
  for (SplitFiles& split : splits_in(folder)) {
    if (split.name == name) return std::move(split);
  }
  return {name, {}};
}

void for_each_part(const SplitFiles& split, const std::function<void(Dataset&&)>& use) {
  DatasetOrigin first;
  const bool in_shards = is_shard(split.files[0]);
  for (std::size_t i = 0; i < split.files.size(); ++i) {
    Dataset part = Dataset::read(split.files[i].string());
    if (i == 0) first = part.origin;
    check_place(part, first, split.files[i], i == 0 ? fs::path() : split.files[i - 1],
                in_shards ? static_cast<std::int64_t>(i) + 1 : 0, std::ssize(split.files));
    use(std::move(part));
  }
}

Dataset read_whole(const SplitFiles& split) {
  Dataset whole;
  for_each_part(split, [&](Dataset&& part) {
    if (part.shard.number == 0) {
      whole = std::move(part);
      return;
    }
    whole.origin = part.origin;
    const auto first_utterance = static_cast<std::int32_t>(whole.utterances.size());
    for (std::int64_t tree = 0; tree < part.trees(); ++tree) whole.add_tree(part, tree, first_utterance);
    std::ranges::move(part.utterances, std::back_inserter(whole.utterances));
  });
  return whole;
}

struct DataSplit::State {
  Dataset own;
  const Dataset* dataset = &own;    // what is held: all of it, or nothing but its origin
  std::vector<MappedShard> shards;  // instead
  std::vector<std::int64_t> tree_tokens{0}, tree_samples{0};  // of these
  std::int64_t longest_sample = 0, utterances = 0;
  bool has_gold = false, has_candidates = true;

  // A shard has all samples of its utterances.
  void look_at(const Dataset& part) {
    has_gold = has_gold || part.has_gold();
    has_candidates = has_candidates && part.has_candidates();
    utterances += std::ssize(part.utterances);
    for (std::int64_t sample = 0; sample < std::ssize(part.samples); ++sample)
      longest_sample = std::max(longest_sample, part.length(sample));
  }
  void add(const Dataset& part, const fs::path& file) {
    MappedShard& shard = shards.emplace_back(file);
    shard.first_tree = std::ssize(tree_tokens) - 1;
    shard.first_utterance = static_cast<std::int32_t>(utterances);
    look_at(part);
    const auto append = [](std::vector<std::int64_t>& all, const std::vector<std::int64_t>& offsets) {
      const std::int64_t before = all.back();
      for (std::size_t i = 1; i < offsets.size(); ++i) all.push_back(before + offsets[i]);
    };
    append(tree_tokens, part.tree_tokens);
    append(tree_samples, part.tree_samples);
  }
};

DataSplit::DataSplit(const Dataset& dataset) {
  const auto state = std::make_shared<State>();
  state->dataset = &dataset;
  state->look_at(dataset);
  state_ = state;
}

DataSplit::DataSplit(Dataset&& dataset) {
  const auto state = std::make_shared<State>();
  state->own = std::move(dataset);
  state->look_at(state->own);
  state_ = state;
}

DataSplit::DataSplit(const SplitFiles& files) {
  const auto state = std::make_shared<State>();
  for_each_part(files, [&](Dataset&& part) {
    if (part.shard.number == 0) {
      state->own = std::move(part);
      state->look_at(state->own);
      return;
    }
    state->own.origin = part.origin;
    state->add(part, files.files[state->shards.size()]);
  });
  state_ = state;
}

const DatasetOrigin& DataSplit::origin() const { return state_->dataset->origin; }
const FeatureTable& DataSplit::features() const { return state_->dataset->features; }
std::int64_t DataSplit::longest_sample() const { return state_->longest_sample; }
std::int64_t DataSplit::utterances() const { return state_->utterances; }
bool DataSplit::has_gold() const { return state_->has_gold; }
bool DataSplit::has_candidates() const { return state_->has_candidates; }

std::span<const std::int64_t> DataSplit::tree_tokens() const {
  return state_->shards.empty() ? state_->dataset->tree_tokens : state_->tree_tokens;
}

std::span<const std::int64_t> DataSplit::tree_samples() const {
  return state_->shards.empty() ? state_->dataset->tree_samples : state_->tree_samples;
}

std::uint64_t DataSplit::content_hash() const {
  if (state_->shards.empty()) return state_->dataset->content_hash();
  using Shard = MappedShard;
  HashOfShards arrays(state_->shards);
  arrays.add(&Shard::tokens).add_offsets(&Shard::tree_tokens).add_offsets(&Shard::tree_segments);
  arrays.add_offsets(&Shard::tree_samples).add(&Shard::segment_length).add(&Shard::segment_parent);
  arrays.add(&Shard::segment_branch).add(&Shard::sample_segment).add(&Shard::sample_length).add_utterances();
  arrays.add(&Shard::sample_answer).add(&Shard::sample_weight).add_offsets(&Shard::sample_targets);
  arrays.add(&Shard::target_row).add(&Shard::target_token).add(&Shard::utterance_label);
  return state_->dataset->end_content_hash(arrays.hash());
}

Dataset DataSplit::take(std::span<const std::int64_t> trees) const {
  Dataset taken;
  taken.origin.vocabulary_size = origin().vocabulary_size;
  std::set<const MappedShard*> touched;
  for (const std::int64_t tree : trees) {
    if (state_->shards.empty()) {
      taken.add_tree(*state_->dataset, tree, 0);
      continue;
    }
    const auto behind = std::ranges::upper_bound(state_->shards, tree, {}, &MappedShard::first_tree);
    const MappedShard& shard = *(behind - 1);
    shard.add(tree - shard.first_tree, taken);
    touched.insert(&shard);
  }
  for (const MappedShard* shard : touched) shard->file.give_back(shard->file.bytes());
  return taken;
}

Dataset DataSplit::take(std::int64_t first, std::int64_t end) const {
  std::vector<std::int64_t> trees(at(end - first));
  std::iota(trees.begin(), trees.end(), first);
  return take(trees);
}

std::int64_t DataSplit::end_of_window(std::int64_t first_tree, std::int64_t tokens) const {
  const std::span<const std::int64_t> begins = tree_tokens();
  const auto behind =
      std::upper_bound(begins.begin() + first_tree + 1, begins.end(), begins[at(first_tree)] + tokens);
  return std::max(first_tree + 1, behind - begins.begin() - 1);
}

std::vector<SampleSummary> DataSplit::summaries(std::int64_t first, std::int64_t end) const {
  std::vector<SampleSummary> all;
  if (state_->shards.empty()) {
    const Dataset& dataset = *state_->dataset;
    for (std::int64_t i = tree_samples()[at(first)]; i < tree_samples()[at(end)]; ++i) {
      const Sample& sample = dataset.samples[at(i)];
      all.push_back(
          {sample.utterance, sample.answer, static_cast<std::int32_t>(dataset.targets_of(i).size())});
    }
  }
  for (const MappedShard& shard : state_->shards) {
    const std::int64_t from = std::max(first, shard.first_tree), to = std::min(end, shard.end_tree());
    if (from >= to) continue;
    shard.add_summaries(from - shard.first_tree, to - shard.first_tree, all);
    shard.file.give_back(shard.file.bytes());
  }
  return all;
}

std::vector<std::int32_t> DataSplit::utterance_labels() const {
  std::vector<std::int32_t> labels;
  for (const UtteranceReference& utterance : state_->dataset->utterances) labels.push_back(utterance.label);
  for (const MappedShard& shard : state_->shards)
    labels.insert(labels.end(), shard.utterance_label.begin(), shard.utterance_label.end());
  return labels;
}

UtteranceReference DataSplit::utterance(std::int64_t index) const {
  if (state_->shards.empty()) return state_->dataset->utterances[at(index)];
  const MappedShard& shard =
      *(std::ranges::upper_bound(state_->shards, index, {}, &MappedShard::first_utterance) - 1);
  return shard.utterances()[at(index - shard.first_utterance)];
}

void DataSplit::for_each_utterance(const std::function<void(const UtteranceReference&)>& use) const {
  for (const UtteranceReference& utterance : state_->dataset->utterances) use(utterance);
  for (const MappedShard& shard : state_->shards)
    for (const UtteranceReference& utterance : shard.utterances()) use(utterance);
}

}  // namespace chorus
