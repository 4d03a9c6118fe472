#include "experiments/studies/training_progress.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

#include "data/text/json.h"
#include "ops/base/error.h"

namespace chorus {
namespace {

// Of the log's end: some hundred lines, more than stand between two scorings in any but the longest.
constexpr std::streamoff bytes_read = 1 << 16;

void take_line(const nlohmann::json& entry, std::optional<TrainingProgress>& progress) {
  const auto number = [&](const char* key, double otherwise) {
    const auto found = entry.find(key);
    return found != entry.end() && found->is_number() ? found->get<double>() : otherwise;
  };
  if (entry.contains("total_steps")) {
    if (!progress) progress.emplace();
    progress->step = static_cast<std::int64_t>(number("current_steps", 0));
    progress->total_steps = static_cast<std::int64_t>(number("total_steps", 0));
    progress->loss = number("loss", std::nan(""));  // one that is not finite stands there as null
    progress->remaining_seconds = number("remaining_time", 0);
  } else if (progress && entry.contains("eval_weighted_f1")) {
    progress->dev_f1 = number("eval_weighted_f1", 0);
  }
}

}  // namespace

std::optional<TrainingProgress> read_progress(const std::filesystem::path& output) {
  std::ifstream file(output / "trainer_log.jsonl", std::ios::binary | std::ios::ate);
  const std::streamoff size = file ? static_cast<std::streamoff>(file.tellg()) : 0;
  file.seekg(std::max<std::streamoff>(size - bytes_read, 0));
  std::optional<TrainingProgress> progress;
  for (std::string line; std::getline(file, line);) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (entry.is_object()) take_line(entry, progress);
  }
  return progress;
}

TrainingEnd read_training_end(const std::filesystem::path& output) {
  const std::filesystem::path file = output / "train_results.json";
  const nlohmann::json json = read_json_file(file);
  const JsonFields fields(json, file.string());
  TrainingEnd end;
  end.finished = fields.boolean("finished").value_or(false);
  end.stopped_early = fields.boolean("stopped_early").value_or(false);
  end.steps = fields.integer("steps").value_or(0);
  end.total_steps = fields.integer("total_steps").value_or(0);
  end.best_step = fields.integer("best_step");
  end.dev = fields.number("best_dev_metric");
  if (!end.dev) return end;
  // Older versions name no metric: they had weighted F1, which is never negative, or the loss.
  const std::string metric =
      fields.text("dev_metric")
          .value_or(std::string(name(*end.dev < 0 ? DevMetric::loss : DevMetric::weighted_f1)));
  const std::optional<DevMetric> found = find_dev_metric(metric);
  require<DataError>(found && *found != DevMetric::automatic, file.string(), ": field 'dev_metric' is '",
                     metric, "', which is no metric of dev");
  end.dev_metric = *found;
  return end;
}

}  // namespace chorus
