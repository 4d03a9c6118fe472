#include "core/training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <nlohmann/json.hpp>

#include "ops/base/error.h"

namespace chorus {

std::string_view name(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::constant:
      return "constant";
    case ScheduleKind::linear:
      return "linear";
    case ScheduleKind::cosine:
      return "cosine";
  }
  throw Error("unknown kind of schedule");
}

ScheduleKind parse_schedule_kind(std::string_view text) {
  for (const auto kind : {ScheduleKind::constant, ScheduleKind::linear, ScheduleKind::cosine}) {
    if (text == name(kind)) return kind;
  }
  throw ConfigurationError(fmt::format("--schedule {}: there are constant, linear and cosine", text));
}

void validate(const Schedule& schedule) {
  const auto& [kind, peak, warmup, total] = schedule;
  require<ConfigurationError>(std::isfinite(peak) && peak >= 0, "--learning-rate ", peak,
                              ": it must be a number of at least 0");
  require<ConfigurationError>(total >= 0 && warmup >= 0, "a schedule of ", total, " steps with ", warmup,
                              " steps of warm-up: neither may be negative");
}

Schedule make_schedule(const ScheduleConfig& config, std::int64_t total_steps) {
  const auto by_ratio =
      static_cast<std::int64_t>(std::ceil(config.warmup_ratio * static_cast<double>(total_steps)));
  const Schedule schedule{config.kind, config.peak,
                          config.warmup_steps.value_or(std::min(by_ratio, total_steps)), total_steps};
  validate(schedule);
  return schedule;
}

nlohmann::ordered_json identity(const Schedule& schedule) {
  return {{"schedule", name(schedule.kind)},
          {"learning-rate", schedule.peak},
          {"warmup-steps", schedule.warmup_steps},
          {"total steps", schedule.total_steps}};
}

double learning_rate(const Schedule& schedule, std::int64_t step) {
  const auto& [kind, peak, warmup, total] = schedule;
  if (step < warmup) return peak * static_cast<double>(step) / static_cast<double>(warmup);
  if (kind == ScheduleKind::constant) return peak;
  if (step >= total) return 0;
  const double done = static_cast<double>(step - warmup) / static_cast<double>(total - warmup);
  if (kind == ScheduleKind::linear) return peak * (1 - done);
  return peak * (1 + std::cos(std::numbers::pi * done)) / 2;
}

}  // namespace chorus
