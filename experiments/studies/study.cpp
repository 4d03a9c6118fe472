#include "experiments/studies/study.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include "data/text/json.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {
namespace {

using Json = nlohmann::json;

// Their values are files, or names of what Chorus ships.
constexpr std::array file_options{"recipe",   "auxiliary", "chat-template", "label-map",
                                  "captions", "features",  "tokenizer"};

// A name of something shipped has neither folder nor extension; what begins with a placeholder comes from outside.
bool is_relative_path(const std::string& value) {
  const std::filesystem::path path = value;
  return !value.starts_with("{") && path.is_relative() && (path.has_parent_path() || path.has_extension());
}

// What stands beside the study, in `folder`, is found from anywhere.
std::string found_from(const std::filesystem::path& folder, const std::string& option, std::string value) {
  std::size_t begin = 0;  // of the file's name
  if (option == "side") {
    begin = value.find('=') + 1;
  } else if (std::ranges::find(file_options, option) == file_options.end()) {
    return value;
  }
  const std::string file = value.substr(begin);
  return is_relative_path(file) ? value.substr(0, begin) + (folder / file).lexically_normal().string()
                                : value;
}

std::string parse_value(const Json& value, const std::string& option, const std::filesystem::path& folder,
                        const std::string& where) {
  if (value.is_string()) return found_from(folder, option, value.get<std::string>());
  if (value.is_boolean()) return value.get<bool>() ? "on" : "off";
  if (value.is_number()) return value.dump();
  require<DataError>(value.is_array(), where, " must be a string, a number, true, false, null or a list, is ",
                     value.dump());
  std::vector<std::string> items;
  for (const Json& item : value) {
    require<DataError>(item.is_string(), where, " must be a list of strings, holds ", item.dump());
    items.push_back(found_from(folder, option, item.get<std::string>()));
  }
  return joined(items, ",");
}

CommandOptions parse_options(const JsonFields& fields, const std::string& name,
                             const std::filesystem::path& folder) {
  CommandOptions options;
  if (!fields.has(name)) return options;
  const Json& object = fields.get(name);
  require<DataError>(object.is_object(), fields.where(), ": field '", name,
                     "' must be an object of options, is ", object.dump());
  for (const auto& [option, value] : object.items()) {
    const std::string where = fmt::format("{}: option '{}' of {}", fields.where(), option, name);
    require<DataError>(!option.empty() && !option.starts_with("-"), where, ": is written without dashes");
    if (value.is_null()) {
      options[option] = std::nullopt;
      continue;
    }
    options[option] = parse_value(value, option, folder, where);
  }
  return options;
}

std::map<std::string, std::map<std::string, double>> parse_published(
    const JsonFields& fields, const std::vector<std::string>& corpora) {
  std::map<std::string, std::map<std::string, double>> published;
  if (!fields.has("published")) return published;
  const Json& bases = fields.get("published");
  require<DataError>(bases.is_object(), fields.where(), ": field 'published' must be an object, is ",
                     bases.dump());
  for (const auto& [base, scores] : bases.items()) {
    const JsonFields of_base(scores, fmt::format("{}: published for {}", fields.where(), base), corpora);
    for (const auto& [corpus, score] : scores.items()) {
      require<DataError>(score.is_number(), of_base.where(), ": the score of ", corpus,
                         " must be a number, is ", score.dump());
      published[base][corpus] = score.get<double>();
    }
  }
  return published;
}

// It becomes the name of a folder.
void check_name(const std::string& name, const std::string& where) {
  const bool plain = !name.empty() && name.front() != '.' && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
  require<DataError>(plain, where, ": the name '", name,
                     "' must be of small letters, digits, '-', '_' and '.'");
}

StudyRow parse_row(const Json& json, const std::string& where, const std::vector<std::string>& corpora,
                   const std::filesystem::path& folder) {
  const JsonFields fields(json, where,
                          {"name", "title", "prepare", "train", "evaluate", "stages", "mixed", "published"});
  StudyRow row;
  row.name = fields.filled_text("name");
  check_name(row.name, where);
  row.title = fields.text("title").value_or(row.name);
  row.prepare = parse_options(fields, "prepare", folder);
  row.trained = !fields.has("train") || fields.get("train") != false;
  if (row.trained) row.train = parse_options(fields, "train", folder);
  row.evaluate = parse_options(fields, "evaluate", folder);
  row.mixed = fields.boolean("mixed").value_or(false);
  row.published = parse_published(fields, corpora);
  if (!fields.has("stages")) return row;
  require<DataError>(row.trained, where, ": has stages, but \"train\": false");
  for (const Json& stage : fields.list("stages")) {
    const JsonFields of_stage(stage, fmt::format("{}: stage {}", where, row.stages.size() + 1),
                              {"prepare", "train"});
    row.stages.push_back(
        {parse_options(of_stage, "prepare", folder), parse_options(of_stage, "train", folder)});
  }
  return row;
}

std::vector<std::string> parse_corpora(const JsonFields& fields) {
  std::vector<std::string> corpora;
  for (const Json& corpus : fields.list("corpora")) {
    require<DataError>(corpus.is_string(), fields.where(), ": a corpus must be a string, is ", corpus.dump());
    corpora.push_back(corpus.get<std::string>());
    check_name(corpora.back(), fields.where());
    require<DataError>(std::ranges::count(corpora, corpora.back()) == 1, fields.where(), ": the corpus '",
                       corpora.back(), "' stands there twice");
  }
  return corpora;
}

std::vector<std::uint64_t> parse_seeds(const JsonFields& fields) {
  std::vector<std::uint64_t> seeds;
  for (const Json& seed : fields.list("seeds")) {
    require<DataError>(seed.is_number_unsigned(), fields.where(),
                       ": a seed must be a whole number that is not negative, is ", seed.dump());
    seeds.push_back(seed.get<std::uint64_t>());
    require<DataError>(std::ranges::count(seeds, seeds.back()) == 1, fields.where(), ": the seed ",
                       seeds.back(), " stands there twice");
  }
  return seeds;
}

void check_published_base(const Study& study, const std::string& origin) {
  std::set<std::string> bases;
  for (const StudyRow& row : study.rows) {
    for (const auto& [base, scores] : row.published) bases.insert(base);
  }
  const std::vector<std::string> names(bases.begin(), bases.end());
  require<DataError>(
      bases.empty() == study.published_base.empty(), origin,
      ": 'published_base' must say which published scores the table shows, one of: ", joined(names, ", "));
  require<DataError>(bases.empty() || bases.contains(study.published_base), origin, ": published_base is '",
                     study.published_base, "', but scores are published for ", joined(names, ", "));
}

}  // namespace

CommandOptions overlaid(const CommandOptions& defaults, const CommandOptions& options) {
  CommandOptions out = options;
  out.insert(defaults.begin(), defaults.end());
  return out;
}

std::vector<std::string> split_words(std::string_view text, const std::string& origin) {
  std::vector<std::string> words;
  bool within = false;
  char quote = 0;
  for (const char c : text) {
    if (quote != 0 ? c == quote : c == '"' || c == '\'') {
      quote = quote != 0 ? '\0' : c;
      if (!within) words.emplace_back();
      within = true;
    } else if (quote == 0 && (c == ' ' || c == '\t' || c == '\n')) {
      within = false;
    } else {
      if (!within) words.emplace_back();
      within = true;
      words.back() += c;
    }
  }
  require<ConfigurationError>(quote == 0, origin, ": a quote is not closed in: ", text);
  return words;
}

std::vector<std::uint64_t> parse_seeds(const std::vector<std::string>& texts) {
  std::vector<std::uint64_t> seeds;
  for (const std::string& text : texts) {
    std::uint64_t seed = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
    require<ConfigurationError>(error == std::errc() && end == text.data() + text.size(), "--seeds: '", text,
                                "' is no whole number");
    seeds.push_back(seed);
  }
  return seeds;
}

CommandOptions parse_command_options(std::string_view text, const std::string& origin) {
  CommandOptions options;
  const std::vector<std::string> words = split_words(text, origin);
  for (std::size_t i = 0; i < words.size(); ++i) {
    require<ConfigurationError>(words[i].starts_with("--") && words[i].size() > 2, origin, ": '", words[i],
                                "' stands where the name of an option should, as in \"--epochs 1\"");
    const std::size_t equal = words[i].find('=');
    const std::string name = words[i].substr(2, equal == std::string::npos ? equal : equal - 2);
    const bool has_next = i + 1 < words.size() && !words[i + 1].starts_with("--");
    if (equal != std::string::npos) {
      options[name] = words[i].substr(equal + 1);
    } else if (has_next) {
      options[name] = words[++i];
    } else {
      options[name] = "on";
    }
  }
  return options;
}

Study Study::parse(const std::string& json, const std::string& origin, const std::filesystem::path& folder) {
  const Json parsed = parse_json(json, origin);
  const JsonFields fields(parsed, origin,
                          {"name", "title", "source", "notes", "corpora", "seeds", "prepare", "train",
                           "evaluate", "published_base", "rows"});
  Study study;
  study.name = fields.filled_text("name");
  check_name(study.name, origin);
  study.title = fields.filled_text("title");
  study.source = fields.text("source").value_or("");
  study.notes = fields.text("notes").value_or("");
  study.corpora = parse_corpora(fields);
  study.seeds = parse_seeds(fields);
  study.prepare = parse_options(fields, "prepare", folder);
  study.train = parse_options(fields, "train", folder);
  study.evaluate = parse_options(fields, "evaluate", folder);
  study.published_base = fields.text("published_base").value_or("");
  std::set<std::string> names;
  for (const Json& row : fields.list("rows")) {
    const std::string where = fmt::format("{}: row {}", origin, study.rows.size() + 1);
    study.rows.push_back(parse_row(row, where, study.corpora, folder));
    const std::string& name = study.rows.back().name;
    require<DataError>(names.insert(name).second, where, ": the name '", name, "' is taken already");
  }
  check_published_base(study, origin);
  return study;
}

Study Study::load(const std::filesystem::path& path) {
  return parse(read_text_file(path), path.string(), path.parent_path());
}

}  // namespace chorus
