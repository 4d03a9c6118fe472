#include "launch/commands/train_log.h"

#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/text/text_file.h"

namespace chorus {

namespace {

// What TensorBoard shows of an entry: its key, and the tag there.
constexpr std::array<std::pair<std::string_view, std::string_view>, 11> tags{
    {{"loss", "train/loss"},
     {"grad_norm", "train/grad_norm"},
     {"lr", "train/learning_rate"},
     {"epoch", "train/epoch"},
     {"throughput", "speed/tokens_per_second"},
     {"effective_throughput", "speed/effective_tokens_per_second"},
     {"mfu", "speed/mfu"},
     {"eval_loss", "dev/loss"},
     {"eval_weighted_f1", "dev/weighted_f1"},
     {"eval_macro_f1", "dev/macro_f1"},
     {"eval_accuracy", "dev/accuracy"}}};

// Entries up to `step` of a log that a former session wrote; a line that was cut off is dropped.
std::vector<nlohmann::ordered_json> kept_entries(const std::filesystem::path& path, std::int64_t step) {
  if (step == 0 || !std::filesystem::exists(path)) return {};
  std::vector<nlohmann::ordered_json> kept;
  const std::string text = read_file(path);
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    auto entry = nlohmann::ordered_json::parse(text.substr(begin, end - begin), nullptr, false);
    const auto found = entry.is_object() ? entry.find("current_steps") : entry.end();
    if (found != entry.end() && found->is_number_integer() && *found <= step)
      kept.push_back(std::move(entry));
  }
  return kept;
}

constexpr std::int64_t lines_below_a_header = 20;
// Rows of 110 columns at most, of 105 where nothing is known of the peak that MFU is a share of. "data" and "comm" are the
// parts of a step's ms in which it waited for samples and for other ranks; "unshared" are the tokens per second that there
// would be without shared prefixes.
constexpr const char* header_row = "{:<16} {:>8} {:>7} {:>8} {:>7} {:>5} {:>5} {:>7} {:>8} {:>8} {:>8} {:>7}";
constexpr const char* row =
    "{:<16} {:>8.4f} {:>7.3f} {:>8.1e} {:>7.0f} {:>5.0f} {:>5.0f} {:>7.0f} {:>8.0f} {:>8} {:>8.2f} {:>7}";

constexpr const char* mfu_column = " {:>4}";

std::string print_flops(double per_second) {
  return per_second < 1e12 ? fmt::format("{:.1f} G", per_second / 1e9)
                           : fmt::format("{:.1f} T", per_second / 1e12);
}

std::string line(const nlohmann::ordered_json& entry) { return entry.dump() + "\n"; }

void append(EventFile& events, double time, const nlohmann::ordered_json& entry) {
  std::vector<Scalar> scalars;
  for (const auto& [key, tag] : tags) {
    const auto found = entry.find(key);
    if (found != entry.end() && found->is_number()) scalars.push_back({tag, found->get<float>()});
  }
  events.append(time, entry.at("current_steps"), scalars);
}

}  // namespace

TrainLog::TrainLog(const TrainConfig& config, Console& console, bool writes, const TrainingState& start,
                   std::function<std::int64_t()> memory_in_use, Activity& activity, double peak_flops)
    : config_(config),
      console_(console),
      start_(start),
      memory_in_use_(std::move(memory_in_use)),
      activity_(activity),
      peak_flops_(peak_flops) {
  activity_.now("training", start.step + 1);
  if (!writes) return;
  const std::filesystem::path output = config.output;
  const std::filesystem::path path = output / "trainer_log.jsonl";
  const std::vector<nlohmann::ordered_json> kept = kept_entries(path, start.step);
  std::string lines;
  for (const auto& entry : kept) lines += line(entry);
  write_file_atomically(path, lines);
  file_.emplace(path);
  if (!config.tensorboard) return;
  events_.emplace(output / "tensorboard");
  // The log tells no time of day: former sessions are shown as if the training had never paused.
  const double begin = wall_time() - start.elapsed;
  double elapsed = 0;
  for (const auto& entry : kept) {
    elapsed = entry.value("elapsed_time", elapsed);
    chorus::append(*events_, begin + elapsed, entry);
  }
}

void TrainLog::append(const nlohmann::ordered_json& entry) {
  if (file_) file_->append(line(entry));
  if (events_) chorus::append(*events_, wall_time(), entry);
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
  activity_.now("training", report.step + 1);
  const bool last = report.step == total_steps;
  if (!last && report.step % config_.logging_steps != 0) return;

  const double per_step = session_seconds_ / static_cast<double>(report.step - start_.step);
  const double remaining = per_step * static_cast<double>(total_steps - report.step);
  const auto rate = [&](double amount) { return amount / seconds_; };
  print_step(report, total_steps, remaining);

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
  if (peak_flops_ > 0) entry["mfu"] = rate(flops_) / peak_flops_;
  if (config_.log_tensor_norms) entry["tensor_grad_norms"] = report.tensor_norms;
  append(entry);
  begin_interval();
}

void TrainLog::print_step(const StepReport& report, std::int64_t total_steps, double remaining_seconds) {
  const auto rate = [&](double amount) { return amount / seconds_; };
  const auto milliseconds = [&](double seconds) { return 1000 * seconds / static_cast<double>(steps_); };
  const bool with_mfu = peak_flops_ > 0;
  if (lines_++ % lines_below_a_header == 0)
    console_.print(fmt::format(header_row, "", "loss", "norm", "lr", "ms", "data", "comm", "tok/s",
                               "unshared", "FLOP/s", "GiB", "eta") +
                   (with_mfu ? fmt::format(mfu_column, "MFU") : ""));
  const std::string mfu =
      with_mfu ? fmt::format(mfu_column, fmt::format("{:.0f}%", 100 * rate(flops_) / peak_flops_)) : "";
  console_.print(fmt::format(row, fmt::format("step {}/{}", report.step, total_steps), report.loss,
                             report.gradient_norm, report.learning_rate, milliseconds(seconds_),
                             milliseconds(data_seconds_), milliseconds(communication_seconds_),
                             rate(static_cast<double>(tokens_)), rate(static_cast<double>(unshared_tokens_)),
                             print_flops(rate(flops_)), static_cast<double>(memory_in_use_()) / (1 << 30),
                             print_duration(remaining_seconds)) +
                 mfu);
}

void TrainLog::evaluating(std::int64_t done, std::int64_t total) {
  console_.progress("scoring dev", done, total);
  activity_.now("scoring dev", done);
}

void TrainLog::evaluated(const TrainingState& state, const Evaluation& evaluation,
                         const DevVerdict& verdict) {
  console_.finish();
  activity_.now("training", state.step + 1);
  nlohmann::ordered_json entry{{"current_steps", state.step}, {"eval_loss", evaluation.loss}};
  std::string line = fmt::format("dev at step {} | loss {:.4f}", state.step, evaluation.loss);
  if (!evaluation.predictions.empty()) {
    const Scores scores = evaluation.scores();
    entry["eval_weighted_f1"] = scores.weighted_f1();
    entry["eval_macro_f1"] = scores.macro_f1();
    entry["eval_accuracy"] = scores.accuracy();
    line += fmt::format(" | weighted F1 {:.2f} | macro F1 {:.2f} | accuracy {:.2f}",
                        100 * scores.weighted_f1(), 100 * scores.macro_f1(), 100 * scores.accuracy());
  }
  entry["best"] = verdict.is_best;
  if (verdict.is_best) line += " | best so far, kept";
  if (config_.patience > 0) {
    entry["scorings_since_best"] = state.scorings_since_best;
    if (!verdict.is_best)
      line += fmt::format(" | patience: {} of {}", state.scorings_since_best, config_.patience);
  }
  if (verdict.ends_training) entry["stopped_early"] = true;
  console_.print(line);
  append(entry);
}

}  // namespace chorus
