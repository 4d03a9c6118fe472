#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace chorus {

enum class ScheduleKind { constant, linear, cosine };

std::string_view name(ScheduleKind kind);
// Throws ConfigurationError with the names there are.
ScheduleKind parse_schedule_kind(std::string_view text);

// What a training is asked.
struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::cosine;
  double peak = 2e-4;  // learning rate after the warm-up
  double warmup_ratio = 0.05;
  std::optional<std::int64_t> warmup_steps;  // instead of the ratio
};

// The learning rates of a training of so many steps.
struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  double peak = 0;                // learning rate after the warm-up
  std::int64_t warmup_steps = 0;  // w
  std::int64_t total_steps = 0;   // T
};

// Throws ConfigurationError for negative numbers.
void validate(const Schedule& schedule);

// The warm-up's share of the steps is rounded up. Throws as validate() does.
Schedule make_schedule(const ScheduleConfig& config, std::int64_t total_steps);

// What decides the learning rate of every step, by the names of the options; warmup-steps also where the ratio gave
// them.
nlohmann::ordered_json identity(const Schedule& schedule);

// The learning rate of step s, counted from 0:
//   s < w:     peak · s / w
//   constant:  peak
//   linear:    peak · (T - s) / (T - w)
//   cosine:    peak · (1 + cos(π (s - w) / (T - w))) / 2
// The last two stay 0 from T on. A warm-up longer than the training is cut off by its end.
double learning_rate(const Schedule& schedule, std::int64_t step);

}  // namespace chorus
