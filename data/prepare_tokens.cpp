#include <cmath>
#include <unordered_map>

#include "data/json_fields.h"
#include "data/preparation.h"
#include "data/text_file.h"
#include "data/words.h"
#include "ops/error.h"

namespace chorus {

namespace {

using Json = nlohmann::json;

std::vector<std::int32_t> parse_integers(const JsonObject& fields, const char* name) {
  const std::string& where = fields.origin();
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

struct TokenLine {
  Sequence sequence;
  std::string group;
};

TokenLine parse_token_line(const std::string& line, std::int64_t vocabulary_size, const std::string& where) {
  const Json object = parse_json(line, where);
  const JsonObject fields(object, where, {"input_ids", "labels", "group"});
  TokenLine parsed;
  parsed.group = fields.text_or("group", "");
  parsed.sequence = {parse_integers(fields, "input_ids"), parse_integers(fields, "labels")};
  validate(parsed.sequence, vocabulary_size, 0, where);
  return parsed;
}

}  // namespace

void prepare_tokens(Preparation& preparation) {
  require<ConfigurationError>(preparation.vocabulary_size > 0,
                              "corpus tokens needs a tokenizer or the vocabulary size");
  for (const Source& source : parse_sources(preparation.options.inputs, "train", "split")) {
    SplitLedger& ledger = preparation.ledger.splits.emplace_back();
    ledger.split = source.name;
    const std::vector<std::string> lines = split_lines(read_text_file(source.path));
    std::vector<std::vector<GroupSample>> groups;
    std::unordered_map<std::string, std::size_t> group_index;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::string where = fmt::format("{}:{}", source.path, i + 1);
      ++ledger.rows_read;
      try {
        TokenLine line = parse_token_line(lines[i], preparation.vocabulary_size, where);
        const std::size_t index = line.group.empty()
                                      ? groups.size()
                                      : group_index.try_emplace(line.group, groups.size()).first->second;
        if (index == groups.size()) groups.emplace_back();
        ledger.longest_sample =
            std::max(ledger.longest_sample, std::int64_t{std::ssize(line.sequence.tokens)});
        groups[index].push_back({std::move(line.sequence)});
      } catch (const DataError&) {
        if (!preparation.options.skip_bad_rows) throw;
        ++ledger.skipped_rows["malformed line"];
      }
      preparation.report(source.name, ledger.rows_read, std::ssize(lines));
    }
    DatasetBuilder builder(preparation.origin(source.name));
    for (const auto& group : groups) builder.add_group(group, source.path);
    preparation.finish(builder, ledger);
  }
}

}  // namespace chorus
