#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/sets/batch.h"
#include "data/sets/forest_builder.h"
#include "ops/base/hash.h"

namespace chorus {

// What a split is and what it was made with.
struct DatasetOrigin {
  std::vector<std::string> corpora;      // "meld", "tokens", "text", …; several where they are mixed
  std::string split;                     // "train", "dev", "test" or what the user called it
  std::string recipe_name, recipe_text;  // empty where no prompts were written
  std::uint64_t tokenizer_hash = 0;      // Tokenizer::hash(), 0 where none was used
  std::int32_t vocabulary_size = 0;      // every token is smaller
  std::vector<std::string> labels;       // [L] of the corpus, in index order
  std::vector<std::string> label_words;  // [L] as they stand in prompts
  bool operator==(const DatasetOrigin&) const = default;
};

// What makes samples of at most `tokens` rows of such data, for messages: "prepare them with --max-tokens 512".
std::string how_to_shorten(const DatasetOrigin& origin, std::int64_t tokens);

// Which utterance of the corpus samples speak of.
struct UtteranceReference {
  std::int32_t corpus = 0;  // index into DatasetOrigin::corpora
  std::string dialogue, id, speaker, text;
  std::int32_t label = -1;  // gold, index into DatasetOrigin::labels
  bool operator==(const UtteranceReference&) const = default;
};

// One prompt with one answer: a path through its tree.
struct Sample {
  std::int32_t tree = 0;
  PathEnd end;                  // Segments are counted from the first of the tree.
  std::int32_t utterance = -1;  // index into Dataset::utterances; -1: none
  std::int32_t answer = -1;     // index of the label it answers with; -1: none
  float weight = 1;             // of its tokens in the loss
  bool operator==(const Sample&) const = default;
};

// What is known of utterances beside their words, as rows of d numbers. A projector maps a row into the model's width,
// where it takes the place of a token.
struct FeatureTable {
  std::int32_t width = 0;       // d; 0: there are none
  std::vector<float> values;    // [rows, d]
  bool half_precision = false;  // kept as f16 in the file
  std::int64_t rows() const { return width == 0 ? 0 : std::ssize(values) / width; }
  std::span<const float> row(std::int64_t index) const {
    return std::span(values).subspan(static_cast<std::size_t>(index * width),
                                     static_cast<std::size_t>(width));
  }
  bool operator==(const FeatureTable&) const = default;
};

// Which part of a split a file is.
struct ShardPlace {
  std::int64_t number = 0;  // from 1; 0: it is the whole split
  bool last = false;
  std::string former;  // hash of the file before, as print_hash() has it
  bool operator==(const ShardPlace&) const = default;
};

// One split, or a shard of it (data_split.h), as it is stored: trees of tokens, one per dialogue (or other group), and the
// samples in them. A "tree" of prompts that do not even share the first token has several roots. The id of a token is its
// index in `tokens`.
struct Dataset {
  static constexpr std::int64_t format_version = 2;

  DatasetOrigin origin;
  std::vector<std::int32_t> tokens;  // [N] tree after tree
  std::vector<Segment> segments;     // [S] tree after tree; first and parent are relative to the tree
  // [trees + 1] offsets into tokens, segments and samples
  std::vector<std::int64_t> tree_tokens{0}, tree_segments{0}, tree_samples{0};
  std::vector<Sample> samples;                  // tree after tree
  std::vector<Target> targets;                  // [T] sample after sample; row is relative to the tree
  std::vector<std::int64_t> sample_targets{0};  // [samples + 1] offsets into targets
  std::vector<UtteranceReference> utterances;
  FeatureTable features;
  ShardPlace shard;
  bool operator==(const Dataset&) const = default;

  std::int64_t trees() const { return std::ssize(tree_tokens) - 1; }
  std::span<const Segment> segments_of(std::int64_t tree) const;
  std::span<const Target> targets_of(std::int64_t sample) const;
  // The rows of a sample, relative to its tree, from the root down.
  std::vector<std::int32_t> rows_of(std::int64_t sample) const;
  // The separate prompt that the sample stands for.
  Sequence sequence(std::int64_t sample) const;
  // Rows that the sample would take alone, sum over all samples: sequence lengths without supervised last
  // tokens.
  std::int64_t length(std::int64_t sample) const;
  std::int64_t unshared_tokens() const;
  // Whether any utterance has a label: dialogues without labels can be answered, not scored.
  bool has_gold() const;
  // Whether it can be scored: every utterance has one sample per label.
  bool has_candidates() const;
  // Of all that a training or a scoring computes with; not of names and texts of utterances, nor of the recipe, which
  // only say where the tokens come from.
  std::uint64_t content_hash() const;
  // The end of it, behind the hash of the arrays.
  std::uint64_t end_content_hash(Fnv1a arrays) const;

  // Adds a tree of another data set, whose utterances stand here from `first_utterance` on.
  void add_tree(const Dataset& from, std::int64_t tree, std::int32_t first_utterance);
  // The end of the tree whose tokens, segments and samples were added last.
  void end_tree();

  // Throws DataError that begins with `where` unless everything above holds.
  void validate(const std::string& where) const;

  // Reads and validates. Throws DataError for a file that is missing, no data set, of another version or
  // damaged.
  static Dataset read(const std::string& path);
  // The utterances of such a file alone.
  static std::vector<UtteranceReference> read_utterances(const std::string& path);
  // Never overwrites: throws ConfigurationError if `path` exists. The arrays of a shard can be read where it is mapped.
  void write(const std::string& path) const;
};

// A sample on its way into a data set.
struct GroupSample {
  Sequence sequence;
  std::int32_t utterance = -1;
  std::int32_t answer = -1;
  float weight = 1;
};

class DatasetBuilder {
 public:
  explicit DatasetBuilder(DatasetOrigin origin);

  // What was added since the last finish().
  const Dataset& so_far() const { return dataset_; }

  // Returns the index of the utterance.
  std::int32_t add_utterance(UtteranceReference utterance);
  // The rows that sequences refer to by feature_token(). Before the first sequence that does.
  void set_features(FeatureTable features);
  // Adds rows of that width behind them. Returns the index of the first.
  std::int32_t add_feature_rows(std::span<const float> rows);
  // Adds one tree. `where` (a file and line, a dialogue) begins the message if a sequence is not valid.
  void add_group(std::span<const GroupSample> samples, const std::string& where);
  // The builder is empty afterwards.
  Dataset finish();

 private:
  Dataset dataset_;
};

}  // namespace chorus
