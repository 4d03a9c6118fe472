#include "launch/train_log.h"

#include <cerrno>
#include <cstring>

#include <nlohmann/json.hpp>

#include "core/files.h"
#include "data/text_file.h"
#include "launch/process.h"

namespace chorus {

namespace {

// Entries up to `step` of a log that a former session wrote; a line that was cut off is dropped.
std::string kept_entries(const std::filesystem::path& path, std::int64_t step) {
  if (step == 0 || !std::filesystem::exists(path)) return {};
  std::string kept;
  const std::string text = read_file(path);
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = text.substr(begin, end - begin);
    const nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
    if (entry.is_object() && entry.value("current_steps", step + 1) <= step) kept += line + "\n";
  }
  return kept;
}

}  // namespace

TrainLog::TrainLog(const TrainConfig& config, Console& console, bool writes, const TrainingState& start)
    : config_(config),
      console_(console),
      path_(std::filesystem::path(config.output) / "trainer_log.jsonl"),
      start_(start) {
  if (!writes) return;
  write_file_atomically(path_, kept_entries(path_, start.step));
  file_.reset(std::fopen(path_.c_str(), "ae"));
  require<DataError>(file_ != nullptr, path_.string(), ": cannot be written: ", std::strerror(errno));
}

void TrainLog::append(const std::string& line) {
  if (!file_) return;
  const bool written = std::fputs((line + "\n").c_str(), file_.get()) >= 0 && std::fflush(file_.get()) == 0;
  require<DataError>(written, path_.string(), ": cannot be written: ", std::strerror(errno));
}

void TrainLog::begin_interval() {
  tokens_ = unshared_tokens_ = steps_ = 0;
  seconds_ = data_seconds_ = communication_seconds_ = flops_ = 0;
}

void TrainLog::step_done(const StepReport& report, std::int64_t total_steps) {
  ++steps_;
  tokens_ += report.tokens;
  unshared_tokens_ += report.unshared_tokens;
  session_tokens_ += report.tokens;
  seconds_ += report.seconds;
  session_seconds_ += report.seconds;
  data_seconds_ += report.data_seconds;
  communication_seconds_ += report.communication_seconds;
  flops_ += report.flops;
  console_.progress("training", report.step, total_steps);
  const bool last = report.step == total_steps;
  if (!last && report.step % config_.logging_steps != 0) return;

  const double per_step = session_seconds_ / static_cast<double>(report.step - start_.step);
  const double remaining = per_step * static_cast<double>(total_steps - report.step);
  const auto rate = [&](double amount) { return amount / seconds_; };
  const auto milliseconds = [&](double seconds) { return 1000 * seconds / static_cast<double>(steps_); };
  console_.print(fmt::format(
      "step {}/{} | epoch {:.2f} | loss {:.4f} | grad_norm {:.3f} | lr {:.1e} | {:.0f} ms (data {:.0f} comm "
      "{:.0f}) | "
      "{:.0f} tok/s (effective {:.0f}) | {:.1f} GFLOP/s | mem {:.2f} GiB | eta {}",
      report.step, total_steps, report.epoch, report.loss, report.gradient_norm, report.learning_rate,
      milliseconds(seconds_), milliseconds(data_seconds_), milliseconds(communication_seconds_),
      rate(static_cast<double>(tokens_)), rate(static_cast<double>(unshared_tokens_)), rate(flops_) / 1e9,
      static_cast<double>(peak_resident_bytes()) / (1 << 30), print_duration(remaining)));

  nlohmann::ordered_json entry{
      {"current_steps", report.step},
      {"total_steps", total_steps},
      {"loss", report.loss},
      {"grad_norm", report.gradient_norm},
      {"lr", report.learning_rate},
      {"epoch", report.epoch},
      {"percentage", 100.0 * static_cast<double>(report.step) / static_cast<double>(total_steps)},
      {"throughput", rate(static_cast<double>(tokens_))},
      {"effective_throughput", rate(static_cast<double>(unshared_tokens_))},
      {"total_tokens", start_.total_tokens + session_tokens_},
      {"elapsed_time", start_.elapsed + session_seconds_},
      {"remaining_time", remaining}};
  if (config_.log_tensor_norms) entry["tensor_grad_norms"] = report.tensor_norms;
  append(entry.dump());
  begin_interval();
}

void TrainLog::evaluating(std::int64_t done, std::int64_t total) {
  console_.progress("scoring dev", done, total);
}

void TrainLog::evaluated(const TrainingState& state, const Evaluation& evaluation, const Dataset& dataset,
                         bool is_best) {
  console_.finish();
  nlohmann::ordered_json entry{{"current_steps", state.step}, {"eval_loss", evaluation.loss}};
  std::string line = fmt::format("dev at step {} | loss {:.4f}", state.step, evaluation.loss);
  if (!evaluation.predictions.empty()) {
    const Scores scores(dataset.origin.labels, evaluation.predictions);
    entry["eval_weighted_f1"] = scores.weighted_f1();
    entry["eval_accuracy"] = scores.accuracy();
    line += fmt::format(" | weighted F1 {:.2f} | accuracy {:.2f}", 100 * scores.weighted_f1(),
                        100 * scores.accuracy());
  }
  entry["best"] = is_best;
  console_.print(line + (is_best ? " | best so far, kept" : ""));
  append(entry.dump());
}

}  // namespace chorus
