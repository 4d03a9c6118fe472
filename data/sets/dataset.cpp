#include "data/sets/dataset.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <utility>

#include "data/sets/hdf5_file.h"
#include "ops/base/error.h"
#include "ops/base/hash.h"
#include "ops/base/index.h"

namespace chorus {

namespace {

constexpr const char* format_name = "chorus-dataset";
constexpr const char *shard_number = "shard", *is_last_shard = "last_shard",
                     *former_shard = "hash_of_former_shard";

template <typename T>
std::span<const T> slice(const std::vector<T>& values, std::int64_t begin, std::int64_t end) {
  return std::span<const T>(values).subspan(at(begin), at(end - begin));
}

// One member of every element, as a column of the file.
template <typename Element, typename Get>
auto column(const std::vector<Element>& elements, Get get) {
  std::vector<std::decay_t<std::invoke_result_t<Get, const Element&>>> values;
  values.reserve(elements.size());
  for (const Element& element : elements) values.push_back(std::invoke(get, element));
  return values;
}

template <typename T>
void write_column(Hdf5Writer& file, const std::string& name, const std::vector<T>& values) {
  file.write<T>(name, values);
}

// The values, which must be as many as those of the other arrays.
template <typename T>
std::vector<T> sized(std::vector<T> values, const std::string& path, const std::string& name,
                     std::size_t size) {
  require<DataError>(values.size() == size, path, ": array '", name, "' has ", values.size(),
                     " elements where the others have ", size);
  return values;
}

template <typename T = std::int32_t>
std::vector<T> read_column(const Hdf5Reader& file, const std::string& path, const std::string& name,
                           std::size_t size) {
  return sized(file.read<T>(name), path, name, size);
}

std::uint64_t from_hexadecimal(const std::string& text, const std::string& path) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  require<DataError>(error == std::errc() && end == text.data() + text.size(), path, ": tokenizer_hash '",
                     text, "' is not a hexadecimal number");
  return value;
}

// Offsets begin at 0, never fall (by less than `least` a step) and end at the number of elements.
void validate_offsets(const std::vector<std::int64_t>& offsets, std::size_t elements, std::int64_t least,
                      const std::string& where, const char* name) {
  require<DataError>(!offsets.empty() && offsets.front() == 0, where, ": '", name, "' does not begin with 0");
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    // What falls is not subtracted: from far below to far above 0, the difference would be beyond 64 bits.
    require<DataError>(offsets[i] >= offsets[i - 1] && offsets[i] - offsets[i - 1] >= least, where, ": '",
                       name, "' goes from ", offsets[i - 1], " to ", offsets[i], " at ", i);
  }
  require<DataError>(offsets.back() == static_cast<std::int64_t>(elements), where, ": '", name, "' ends at ",
                     offsets.back(), " instead of ", elements);
}

void validate_origin(const DatasetOrigin& origin, const std::string& where) {
  require<DataError>(origin.vocabulary_size > 0, where, ": vocabulary size ", origin.vocabulary_size);
  require<DataError>(origin.labels.size() == origin.label_words.size(), where, ": ", origin.labels.size(),
                     " labels but ", origin.label_words.size(), " label words");
  require<DataError>(!origin.corpora.empty(), where, ": comes from no corpus");
}

void validate_features(const FeatureTable& features, const std::string& where) {
  const bool whole = features.width == 0
                         ? features.values.empty()
                         : features.width > 0 && features.values.size() % at(features.width) == 0;
  require<DataError>(whole, where, ": ", features.values.size(), " feature values are no rows of ",
                     features.width);
  for (std::size_t i = 0; i < features.values.size(); ++i) {
    require<DataError>(std::isfinite(features.values[i]), where, ": feature value ", i, " is ",
                       features.values[i]);
  }
}

void validate_tree(const Dataset& dataset, std::int64_t tree, const std::string& where) {
  const std::span<const Segment> segments = dataset.segments_of(tree);
  const std::int64_t tokens = dataset.tree_tokens[at(tree + 1)] - dataset.tree_tokens[at(tree)];
  try {
    validate(Forest{{segments.begin(), segments.end()}, static_cast<std::int32_t>(tokens)});
  } catch (const Error& error) {
    throw DataError(fmt::format("{}: tree {}: {}", where, tree, error.what()));
  }
}

void validate_sample(const Dataset& dataset, std::int64_t index, const std::string& where) {
  const Sample& sample = dataset.samples[at(index)];
  const std::span<const Segment> segments = dataset.segments_of(sample.tree);
  const auto [segment, length] = sample.end;
  require<DataError>(
      segment >= 0 && segment < std::ssize(segments) && length > 0 && length <= segments[at(segment)].length,
      where, ": sample ", index, " ends at token ", length, " of segment ", segment);
  require<DataError>(sample.utterance >= -1 && sample.utterance < std::ssize(dataset.utterances), where,
                     ": sample ", index, " speaks of utterance ", sample.utterance, " of ",
                     dataset.utterances.size());
  require<DataError>(sample.answer >= -1 && sample.answer < std::ssize(dataset.origin.labels), where,
                     ": sample ", index, " answers with label ", sample.answer, " of ",
                     dataset.origin.labels.size());
  require<DataError>(sample.weight >= 0 && std::isfinite(sample.weight), where, ": sample ", index,
                     " has weight ", sample.weight);

  // Each target predicts what follows its row on the sample's path.
  const std::vector<std::int32_t> rows = dataset.rows_of(index);
  const std::int64_t first = dataset.tree_tokens[at(sample.tree)];
  auto row = rows.begin();
  for (const Target& target : dataset.targets_of(index)) {
    row = std::find(row, rows.end(), target.row);
    require<DataError>(row != rows.end(), where, ": sample ", index, " has a target at row ", target.row,
                       " outside its path or twice");
    ++row;
    require<DataError>(row == rows.end() || dataset.tokens[at(first + *row)] == target.token, where,
                       ": sample ", index, " is to predict ", target.token, " at row ", target.row,
                       " but another token follows");
    require<DataError>(target.token >= 0 && target.token < dataset.origin.vocabulary_size, where, ": sample ",
                       index, " is to predict token ", target.token, " of a vocabulary of ",
                       dataset.origin.vocabulary_size);
  }
}

void read_origin(const Hdf5Reader& file, const std::string& path, DatasetOrigin& origin) {
  origin.corpora = file.read_strings("corpora");
  origin.split = file.text("split");
  origin.recipe_name = file.text("recipe");
  const std::vector<std::string> recipe = file.read_strings("recipe_text");
  require<DataError>(recipe.size() == 1, path, ": 'recipe_text' has ", recipe.size(),
                     " elements instead of 1");
  origin.recipe_text = recipe[0];
  origin.tokenizer_hash = from_hexadecimal(file.text("tokenizer_hash"), path);
  origin.vocabulary_size = static_cast<std::int32_t>(file.integer("vocabulary_size"));
  origin.labels = file.read_strings("labels");
  origin.label_words = file.read_strings("label_words");
}

void read_trees(const Hdf5Reader& file, const std::string& path, Dataset& dataset) {
  dataset.tokens = file.read<std::int32_t>("tokens");
  dataset.tree_tokens = file.read<std::int64_t>("tree_tokens");
  dataset.tree_segments = file.read<std::int64_t>("tree_segments");
  dataset.tree_samples = file.read<std::int64_t>("tree_samples");
  const std::vector<std::int32_t> lengths = file.read<std::int32_t>("segment_length");
  const std::vector<std::int32_t> parents = read_column(file, path, "segment_parent", lengths.size());
  const std::vector<std::int32_t> branches = read_column(file, path, "segment_branch", lengths.size());
  validate_offsets(dataset.tree_segments, lengths.size(), 1, path, "tree_segments");
  for (std::size_t tree = 0; tree + 1 < dataset.tree_segments.size(); ++tree) {
    std::int32_t first = 0;
    for (std::int64_t i = dataset.tree_segments[tree]; i < dataset.tree_segments[tree + 1]; ++i) {
      dataset.segments.push_back({first, lengths[at(i)], parents[at(i)], branches[at(i)]});
      require<DataError>(!__builtin_add_overflow(first, lengths[at(i)], &first), path, ": tree ", tree,
                         " is longer than 2^31 tokens");
    }
  }
}

void read_samples(const Hdf5Reader& file, const std::string& path, Dataset& dataset) {
  const std::vector<std::int32_t> segments = file.read<std::int32_t>("sample_segment");
  const std::vector<std::int32_t> lengths = read_column(file, path, "sample_length", segments.size());
  const std::vector<std::int32_t> utterances = read_column(file, path, "sample_utterance", segments.size());
  const std::vector<std::int32_t> answers = read_column(file, path, "sample_answer", segments.size());
  validate_offsets(dataset.tree_samples, segments.size(), 1, path, "tree_samples");
  const std::vector<float> weights = read_column<float>(file, path, "sample_weight", segments.size());
  std::int32_t tree = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    while (static_cast<std::int64_t>(i) >= dataset.tree_samples[at(tree + 1)]) ++tree;
    dataset.samples.push_back({tree, {segments[i], lengths[i]}, utterances[i], answers[i], weights[i]});
  }
}

void read_targets(const Hdf5Reader& file, const std::string& path, Dataset& dataset) {
  dataset.sample_targets = file.read<std::int64_t>("sample_targets");
  const std::vector<std::int32_t> rows = file.read<std::int32_t>("target_row");
  const std::vector<std::int32_t> tokens = read_column(file, path, "target_token", rows.size());
  validate_offsets(dataset.sample_targets, rows.size(), 1, path, "sample_targets");
  std::int32_t sample = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    while (static_cast<std::int64_t>(i) >= dataset.sample_targets[at(sample + 1)]) ++sample;
    dataset.targets.push_back({rows[i], tokens[i], sample});
  }
}

std::vector<UtteranceReference> read_utterances_of(const Hdf5Reader& file, const std::string& path) {
  const std::vector<std::int32_t> labels = file.read<std::int32_t>("utterance_label");
  const std::vector<std::int32_t> corpora = read_column(file, path, "utterance_corpus", labels.size());
  const auto strings = [&](const char* name) {
    return sized(file.read_strings(name), path, name, labels.size());
  };
  std::vector<std::string> dialogues = strings("utterance_dialogue"), ids = strings("utterance_id"),
                           speakers = strings("utterance_speaker"), texts = strings("utterance_text");
  std::vector<UtteranceReference> utterances;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    utterances.push_back({corpora[i], std::move(dialogues[i]), std::move(ids[i]), std::move(speakers[i]),
                          std::move(texts[i]), labels[i]});
  }
  return utterances;
}

}  // namespace

std::span<const Segment> Dataset::segments_of(std::int64_t tree) const {
  return slice(segments, tree_segments[at(tree)], tree_segments[at(tree + 1)]);
}

std::span<const Target> Dataset::targets_of(std::int64_t sample) const {
  return slice(targets, sample_targets[at(sample)], sample_targets[at(sample + 1)]);
}

std::int64_t Dataset::length(std::int64_t sample) const {
  const std::span<const Segment> tree = segments_of(samples[at(sample)].tree);
  auto [segment, length] = samples[at(sample)].end;
  std::int64_t total = length;
  for (; tree[at(segment)].parent >= 0; segment = tree[at(segment)].parent) total += tree[at(segment)].branch;
  return total;
}

std::vector<std::int32_t> Dataset::rows_of(std::int64_t sample) const {
  const std::span<const Segment> tree = segments_of(samples[at(sample)].tree);
  std::vector<std::int32_t> rows(at(length(sample)));
  auto [segment, used] = samples[at(sample)].end;
  auto to = rows.end();
  while (segment >= 0) {
    const Segment& s = tree[at(segment)];
    to -= used;
    for (std::int32_t i = 0; i < used; ++i) *(to + i) = s.first + i;
    used = s.branch;
    segment = s.parent;
  }
  return rows;
}

Sequence Dataset::sequence(std::int64_t sample) const {
  const std::vector<std::int32_t> rows = rows_of(sample);
  const std::int64_t first = tree_tokens[at(samples[at(sample)].tree)];
  Sequence sequence;
  for (const std::int32_t row : rows) sequence.tokens.push_back(tokens[at(first + row)]);
  sequence.labels.assign(sequence.tokens.size(), unsupervised);
  std::size_t position = 0;
  for (const Target& target : targets_of(sample)) {
    while (rows[position] != target.row) ++position;
    if (position + 1 < rows.size()) {
      sequence.labels[position + 1] = target.token;
    } else {  // a supervised last token has no row
      sequence.tokens.push_back(target.token);
      sequence.labels.push_back(target.token);
    }
  }
  return sequence;
}

void Dataset::add_tree(const Dataset& from, std::int64_t tree, std::int32_t first_utterance) {
  const auto add = [&](auto& to, const auto& all, const std::vector<std::int64_t>& offsets) {
    const auto part = slice(all, offsets[at(tree)], offsets[at(tree + 1)]);
    to.insert(to.end(), part.begin(), part.end());
  };
  add(tokens, from.tokens, from.tree_tokens);
  add(segments, from.segments, from.tree_segments);
  for (std::int64_t i = from.tree_samples[at(tree)]; i < from.tree_samples[at(tree + 1)]; ++i) {
    const auto index = static_cast<std::int32_t>(samples.size());
    Sample& sample = samples.emplace_back(from.samples[at(i)]);
    sample.tree = static_cast<std::int32_t>(trees());
    if (sample.utterance >= 0) sample.utterance += first_utterance;
    for (const Target& target : from.targets_of(i)) targets.push_back({target.row, target.token, index});
    sample_targets.push_back(std::ssize(targets));
  }
  end_tree();
}

void Dataset::end_tree() {
  tree_tokens.push_back(std::ssize(tokens));
  tree_segments.push_back(std::ssize(segments));
  tree_samples.push_back(std::ssize(samples));
}

std::string how_to_shorten(const DatasetOrigin& origin, std::int64_t tokens) {
  if (!origin.recipe_name.empty()) return fmt::format("prepare with --max-tokens {}", tokens);
  if (origin.corpora[0] == "text") return fmt::format("prepare with --context {}", tokens);
  return "shorten the token lists; prepare with --base names the lines that are too long for it";
}

bool Dataset::has_gold() const {
  return std::any_of(utterances.begin(), utterances.end(),
                     [](const UtteranceReference& utterance) { return utterance.label >= 0; });
}

bool Dataset::has_candidates() const {
  if (utterances.empty()) return false;
  const std::size_t labels = origin.labels.size();
  std::vector<int> seen(utterances.size() * labels);
  for (const Sample& sample : samples) {
    if (sample.utterance < 0 || sample.answer < 0) return false;
    ++seen[at(sample.utterance) * labels + at(sample.answer)];
  }
  return std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; });
}

std::int64_t Dataset::unshared_tokens() const {
  std::int64_t total = 0;
  for (std::int64_t sample = 0; sample < std::ssize(samples); ++sample) total += length(sample);
  return total;
}

std::uint64_t Dataset::content_hash() const {
  Fnv1a hash;
  hash.add_array(tokens).add_array(tree_tokens).add_array(tree_segments).add_array(tree_samples);
  hash.add_array(column(segments, &Segment::length));
  hash.add_array(column(segments, &Segment::parent));
  hash.add_array(column(segments, &Segment::branch));
  hash.add_array(column(samples, [](const Sample& s) { return s.end.segment; }));
  hash.add_array(column(samples, [](const Sample& s) { return s.end.length; }));
  hash.add_array(column(samples, &Sample::utterance)).add_array(column(samples, &Sample::answer));
  hash.add_array(column(samples, &Sample::weight)).add_array(sample_targets);
  hash.add_array(column(targets, &Target::row)).add_array(column(targets, &Target::token));
  hash.add_array(column(utterances, &UtteranceReference::label));
  return end_content_hash(hash);
}

std::uint64_t Dataset::end_content_hash(Fnv1a hash) const {
  for (const std::string& label : origin.labels) hash.add_array(label);
  for (const std::string& word : origin.label_words) hash.add_array(word);
  hash.add_array(std::span(&features.width, 1)).add_array(features.values);
  return hash.value();
}

void Dataset::validate(const std::string& where) const {
  validate_origin(origin, where);
  validate_features(features, where);
  validate_offsets(tree_tokens, tokens.size(), 1, where, "tree_tokens");
  validate_offsets(tree_segments, segments.size(), 1, where, "tree_segments");
  validate_offsets(tree_samples, samples.size(), 1, where, "tree_samples");
  validate_offsets(sample_targets, targets.size(), 1, where, "sample_targets");
  require<DataError>(
      tree_segments.size() == tree_tokens.size() && tree_samples.size() == tree_tokens.size() &&
          sample_targets.size() == samples.size() + 1,
      where, ": offsets of ", tree_tokens.size(), ", ", tree_segments.size(), " and ", tree_samples.size(),
      " trees and of ", sample_targets.size(), " for ", samples.size(), " samples do not belong together");
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    require<DataError>(tokens[i] >= -features.rows() && tokens[i] < origin.vocabulary_size, where, ": token ",
                       tokens[i], " at ", i, " is outside the vocabulary of ", origin.vocabulary_size);
  }
  for (std::int64_t tree = 0; tree < trees(); ++tree) validate_tree(*this, tree, where);
  for (std::int64_t sample = 0; sample < std::ssize(samples); ++sample) validate_sample(*this, sample, where);
  for (const UtteranceReference& utterance : utterances) {
    require<DataError>(utterance.label >= -1 && utterance.label < std::ssize(origin.labels), where,
                       ": utterance ", utterance.id, " of dialogue ", utterance.dialogue, " has label ",
                       utterance.label, " of ", origin.labels.size());
    require<DataError>(utterance.corpus >= 0 && utterance.corpus < std::ssize(origin.corpora), where,
                       ": utterance ", utterance.id, " of dialogue ", utterance.dialogue, " is of corpus ",
                       utterance.corpus, " of ", origin.corpora.size());
  }
}

Dataset Dataset::read(const std::string& path) {
  const Hdf5Reader file(path);
  require<DataError>(file.has_attribute("format") && file.text("format") == format_name, path,
                     ": is HDF5 but not a data set of Chorus; make one with 'chorus prepare'");
  const std::int64_t version = file.integer("format_version");
  require<DataError>(version == format_version, path, ": has format version ", version,
                     ", this program reads ", format_version, "; run 'chorus prepare' again");
  Dataset dataset;
  read_origin(file, path, dataset.origin);
  read_trees(file, path, dataset);
  read_samples(file, path, dataset);
  read_targets(file, path, dataset);
  dataset.utterances = read_utterances_of(file, path);
  if (const std::int64_t width = file.integer("feature_width"); width != 0) {
    FloatArray features = file.read_floats("features");
    dataset.features = {static_cast<std::int32_t>(width), std::move(features.values), features.bits == 16};
  }
  if (file.has_attribute(shard_number)) {
    dataset.shard = {file.integer(shard_number), file.integer(is_last_shard) != 0, file.text(former_shard)};
    require<DataError>(dataset.shard.number > 0, path, ": attribute '", shard_number, "' is ",
                       dataset.shard.number);
  }
  dataset.validate(path);
  return dataset;
}

std::vector<UtteranceReference> Dataset::read_utterances(const std::string& path) {
  return read_utterances_of(Hdf5Reader(path), path);
}

void Dataset::write(const std::string& path) const {
  Hdf5Writer file(path, shard.number == 0 ? ArrayLayout::compressed : ArrayLayout::in_place);
  file.attribute("format", std::string(format_name));
  file.attribute("format_version", format_version);
  file.attribute("split", origin.split);
  file.attribute("recipe", origin.recipe_name);
  file.attribute("tokenizer_hash", fmt::format("{:016x}", origin.tokenizer_hash));
  file.attribute("vocabulary_size", std::int64_t{origin.vocabulary_size});
  if (shard.number > 0) {
    file.attribute(shard_number, shard.number);
    file.attribute(is_last_shard, std::int64_t{shard.last});
    file.attribute(former_shard, shard.former);
  }
  file.write_strings("recipe_text", std::vector{origin.recipe_text});
  file.write_strings("corpora", origin.corpora);
  file.write_strings("labels", origin.labels);
  file.write_strings("label_words", origin.label_words);

  write_column(file, "tokens", tokens);
  write_column(file, "tree_tokens", tree_tokens);
  write_column(file, "tree_segments", tree_segments);
  write_column(file, "tree_samples", tree_samples);
  write_column(file, "segment_length", column(segments, &Segment::length));
  write_column(file, "segment_parent", column(segments, &Segment::parent));
  write_column(file, "segment_branch", column(segments, &Segment::branch));
  write_column(file, "sample_segment", column(samples, [](const Sample& s) { return s.end.segment; }));
  write_column(file, "sample_length", column(samples, [](const Sample& s) { return s.end.length; }));
  write_column(file, "sample_utterance", column(samples, &Sample::utterance));
  write_column(file, "sample_answer", column(samples, &Sample::answer));
  write_column(file, "sample_weight", column(samples, &Sample::weight));
  write_column(file, "sample_targets", sample_targets);
  write_column(file, "target_row", column(targets, &Target::row));
  write_column(file, "target_token", column(targets, &Target::token));
  file.write_strings("utterance_dialogue", column(utterances, &UtteranceReference::dialogue));
  file.write_strings("utterance_id", column(utterances, &UtteranceReference::id));
  file.write_strings("utterance_speaker", column(utterances, &UtteranceReference::speaker));
  file.write_strings("utterance_text", column(utterances, &UtteranceReference::text));
  write_column(file, "utterance_corpus", column(utterances, &UtteranceReference::corpus));
  write_column(file, "utterance_label", column(utterances, &UtteranceReference::label));
  file.attribute("feature_width", std::int64_t{features.width});
  if (features.width > 0 && features.half_precision) file.write_halves("features", features.values);
  if (features.width > 0 && !features.half_precision) write_column(file, "features", features.values);
  file.commit();
}

DatasetBuilder::DatasetBuilder(DatasetOrigin origin) {
  validate_origin(origin, origin.split);
  dataset_.origin = std::move(origin);
}

std::int32_t DatasetBuilder::add_utterance(UtteranceReference utterance) {
  dataset_.utterances.push_back(std::move(utterance));
  return static_cast<std::int32_t>(dataset_.utterances.size() - 1);
}

void DatasetBuilder::set_features(FeatureTable features) { dataset_.features = std::move(features); }

std::int32_t DatasetBuilder::add_feature_rows(std::span<const float> rows) {
  FeatureTable& table = dataset_.features;
  const auto first = static_cast<std::int32_t>(table.rows());
  table.values.insert(table.values.end(), rows.begin(), rows.end());
  return first;
}

void DatasetBuilder::add_group(std::span<const GroupSample> samples, const std::string& where) {
  ForestBuilder builder;
  for (const GroupSample& sample : samples) {
    chorus::validate(sample.sequence, dataset_.origin.vocabulary_size, dataset_.features.rows(), where);
    builder.add(sample.sequence);
  }
  const auto tree = static_cast<std::int32_t>(dataset_.trees());
  const auto first_sample = static_cast<std::int32_t>(dataset_.samples.size());
  const std::vector<Segment>& segments = builder.forest().segments;
  dataset_.tokens.insert(dataset_.tokens.end(), builder.tokens().begin(), builder.tokens().end());
  dataset_.segments.insert(dataset_.segments.end(), segments.begin(), segments.end());
  std::size_t target = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    dataset_.samples.push_back(
        {tree, builder.path_ends()[i], samples[i].utterance, samples[i].answer, samples[i].weight});
    for (; target < builder.targets().size() && at(builder.targets()[target].sample) == i; ++target) {
      const Target& t = builder.targets()[target];
      dataset_.targets.push_back({t.row, t.token, first_sample + t.sample});
    }
    dataset_.sample_targets.push_back(std::ssize(dataset_.targets));
  }
  dataset_.end_tree();
}

Dataset DatasetBuilder::finish() {
  Dataset finished = std::move(dataset_);
  *this = DatasetBuilder(finished.origin);
  finished.validate(finished.origin.split);
  return finished;
}

}  // namespace chorus
