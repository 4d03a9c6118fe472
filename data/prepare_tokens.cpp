#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>

#include "data/preparation.h"
#include "data/split_features.h"
#include "data/text/json.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

using Json = nlohmann::json;

// --- one line --------------------------------------------------------------------------------------------------

std::vector<std::int32_t> parse_integers(const JsonFields& fields, const char* name) {
  const std::string& where = fields.where();
  const Json& array = fields.get(name);
  require<DataError>(array.is_array(), where, ": field '", name, "' must be an array of integers");
  std::vector<std::int32_t> values;
  for (const Json& value : array) {
    const bool fits = value.is_number_integer() && std::abs(value.get<double>()) < 0x1p31;
    require<DataError>(fits, where, ": field '", name, "' holds ", value.dump(), ", which is no token");
    values.push_back(value.get<std::int32_t>());
  }
  return values;
}

std::vector<std::string> parse_keys(const JsonFields& fields) {
  std::vector<std::string> keys;
  if (!fields.has("features")) return keys;
  const Json& array = fields["features"];
  const std::string what = fields.where() + ": field 'features' ";
  require<DataError>(array.is_array(), what, "must be an array of keys in the feature file");
  for (const Json& key : array) {
    require<DataError>(key.is_string() && !key.get_ref<const std::string&>().empty(), what, "holds ",
                       key.dump(), ", which is no key in the feature file");
    keys.push_back(key.get<std::string>());
  }
  return keys;
}

struct TokenLine {
  Sequence sequence;  // feature_token(i) in the place of the rows of features[i]
  std::string group;
  std::vector<std::string> features;          // keys
  std::map<std::string, std::int64_t> notes;  // for the ledger
};

// Leaves of `values` what the attention mask does not call padding.
void remove_padding(std::vector<std::int32_t>& values, const std::vector<std::int32_t>& mask,
                    const char* name, const std::string& where) {
  require<DataError>(values.size() == mask.size(), where, ": ", mask.size(),
                     " elements in attention_mask but ", values.size(), " in ", name);
  const auto begin = std::find(mask.begin(), mask.end(), 1), end = std::find(begin, mask.end(), 0);
  for (auto element = mask.begin(); element != mask.end(); ++element) {
    const int expected = element >= begin && element < end ? 1 : 0;
    require<DataError>(*element == expected, where, ": attention_mask holds ", *element, " at position ",
                       element - mask.begin(),
                       "; it must be ones, with zeros for padding before or behind them");
  }
  values.erase(values.begin() + (end - mask.begin()), values.end());
  values.erase(values.begin(), values.begin() + (begin - mask.begin()));
}

// Positions count up. Others are those of several samples in one line, which are not to see each other.
void check_positions(const std::vector<std::int32_t>& positions, std::size_t length,
                     const std::string& where) {
  require<DataError>(positions.size() == length, where, ": ", length, " tokens but ", positions.size(),
                     " position_ids");
  for (std::size_t i = 1; i < length; ++i) {
    require<DataError>(positions[i] == positions[i - 1] + 1, where, ": position_ids go from ",
                       positions[i - 1], " to ", positions[i],
                       "; write samples that do not see each other on lines of their own");
  }
}

// Puts feature_token(i) into the place of the i-th placeholder, which is not learned.
void mark_features(TokenLine& line, std::int32_t placeholder, const std::string& where) {
  std::vector<std::int32_t>& tokens = line.sequence.tokens;
  std::vector<std::int32_t>& labels = line.sequence.labels;
  std::int32_t places = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] != placeholder) {
      require<DataError>(tokens[i] >= 0, where, ": token ", tokens[i], " at position ", i,
                         " is no token of a vocabulary and not that of --feature-token-id, ", placeholder);
      continue;
    }
    tokens[i] = feature_token(places++);
    if (i >= labels.size() || labels[i] == unsupervised) continue;
    require<DataError>(labels[i] == placeholder, where, ": label ", labels[i], " at position ", i,
                       ", where features stand, must be ", unsupervised);
    labels[i] = unsupervised;
    ++line.notes["supervised places of features, which are not learned"];
  }
  require<DataError>(places == std::ssize(line.features), where, ": input_ids have ", places,
                     " places for features (--feature-token-id ", placeholder, "), but field 'features' has ",
                     line.features.size(), " keys");
}

// Throws where one that every line has is missing. Tokenizers write fields that only other models read: these are noted.
void check_fields(const JsonFields& fields, TokenLine& line) {
  static const std::vector<std::string> known{"input_ids",      "labels",       "group",
                                              "attention_mask", "position_ids", "features"};
  std::vector<std::string> there;
  for (const std::string& name : fields.keys()) {
    if (!fields.has(name)) continue;
    there.push_back(name);
    if (std::find(known.begin(), known.end(), name) == known.end())
      line.notes["lines with a field '" + name + "', which is ignored"] = 1;
  }
  for (const char* name : {"input_ids", "labels"}) {
    require<DataError>(fields.has(name), fields.where(), ": field '", name, "' is missing; there are ",
                       joined(there, ", "));
  }
}

// Tokens and labels without padding, at positions that count up.
void parse_sequence(const JsonFields& fields, TokenLine& line) {
  const std::string& where = fields.where();
  Sequence& sequence = line.sequence;
  sequence = {parse_integers(fields, "input_ids"), parse_integers(fields, "labels")};
  std::vector<std::int32_t> positions;
  if (fields.has("position_ids")) positions = parse_integers(fields, "position_ids");
  if (fields.has("attention_mask")) {
    const std::vector<std::int32_t> mask = parse_integers(fields, "attention_mask");
    const std::size_t length = sequence.tokens.size();
    remove_padding(sequence.tokens, mask, "input_ids", where);
    remove_padding(sequence.labels, mask, "labels", where);
    if (fields.has("position_ids")) remove_padding(positions, mask, "position_ids", where);
    if (sequence.tokens.size() < length)
      line.notes["tokens of padding, left out"] = static_cast<std::int64_t>(length - sequence.tokens.size());
  }
  if (fields.has("position_ids")) check_positions(positions, sequence.tokens.size(), where);
  // As every trainer does: nothing precedes the first token that could predict it.
  if (!sequence.labels.empty() && !sequence.tokens.empty() && sequence.labels[0] == sequence.tokens[0]) {
    sequence.labels[0] = unsupervised;
    line.notes["supervised first tokens, which nothing can predict"] = 1;
  }
}

TokenLine parse_token_line(const std::string& text, const Preparation& preparation,
                           const std::string& where) {
  const Json object = parse_json(text, where);
  const JsonFields fields(object, where);
  TokenLine line;
  check_fields(fields, line);
  line.group = fields.text("group").value_or("");
  parse_sequence(fields, line);
  line.features = parse_keys(fields);
  if (!preparation.options.features.empty()) {
    mark_features(line, preparation.options.feature_token_id, where);
  } else {
    require<DataError>(line.features.empty(), where, ": field 'features' has ", line.features.size(),
                       " keys: give the file that holds them with --features");
  }
  validate(line.sequence, preparation.vocabulary_size, std::ssize(line.features), where);
  return line;
}

void check_length(const Sequence& sequence, const PrepareOptions& options, const std::string& where) {
  const std::int64_t rows = rows_of(sequence), most = options.longest_text;
  require<DataError>(most == 0 || rows <= most, where, ": ", rows, " tokens, and the base has ",
                     options.bound_of_texts, ": shorten the line, or leave it out with --skip-bad-rows");
}

// Gives each place in a line the rows of its array.
void insert_features(TokenLine& line, SplitFeatures& features, const std::string& where) {
  Sequence with_rows;
  for (std::size_t i = 0; i < line.sequence.tokens.size(); ++i) {
    const std::int32_t token = line.sequence.tokens[i];
    if (!is_feature(token)) {
      with_rows.tokens.push_back(token);
      with_rows.labels.push_back(line.sequence.labels[i]);
      continue;
    }
    const std::string& key = line.features[static_cast<std::size_t>(feature_row(token))];
    const PlacedRows rows = features.take(std::span(&key, 1), where, line.notes);
    for (std::int32_t row = 0; row < rows.count; ++row)
      with_rows.tokens.push_back(feature_token(rows.first + row));
    with_rows.labels.resize(with_rows.tokens.size(), unsupervised);
  }
  line.sequence = std::move(with_rows);
}

// --- trees -----------------------------------------------------------------------------------------------------

std::int64_t common_beginning(const Sequence& a, const Sequence& b) {
  const auto [end, unused] =
      std::mismatch(a.tokens.begin(), a.tokens.end(), b.tokens.begin(), b.tokens.end());
  return end - a.tokens.begin();
}

// Puts lines into groups, each of which becomes a tree: those of one name, and of the others those that follow each other
// and begin alike, so that their order stays that of the file. These are bounded in number, since a tree is what training
// shuffles: lines of one tree stand in one step or in the next. Groups are handed over in the order of their first lines, as
// soon as nothing can follow: one with a name, and what stands behind it, at the end.
class TokenGroups {
 public:
  using Group = std::vector<GroupSample>;

  TokenGroups(std::int64_t lines_per_tree, std::function<void(const Group&)> use)
      : lines_per_tree_(lines_per_tree), use_(std::move(use)) {}

  void add(TokenLine line) {
    if (!line.group.empty()) {
      put(named_.try_emplace(line.group, groups_.size()).first->second, std::move(line.sequence));
    } else {
      if (!open_ || !goes_on(groups_[*open_], line.sequence)) begin();
      put(*open_, std::move(line.sequence));
    }
  }

  void finish() {
    for (const Group& group : std::exchange(groups_, {})) use_(group);
  }

 private:
  static constexpr std::int64_t least_part = 4;  // more than a fourth of a line is to be there already

  // Another group without a name, behind which the one before it is complete.
  void begin() {
    if (named_.empty()) finish();
    open_ = groups_.size();
  }

  bool goes_on(const Group& group, const Sequence& sequence) const {
    if (std::ssize(group) >= lines_per_tree_) return false;
    return std::any_of(group.begin(), group.end(), [&](const GroupSample& sample) {
      return least_part * common_beginning(sample.sequence, sequence) > rows_of(sequence);
    });
  }

  void put(std::size_t index, Sequence sequence) {
    if (index == groups_.size()) groups_.emplace_back();
    groups_[index].push_back({std::move(sequence)});
  }

  std::int64_t lines_per_tree_;
  std::function<void(const Group&)> use_;
  std::vector<Group> groups_;
  std::unordered_map<std::string, std::size_t> named_;
  std::optional<std::size_t> open_;  // the last one without a name
};

// --- splits ----------------------------------------------------------------------------------------------------

std::int64_t count_lines(MappedText& file) {
  std::int64_t count = 0;
  LineScanner lines(file.text());
  for (; const auto line = lines.next_filled(); ++count) file.read_up_to(line->text);
  return count;
}

// Nothing for a line that is malformed, where such are skipped.
std::optional<TokenLine> read_token_line(std::string_view text, const std::string& where,
                                         const Preparation& preparation, SplitFeatures* features,
                                         SplitLedger& ledger) {
  try {
    TokenLine line = parse_token_line(std::string(text), preparation, where);
    if (features != nullptr) insert_features(line, *features, where);
    check_length(line.sequence, preparation.options, where);
    return line;
  } catch (const DataError&) {
    if (!preparation.options.skip_bad_rows) throw;
    ++ledger.skipped_rows["malformed line"];
    return std::nullopt;
  }
}

// Returns how many places have features.
std::int64_t prepare_token_lines(const Source& source, const FeatureFile* feature_file,
                                 Preparation& preparation) {
  const PrepareOptions& options = preparation.options;
  SplitLedger& ledger = preparation.ledger.splits.emplace_back();
  ledger.split = source.name;
  MappedText file(source.path);
  file.require_utf8();
  const std::int64_t rows = count_lines(file);
  SplitWriter split = preparation.writer(preparation.origin(source.name));
  std::optional<SplitFeatures> features;
  if (feature_file != nullptr) features.emplace(*feature_file, options, split);
  TokenGroups groups(options.lines_per_tree,
                     [&](const TokenGroups::Group& group) { split.add_group(group, source.path); });
  LineScanner lines(file.text());
  while (const auto row = lines.next_filled()) {
    ++ledger.rows_read;
    file.read_up_to(row->text);
    const std::string where = fmt::format("{}:{}", source.path, row->number);
    if (std::optional<TokenLine> line =
            read_token_line(row->text, where, preparation, features ? &*features : nullptr, ledger)) {
      ledger.longest_sample =
          std::max(ledger.longest_sample, std::int64_t{std::ssize(line->sequence.tokens)});
      for (const auto& [what, count] : line->notes) ledger.notes[what] += count;
      groups.add(*std::move(line));
    }
    preparation.report(source.name, ledger.rows_read, rows);
  }
  groups.finish();
  if (features) features->finish();
  Preparation::finish(split, ledger);
  return features ? features->places() : 0;
}

}  // namespace

void prepare_tokens(Preparation& preparation) {
  require<ConfigurationError>(preparation.vocabulary_size > 0,
                              "corpus tokens needs a tokenizer or the vocabulary size");
  const PrepareOptions& options = preparation.options;
  const std::optional<FeatureFile> feature_file = open_feature_file(options);
  std::int64_t places = 0;
  for (const Source& source : parse_sources(options.inputs, "train", "split"))
    places += prepare_token_lines(source, feature_file ? &*feature_file : nullptr, preparation);
  require<ConfigurationError>(!feature_file || places > 0, "--features: no line of ",
                              joined(options.inputs, ", "), " has a field 'features' that names arrays of ",
                              options.features, "; leave the option out, or name them");
}

}  // namespace chorus
