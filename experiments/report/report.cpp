#include "experiments/report/report.h"

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/text/csv.h"
#include "data/text/json.h"
#include "data/text/json_values.h"
#include "data/text/text_file.h"
#include "experiments/studies/training_progress.h"
#include "ops/base/error.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// The part of a path that tells runs apart: without "train/output" and the like at its end.
std::string run_name(const fs::path& folder, const fs::path& root) {
  fs::path name = folder.lexically_relative(root);
  for (const char* end : {"output", "train", "evaluate"}) {
    if (name.filename() == end && name.has_parent_path()) name = name.parent_path();
  }
  const std::string text = name.generic_string();
  return text == "." || text.empty() ? root.lexically_normal().filename().string() : text;
}

// The name without its seed, so that runs of one configuration belong together.
std::string group_of(const std::string& name) {
  static const std::regex seed("[-_/]?seed[-_=]?[0-9]+");
  return std::regex_replace(name, seed, "");
}

// Returns "", or a remark on what was left out.
std::string read_log(const fs::path& path, ReportedTraining& training) {
  return for_each_log_line(path, [&](const nlohmann::ordered_json& entry, const std::string& where) {
    require<DataError>(entry.is_object() && entry.contains("current_steps"), where,
                       ": is no line of a training's log");
    read_values(where, [&] {
      const double step = entry["current_steps"].get<double>();
      const auto add = [&](Curve& curve, const char* key) {
        if (!entry.contains(key)) return;
        curve.steps.push_back(step);
        curve.values.push_back(entry[key].get<double>());
      };
      add(training.loss, "loss");
      add(training.dev_f1, "eval_weighted_f1");
    });
  });
}

// Weighted F1 at a step that dev was scored at.
std::optional<double> dev_f1_at(std::int64_t step, const ReportedTraining& training) {
  const Curve& curve = training.dev_f1;
  const auto found = std::ranges::find(curve.steps, static_cast<double>(step));
  if (found == curve.steps.end()) return std::nullopt;
  return curve.values[static_cast<std::size_t>(found - curve.steps.begin())];
}

ReportedTraining read_training(const fs::path& folder, const fs::path& root,
                               std::vector<std::string>& remarks) {
  ReportedTraining training;
  training.name = run_name(folder, root);
  training.group = group_of(training.name);
  training.folder = folder;
  if (std::string remark = read_log(folder / "trainer_log.jsonl", training); !remark.empty())
    remarks.push_back(std::move(remark));
  const fs::path results = folder / "train_results.json";
  if (!fs::exists(results)) return training;  // it still runs, or was killed
  const Json json = read_json_file(results);
  read_values(results.string(), [&] {
    training.seconds = json.value("train_runtime", 0.0);
    training.tokens_per_second = json.value("tokens_per_second", 0.0);
    training.peak_bytes = json.value("peak_resident_bytes", std::int64_t{0});
  });
  const TrainingEnd end = read_training_end(folder);
  training.finished = end.finished;
  training.stopped_early = end.stopped_early;
  training.steps = end.steps;
  training.dev_metric = end.dev_metric;
  // Runs chosen by different metrics are told by one. A log may begin behind the best step.
  if (end.best_step) training.dev = dev_f1_at(*end.best_step, training);
  if (!training.dev && end.dev_metric == DevMetric::weighted_f1) training.dev = end.dev;
  return training;
}

ReportedEvaluation read_answers(const Json& json, const std::string& where) {
  ReportedEvaluation evaluation;
  const auto number = [&](const Json& object, const char* key) {
    require<DataError>(object.contains(key) && object[key].is_number(), where, ": field '", key,
                       "' is missing");
    return object[key].get<double>();
  };
  evaluation.weighted_f1 = number(json, "weighted_f1");
  evaluation.macro_f1 = number(json, "macro_f1");
  evaluation.accuracy = number(json, "accuracy");
  const bool has_classes = json.contains("labels") && !json["labels"].empty() && json.contains("classes") &&
                           json.contains("confusion");
  require<DataError>(has_classes, where, ": has no classes");
  for (const Json& label : json["labels"]) {
    const Json& of_class = json["classes"].at(label.get<std::string>());
    evaluation.classes.push_back({label.get<std::string>(), number(of_class, "precision"),
                                  number(of_class, "recall"), number(of_class, "f1"),
                                  of_class.at("support").get<std::int64_t>()});
  }
  evaluation.confusion = json["confusion"].get<std::vector<std::vector<std::int64_t>>>();
  const std::size_t size = evaluation.classes.size();
  const bool square =
      evaluation.confusion.size() == size &&
      std::ranges::all_of(evaluation.confusion, [&](const auto& row) { return row.size() == size; });
  require<DataError>(square, where, ": 'confusion' has not a row and a column for each of the ", size,
                     " labels");
  return evaluation;
}

void read_evaluations(const fs::path& folder, const fs::path& root,
                      std::vector<ReportedEvaluation>& evaluations) {
  const fs::path file = folder / "eval_results.json";
  const Json json = read_json_file(file);
  if (json.contains("predicted")) return;  // of a split without gold labels
  require<DataError>(json.contains("results") && json["results"].is_object(), file.string(),
                     ": has no results");
  const std::string run = run_name(folder, root);
  for (const auto& way : json["results"].items()) {
    ReportedEvaluation& evaluation = evaluations.emplace_back(
        read_values(file.string(), [&] { return read_answers(way.value(), file.string()); }));
    evaluation.name = json["results"].size() > 1 ? run + ": " + way.key() : run;
    evaluation.group = group_of(run);
    read_values(file.string(), [&] {
      evaluation.split = json.value("split", "");
      if (json.contains("majority_weighted_f1"))
        evaluation.majority = json["majority_weighted_f1"].get<double>();
      if (way.key() != "base") evaluation.adapter = json.value("adapter", "");
    });
  }
  // `evaluate` keeps those of the last way.
  const fs::path predictions = folder / "predictions.jsonl";
  if (!json["results"].empty() && fs::exists(predictions)) evaluations.back().predictions = predictions;
}

std::optional<HeatMap> heat_map_of(const Json& json, const std::string& where) {
  if (!json.contains("options") || json["options"].size() != 2) return std::nullopt;
  HeatMap map{json["options"].at(0), json["options"].at(1), {}, {}, {}};
  const auto metric = find_dev_metric(json.value("dev_metric", std::string(name(DevMetric::weighted_f1))));
  require<DataError>(metric.has_value(), where, ": 'dev_metric' is no metric of dev");
  map.metric = *metric;
  const auto add = [](std::vector<std::string>& values, const std::string& value) {
    if (std::ranges::find(values, value) == values.end()) values.push_back(value);
  };
  for (const Json& trial : json.at("trials")) {
    add(map.row_values, trial.at("values").at(map.rows));
    add(map.column_values, trial.at("values").at(map.columns));
  }
  const auto by_number = [](const std::string& a, const std::string& b) {
    return std::strtod(a.c_str(), nullptr) < std::strtod(b.c_str(), nullptr);
  };
  std::ranges::stable_sort(map.row_values, by_number);
  std::ranges::stable_sort(map.column_values, by_number);
  map.cells.resize(map.row_values.size() * map.column_values.size());
  for (const Json& trial : json.at("trials")) {
    const auto dev = trial.at("dev").get<std::vector<double>>();
    if (dev.empty() || trial.at("failed") != 0) continue;
    const auto row = std::ranges::find(map.row_values, trial.at("values").at(map.rows).get<std::string>());
    const auto column =
        std::ranges::find(map.column_values, trial.at("values").at(map.columns).get<std::string>());
    map.cells[static_cast<std::size_t>(row - map.row_values.begin()) * map.column_values.size() +
              static_cast<std::size_t>(column - map.column_values.begin())] = spread(dev).mean;
  }
  return map;
}

std::optional<HeatMap> read_heat_map(const fs::path& file) {
  const Json json = read_json_file(file);
  return read_values(file.string(), [&] { return heat_map_of(json, file.string()); });
}

std::vector<fs::path> files_below(const fs::path& root, const std::string& name) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.is_regular_file() && entry.path().filename() == name) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

fs::path canonical_or_same(const fs::path& path) {
  std::error_code ignored;
  const fs::path canonical = fs::weakly_canonical(path, ignored);
  return canonical.empty() ? path : canonical;
}

// The score on test of each training whose result was evaluated.
void join_tests(Report& report) {
  std::map<fs::path, double> of_adapter;
  for (const ReportedEvaluation& evaluation : report.evaluations) {
    if (evaluation.split == "test" && !evaluation.adapter.empty())
      of_adapter[canonical_or_same(evaluation.adapter)] = evaluation.weighted_f1;
  }
  for (ReportedTraining& training : report.trainings) {
    const auto found = of_adapter.find(canonical_or_same(training.folder));
    if (found != of_adapter.end()) training.test = found->second;
  }
}

}  // namespace

Report Report::collect(const std::vector<fs::path>& folders) {
  Report report;
  for (const fs::path& folder : folders) {
    require<DataError>(fs::is_directory(folder), folder.string(), ": no such folder");
    for (const fs::path& file : files_below(folder, "trainer_log.jsonl"))
      report.trainings.push_back(read_training(file.parent_path(), folder, report.remarks));
    for (const fs::path& file : files_below(folder, "eval_results.json"))
      read_evaluations(file.parent_path(), folder, report.evaluations);
    for (const fs::path& file : files_below(folder, "sweep.json")) {
      if (auto map = read_heat_map(file)) report.heat_maps.push_back(std::move(*map));
    }
  }
  require<DataError>(!report.trainings.empty() || !report.evaluations.empty(), folders.at(0).string(),
                     ": holds no output of train, evaluate, study or sweep");
  join_tests(report);
  return report;
}

std::string Report::to_csv() const {
  std::string csv;
  append_csv_row(csv, std::vector<std::string>{"run", "group", "finished", "steps", "dev_weighted_f1",
                                               "test_weighted_f1", "seconds", "tokens_per_second",
                                               "peak_resident_bytes", "dev_metric", "stopped_early"});
  const auto optional = [](const std::optional<double>& value) {
    return value ? fmt::format("{}", *value) : "";
  };
  for (const ReportedTraining& t : trainings) {
    append_csv_row(csv, std::vector<std::string>{
                            t.name, t.group, t.finished ? "true" : "false", std::to_string(t.steps),
                            optional(t.dev), optional(t.test), fmt::format("{:.3f}", t.seconds),
                            fmt::format("{:.1f}", t.tokens_per_second), std::to_string(t.peak_bytes),
                            t.dev_metric == DevMetric::automatic ? "" : std::string(name(t.dev_metric)),
                            t.stopped_early ? "true" : "false"});
  }
  return csv;
}

}  // namespace chorus
