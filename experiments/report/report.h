#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/scoring/dev_metric.h"
#include "experiments/studies/comparison.h"

namespace chorus {

// A logged value over the steps of a training.
struct Curve {
  std::vector<double> steps, values;
};

// The scores of one class, as eval_results.json has them.
struct ReportedClass {
  std::string label;
  double precision = 0, recall = 0, f1 = 0;
  std::int64_t support = 0;
};

// One way of answering a split, from a folder that `evaluate` wrote.
struct ReportedEvaluation {
  std::string name;   // the folder, relative to what was reported on, and the way of answering
  std::string group;  // the folder's name without its seed
  std::filesystem::path predictions;  // of this way of answering; empty: none were kept
  std::string split, adapter;
  double weighted_f1 = 0, macro_f1 = 0, accuracy = 0;
  std::optional<double> majority;  // weighted F1 of its most frequent label
  std::vector<ReportedClass> classes;
  std::vector<std::vector<std::int64_t>> confusion;  // [gold][predicted]
};

// One training, from its folder.
struct ReportedTraining {
  std::string name, group;  // the group is the name without its seed
  std::filesystem::path folder;
  Curve loss, dev_f1;
  std::optional<double> dev, test;  // weighted F1 of the best checkpoint on dev, of the result on test
  DevMetric dev_metric = DevMetric::automatic;  // by which it was the best; automatic: none was chosen
  std::int64_t steps = 0;
  double seconds = 0, tokens_per_second = 0;
  std::int64_t peak_bytes = 0;
  bool finished = false, stopped_early = false;
};

// Two varied options of a sweep against each other: mean score on dev.
struct HeatMap {
  std::string rows, columns;  // names of the options
  std::vector<std::string> row_values, column_values;
  std::vector<std::optional<double>> cells;  // [rows, columns]
  DevMetric metric = DevMetric::weighted_f1;
};

// All that stands in some folders of trainings, evaluations, studies and sweeps.
struct Report {
  std::vector<ReportedTraining> trainings;
  std::vector<ReportedEvaluation> evaluations;
  std::vector<HeatMap> heat_maps;
  std::vector<std::string> remarks;  // on what of the files was left out

  // Looks through the folders and all below them. Throws DataError for one that is missing, for damaged files, and
  // where there is nothing to report.
  static Report collect(const std::vector<std::filesystem::path>& folders);

  // One row per training. RFC 4180.
  std::string to_csv() const;
  // What the page shows, as page/page.js reads it. Predictions are linked relative to `folder`, where the page will be,
  // and those of the best evaluation of each group of seeds stand in it.
  nlohmann::ordered_json to_json(const std::string& title, const std::filesystem::path& folder) const;
  // One page that holds this object and draws it, and needs nothing else: no network, no other file.
  std::string to_html(const std::string& title, const std::filesystem::path& folder) const;
};

}  // namespace chorus
