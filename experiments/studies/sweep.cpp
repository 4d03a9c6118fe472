#include "experiments/studies/sweep.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/scoring/metrics.h"
#include "data/sets/data_split.h"
#include "data/text/table.h"
#include "data/text/text.h"
#include "experiments/studies/comparison.h"
#include "ops/base/error.h"
#include "ops/base/random.h"

namespace chorus {
namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    parts.emplace_back(trimmed(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return parts;
}

double parse_bound(std::string_view text, const std::string& origin) {
  const std::optional<double> value = parse_real(text);
  require<ConfigurationError>(value && std::isfinite(*value), origin, ": '", text, "' is no number");
  return *value;
}

Dimension parse_dimension(const std::string& text, const std::string& origin) {
  const std::size_t equal = text.find('=');
  require<ConfigurationError>(equal != std::string::npos && equal > 0 && equal + 1 < text.size(), origin,
                              ": '", text, "' must be OPTION=VALUE,VALUE or OPTION=LOW..HIGH");
  Dimension dimension;
  dimension.option = trimmed(std::string_view(text).substr(0, equal));
  std::string values(trimmed(std::string_view(text).substr(equal + 1)));
  const std::size_t dots = values.find("..");
  if (dots == std::string::npos) {
    dimension.values = split(values, ',');
    for (const std::string& value : dimension.values) {
      require<ConfigurationError>(!value.empty() && std::ranges::count(dimension.values, value) == 1, origin,
                                  ": ", dimension.option,
                                  " has a value that is empty or stands there twice: ", values);
    }
    return dimension;
  }
  if (values.starts_with("log:")) {
    dimension.logarithmic = true;
    values = values.substr(4);
  }
  const std::size_t middle = values.find("..");
  dimension.low = parse_bound(trimmed(std::string_view(values).substr(0, middle)), origin);
  dimension.high = parse_bound(trimmed(std::string_view(values).substr(middle + 2)), origin);
  require<ConfigurationError>(dimension.low < dimension.high && (!dimension.logarithmic || dimension.low > 0),
                              origin, ": the range of ", dimension.option, " must rise",
                              dimension.logarithmic ? " from above 0" : "", ", is ", values);
  return dimension;
}

std::string draw(const Dimension& dimension, std::uint64_t seed, std::uint32_t trial, std::uint64_t index) {
  const std::uint64_t word = random_word(seed, RandomUse::selection, trial, index);
  if (!dimension.values.empty()) return dimension.values[(word * dimension.values.size()) >> 32];
  const double share = static_cast<double>(word) * 0x1p-32;
  if (!dimension.logarithmic)
    return fmt::format("{:.4g}", dimension.low + share * (dimension.high - dimension.low));
  return fmt::format("{:.4g}", dimension.low * std::pow(dimension.high / dimension.low, share));
}

Trial make_trial(const std::vector<Dimension>& dimensions, std::vector<std::string> values) {
  Trial trial{std::move(values), ""};
  for (std::size_t d = 0; d < dimensions.size(); ++d)
    trial.name += fmt::format("{}{}={}", d == 0 ? "" : ",", dimensions[d].option, trial.values[d]);
  std::ranges::replace(trial.name, '/', '-');
  return trial;
}

std::filesystem::path run_folder(const SweepRequest& request, std::size_t trial, int rung,
                                 std::uint64_t seed) {
  const std::string round = request.rungs == 1 ? "" : fmt::format("round-{}", rung + 1);
  return request.output / "runs" / round / request.trials[trial].name / fmt::format("seed-{}", seed);
}

void append(std::vector<std::string>& arguments, const CommandOptions& options) {
  for (const auto& [name, value] : options) {
    if (value) arguments.insert(arguments.end(), {"--" + name, *value});
  }
}

std::string score_or_dash(DevMetric metric, const std::vector<double>& values, bool complete) {
  if (!complete || values.empty()) return "–";
  const Spread found = spread(values);
  std::string text = print_score(metric, found.mean);
  if (found.count > 1)
    text += " ± " + print_score(metric, metric == DevMetric::loss ? -found.deviation : found.deviation);
  return text;
}

std::string remark_on(const TrialResult& result, const MajorityScores& majority) {
  if (result.failed > 0) return fmt::format("{} failed", result.failed);
  const bool constant = majority.dev && std::ranges::any_of(result.dev, [&](double score) {
                          return std::abs(score - *majority.dev) < 1e-12;
                        });
  std::vector<std::string> remarks;
  if (constant) remarks.emplace_back("the majority label alone");
  if (result.stopped_early == result.dev.size() && result.stopped_early > 0) {
    remarks.emplace_back("stopped early");
  } else if (result.stopped_early > 0) {
    remarks.push_back(fmt::format("{} of {} stopped early", result.stopped_early, result.dev.size()));
  }
  return joined(remarks, "; ");
}

// Mean on dev of each pair of values, where two options have lists and nothing else varies.
std::string heat_map(const SweepRequest& request, const std::vector<TrialResult>& ranked) {
  const std::vector<Dimension>& d = request.dimensions;
  if (d.size() != 2 || d[0].values.empty() || d[1].values.empty()) return "";
  std::vector<TableRow> rows{{fmt::format("{} \\ {}", d[0].option, d[1].option), d[1].values}};
  for (const std::string& value : d[0].values) {
    TableRow& row = rows.emplace_back(TableRow{value, {}});
    for (const std::string& other : d[1].values) {
      const auto found = std::ranges::find_if(ranked, [&](const TrialResult& result) {
        return request.trials[result.trial].values == std::vector<std::string>{value, other};
      });
      row.cells.push_back(
          found == ranked.end() ? "–" : score_or_dash(request.dev_metric, found->dev, found->failed == 0));
    }
  }
  return fmt::format("\n{} on dev\n{}", title(request.dev_metric), aligned(rows));
}

}  // namespace

std::vector<Dimension> parse_dimensions(std::string_view text, const std::string& origin) {
  std::vector<Dimension> dimensions;
  for (const std::string& part : split(text, ';')) {
    if (part.empty()) continue;
    dimensions.push_back(parse_dimension(part, origin));
    require<ConfigurationError>(
        std::ranges::count(dimensions, dimensions.back().option, &Dimension::option) == 1, origin, ": ",
        dimensions.back().option, " is varied twice");
  }
  require<ConfigurationError>(!dimensions.empty(), origin,
                              " names nothing to vary, as in \"lora-rank=4,8,16; learning-rate=1e-4,3e-4\"");
  return dimensions;
}

std::vector<Trial> grid_trials(const std::vector<Dimension>& dimensions) {
  std::vector<std::vector<std::string>> points{{}};
  for (const Dimension& dimension : dimensions) {
    require<ConfigurationError>(!dimension.values.empty(), "a grid cannot cover the range of ",
                                dimension.option, ": list its values, or draw --trials");
    std::vector<std::vector<std::string>> longer;
    for (const auto& point : points) {
      for (const std::string& value : dimension.values) {
        longer.push_back(point);
        longer.back().push_back(value);
      }
    }
    points = std::move(longer);
  }
  std::vector<Trial> trials;
  for (auto& point : points) trials.push_back(make_trial(dimensions, std::move(point)));
  return trials;
}

std::vector<Trial> random_trials(const std::vector<Dimension>& dimensions, std::size_t count,
                                 std::uint64_t seed) {
  constexpr std::uint32_t tries_per_trial = 50;  // before a small space counts as used up
  std::vector<Trial> trials;
  std::set<std::string> names;
  for (std::uint32_t attempt = 0; trials.size() < count && attempt < tries_per_trial * count; ++attempt) {
    std::vector<std::string> values;
    for (std::size_t d = 0; d < dimensions.size(); ++d)
      values.push_back(draw(dimensions[d], seed, attempt, d));
    Trial trial = make_trial(dimensions, std::move(values));
    if (names.insert(trial.name).second) trials.push_back(std::move(trial));
  }
  return trials;
}

double epochs_of(const SweepRequest& request, int rung) {
  const auto found = request.train.find("epochs");
  const double whole =
      found == request.train.end() || !found->second ? 3 : parse_bound(*found->second, "--epochs");
  return whole / std::pow(request.factor, request.rungs - 1 - rung);
}

std::vector<Job> training_jobs(const SweepRequest& request, const std::vector<std::size_t>& trials,
                               int rung) {
  std::vector<Job> jobs;
  for (const std::size_t trial : trials) {
    CommandOptions options = request.train;
    for (std::size_t d = 0; d < request.dimensions.size(); ++d)
      options[request.dimensions[d].option] = request.trials[trial].values[d];
    if (request.rungs > 1) options["epochs"] = fmt::format("{:g}", epochs_of(request, rung));
    for (const std::uint64_t seed : request.seeds) {
      Job job{.kind = JobKind::train, .name = "", .arguments = {}, .folder = {}, .after = {}};
      job.folder = run_folder(request, trial, rung, seed) / "train";
      job.name = job.folder.parent_path().lexically_relative(request.output / "runs").string();
      job.arguments = {"train",      "--base", request.base,           "--data",
                       request.data, "--seed", fmt::format("{}", seed)};
      append(job.arguments, options);
      job.arguments.insert(job.arguments.end(), {"--output", output_of(job).string()});
      jobs.push_back(std::move(job));
    }
  }
  return jobs;
}

std::vector<Job> test_jobs(const SweepRequest& request, std::size_t trial) {
  std::vector<Job> jobs;
  for (const std::uint64_t seed : request.seeds) {
    const std::filesystem::path run = run_folder(request, trial, request.rungs - 1, seed);
    Job job{.kind = JobKind::evaluate, .name = "", .arguments = {}, .folder = run / "evaluate", .after = {}};
    job.name = "test of " + run.lexically_relative(request.output / "runs").string();
    job.arguments = {"evaluate", "--base",     request.base,     "--adapter", (run / "train/output").string(),
                     "--data",   request.data, "--compare-base", "off"};
    append(job.arguments, request.evaluate);
    job.arguments.insert(job.arguments.end(), {"--output", output_of(job).string()});
    jobs.push_back(std::move(job));
  }
  return jobs;
}

double TrialResult::mean_dev() const {
  if (failed > 0 || dev.empty()) return -std::numeric_limits<double>::infinity();
  return spread(dev).mean;
}

void rank(std::vector<TrialResult>& results) {
  std::ranges::stable_sort(results, [](const TrialResult& a, const TrialResult& b) {
    if ((a.failed > 0) != (b.failed > 0)) return b.failed > 0;
    if (a.rung != b.rung) return a.rung > b.rung;
    return a.mean_dev() != b.mean_dev() ? a.mean_dev() > b.mean_dev() : a.trial < b.trial;
  });
}

std::vector<std::size_t> survivors(std::vector<TrialResult> results, int factor) {
  rank(results);
  std::erase_if(results, [](const TrialResult& result) { return result.failed > 0; });
  const std::size_t kept =
      (results.size() + static_cast<std::size_t>(factor) - 1) / static_cast<std::size_t>(factor);
  std::vector<std::size_t> trials;
  for (std::size_t i = 0; i < kept; ++i) trials.push_back(results[i].trial);
  std::ranges::sort(trials);
  return trials;
}

MajorityScores majority_scores(const std::filesystem::path& data, DevMetric dev_metric) {
  const auto of_split = [&](const char* name, DevMetric metric) -> std::optional<double> {
    if (metric == DevMetric::loss) return std::nullopt;
    const SplitFiles split = find_split(data, name);
    if (split.files.empty()) return std::nullopt;
    std::vector<std::string> labels;
    std::vector<std::int32_t> gold;
    for_each_part(split, [&](Dataset&& part) {
      labels = part.origin.labels;
      for (const UtteranceReference& utterance : part.utterances) {
        if (utterance.label >= 0) gold.push_back(utterance.label);
      }
    });
    if (gold.empty()) return std::nullopt;
    const std::int32_t most = majority_label(gold);
    std::vector<Prediction> answers;
    for (const std::int32_t label : gold) answers.push_back({.gold = label, .predicted = most});
    return score_of(metric, Scores(labels, answers));
  };
  return {of_split("dev", dev_metric), of_split("test", DevMetric::weighted_f1)};
}

std::string to_table(const SweepRequest& request, const std::vector<TrialResult>& ranked,
                     const MajorityScores& majority) {
  std::vector<TableRow> rows{{"", {}}};
  for (const Dimension& dimension : request.dimensions) rows[0].cells.push_back(dimension.option);
  if (request.rungs > 1) rows[0].cells.push_back("round");
  const DevMetric metric = request.dev_metric;
  const std::string dev = metric == DevMetric::weighted_f1 ? "dev" : fmt::format("dev ({})", title(metric));
  rows[0].cells.insert(rows[0].cells.end(), {dev, "test", ""});
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    const TrialResult& result = ranked[i];
    TableRow& row =
        rows.emplace_back(TableRow{fmt::format("{}", i + 1), request.trials[result.trial].values});
    if (request.rungs > 1) row.cells.push_back(fmt::format("{}", result.rung + 1));
    row.cells.push_back(score_or_dash(metric, result.dev, result.failed == 0));
    row.cells.push_back(score_or_dash(DevMetric::weighted_f1, result.test, true));
    row.cells.push_back(remark_on(result, majority));
  }
  if (majority.dev) {
    TableRow& row = rows.emplace_back(TableRow{"", {"majority label"}});
    row.cells.resize(rows[0].cells.size() - 3);
    row.cells.push_back(print_score(metric, *majority.dev));
    row.cells.push_back(majority.test ? print_score(DevMetric::weighted_f1, *majority.test) : "–");
    row.cells.emplace_back();
  }
  return aligned(rows) + heat_map(request, ranked);
}

nlohmann::ordered_json to_json(const SweepRequest& request, const std::vector<TrialResult>& ranked,
                               const MajorityScores& majority) {
  nlohmann::ordered_json json{{"base", request.base}, {"data", request.data}, {"seeds", request.seeds}};
  for (const Dimension& dimension : request.dimensions) json["options"].push_back(dimension.option);
  json["dev_metric"] = name(request.dev_metric);
  if (majority.dev) json["majority"]["dev"] = *majority.dev;
  if (majority.test) json["majority"]["test_weighted_f1"] = *majority.test;
  json["trials"] = nlohmann::ordered_json::array();
  for (const TrialResult& result : ranked) {
    nlohmann::ordered_json trial{{"name", request.trials[result.trial].name}};
    for (std::size_t d = 0; d < request.dimensions.size(); ++d)
      trial["values"][request.dimensions[d].option] = request.trials[result.trial].values[d];
    trial["round"] = result.rung + 1;
    trial["dev"] = result.dev;
    trial["failed"] = result.failed;
    if (result.stopped_early > 0) trial["stopped_early"] = result.stopped_early;
    if (!result.test.empty()) trial["test_weighted_f1"] = result.test;
    json["trials"].push_back(std::move(trial));
  }
  return json;
}

}  // namespace chorus
