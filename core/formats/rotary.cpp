#include "core/formats/rotary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"

namespace chorus {

namespace {

std::string_view name(RopeType type) {
  constexpr std::array<std::string_view, 4> names{"linear", "dynamic", "llama3", "yarn"};
  return names.at(static_cast<std::size_t>(type));
}

std::optional<RopeType> rope_type_of(std::string_view text) {
  for (const RopeType type : {RopeType::linear, RopeType::dynamic, RopeType::llama3, RopeType::yarn}) {
    if (text == name(type)) return type;
  }
  return std::nullopt;
}

// What the rotated are multiplied by where no attention_factor says it.
double yarn_attention_factor(const JsonFields& fields, double factor) {
  const auto grown = [&](double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1; };
  const double mscale = fields.number("mscale").value_or(0),
               all = fields.number("mscale_all_dim").value_or(0);
  return mscale != 0 && all != 0 ? grown(mscale) / grown(all) : grown(1);
}

RopeScaling read_rope_scaling(const JsonFields& fields, RopeType type, std::int64_t max_positions) {
  const auto number = [&](std::string_view key, std::optional<double> fallback = std::nullopt) {
    const auto found = fields.number(key), value = found ? found : fallback;
    require<DataError>(value.has_value(), fields.where(), " of type ", name(type), " has no ", key);
    require<DataError>(std::isfinite(*value) && *value > 0, fields.where(), ": ", key, " is ", *value,
                       ", not above 0");
    return *value;
  };
  RopeScaling scaling{.type = type, .factor = number("factor")};
  const auto original = fields.integer("original_max_position_embeddings");
  if (type == RopeType::dynamic) {
    require<DataError>(!original || *original >= max_positions, fields.where(),
                       " of type dynamic: original_max_position_embeddings is ", original.value_or(0),
                       ", below the ", max_positions, " of max_position_embeddings; ",
                       "rotations that depend on the length of the text are not computed");
  }
  if (type == RopeType::linear || type == RopeType::dynamic) return scaling;
  if (type == RopeType::llama3) {
    scaling.low_freq_factor = number("low_freq_factor");
    scaling.high_freq_factor = number("high_freq_factor");
    scaling.original_max_position = fields.required_integer("original_max_position_embeddings");
    require<DataError>(scaling.low_freq_factor < scaling.high_freq_factor, fields.where(),
                       ": low_freq_factor ", scaling.low_freq_factor, " is not below high_freq_factor ",
                       scaling.high_freq_factor);
  } else {
    scaling.original_max_position = original.value_or(max_positions);
    scaling.beta_fast = number("beta_fast", 32);
    scaling.beta_slow = number("beta_slow", 1);
    // To transformers null is false, and a missing key is true.
    const bool missing = std::ranges::count(fields.keys(), "truncate") == 0;
    scaling.truncate = fields.boolean("truncate").value_or(missing);
    scaling.attention_factor = number("attention_factor", yarn_attention_factor(fields, scaling.factor));
  }
  require<DataError>(scaling.original_max_position > 0, fields.where(),
                     ": original_max_position_embeddings is ", scaling.original_max_position);
  return scaling;
}

// What stands under one of the two names.
struct Found {
  std::optional<double> theta;
  std::optional<RopeScaling> scaling;
};

// `key` is rope_scaling, whose field of the type was once called "type", or rope_parameters of
// transformers 5.
std::optional<Found> read_part(const JsonFields& config, std::string_view key, std::int64_t max_positions) {
  if (config[key].is_null()) return std::nullopt;
  const JsonFields fields(config[key], fmt::format("{}: {}", config.where(), key));
  Found found;
  const std::string written = fields.text("rope_type").value_or(fields.text("type").value_or("default"));
  const std::optional<RopeType> type = rope_type_of(written);
  require<DataError>(type || written == "default", fields.where(), " has the type \"", written,
                     "\"; \"default\", \"linear\", \"dynamic\", \"llama3\" and \"yarn\" are computed");
  constexpr std::array known{"rope_type",
                             "type",
                             "rope_theta",
                             "factor",
                             "low_freq_factor",
                             "high_freq_factor",
                             "partial_rotary_factor",
                             "original_max_position_embeddings"};
  constexpr std::array of_yarn{"beta_fast", "beta_slow",      "truncate",
                               "mscale",    "mscale_all_dim", "attention_factor"};
  for (const auto& name : fields.keys()) {
    const bool is_known = std::ranges::count(known, name) == 1 ||
                          (type == RopeType::yarn && std::ranges::count(of_yarn, name) == 1);
    require<DataError>(is_known || fields[name].is_null(), fields.where(), " has the unknown field ", name,
                       " = ", fields[name].dump());
  }
  fields.require_null_or("partial_rotary_factor", 1, "every head is rotated as a whole");
  found.theta = fields.number("rope_theta");
  if (type) found.scaling = read_rope_scaling(fields, *type, max_positions);
  return found;
}

// The index of the angle, of K/2, that turns so many times in the original context; between two where it is no whole number.
double yarn_index(const Rotary& rope, std::int64_t head_width, double turns) {
  const double wavelength = static_cast<double>(rope.scaling->original_max_position) / turns;
  return static_cast<double>(head_width) * std::log(wavelength / (2 * std::numbers::pi)) /
         (2 * std::log(rope.theta));
}

// Between these two indices is interpolated.
std::pair<double, double> yarn_range(const Rotary& rope, std::int64_t head_width) {
  const RopeScaling& scaling = *rope.scaling;
  double first = yarn_index(rope, head_width, scaling.beta_fast),
         last = yarn_index(rope, head_width, scaling.beta_slow);
  if (scaling.truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, static_cast<double>(head_width - 1));
  return {first, first == last ? last + 0.001 : last};
}

// Radians per position of angle j of K/2.
double frequency_of(const Rotary& rope, std::int64_t head_width, std::int64_t j) {
  double frequency = std::pow(rope.theta, -2.0 * static_cast<double>(j) / static_cast<double>(head_width));
  const RopeScaling scaling = rope.scaling.value_or(RopeScaling{RopeType::dynamic});
  if (scaling.type == RopeType::linear) frequency /= scaling.factor;
  if (scaling.type == RopeType::llama3) {
    const double turns =
        static_cast<double>(scaling.original_max_position) * frequency / (2 * std::numbers::pi);
    const double low = scaling.low_freq_factor, high = scaling.high_freq_factor;
    // 0 where the original context holds fewer than `low` turns, 1 where it holds more than `high`
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    frequency *= kept + (1 - kept) / scaling.factor;
  }
  if (scaling.type == RopeType::yarn) {
    const auto [first, last] = yarn_range(rope, head_width);
    const double divided = std::clamp((static_cast<double>(j) - first) / (last - first), 0.0, 1.0);
    frequency *= 1 - divided + divided / scaling.factor;
  }
  return frequency;
}

}  // namespace

Rotary read_rotary(const JsonFields& fields, std::int64_t max_positions) {
  const auto parameters = read_part(fields, "rope_parameters", max_positions),
             scaling = read_part(fields, "rope_scaling", max_positions);
  if (parameters && scaling) {
    require<DataError>(parameters->scaling == scaling->scaling, fields.where(), ": rope_parameters ",
                       fields["rope_parameters"].dump(), " and rope_scaling ", fields["rope_scaling"].dump(),
                       " contradict each other");
  }
  std::optional<double> theta;
  for (const auto& found : {fields.number("rope_theta"), scaling ? scaling->theta : std::nullopt,
                            parameters ? parameters->theta : std::nullopt}) {
    if (!found) continue;
    require<DataError>(!theta || *theta == *found, fields.where(), ": rope_theta is given as ",
                       theta.value_or(0), " and as ", *found);
    theta = found;
  }
  Rotary rope;
  rope.theta = theta.value_or(rope.theta);
  require<DataError>(std::isfinite(rope.theta) && rope.theta > 0, fields.where(), ": rope_theta is ",
                     rope.theta, ", not above 0");
  rope.scaling = parameters ? parameters->scaling : scaling ? scaling->scaling : std::nullopt;
  if (!rope.scaling || rope.scaling->original_max_position == 0) return rope;
  fields.require_null_or("original_max_position_embeddings", rope.scaling->original_max_position,
                         "it contradicts what the rotary part says");
  require<DataError>(rope.scaling->type != RopeType::yarn || rope.theta > 1, fields.where(),
                     ": rope_theta is ", rope.theta, ", not above 1 as yarn needs");
  return rope;
}

nlohmann::ordered_json to_json(const RopeScaling& scaling) {
  nlohmann::ordered_json out{{"rope_type", name(scaling.type)}, {"factor", scaling.factor}};
  if (scaling.type == RopeType::llama3) {
    out.update({{"low_freq_factor", scaling.low_freq_factor},
                {"high_freq_factor", scaling.high_freq_factor},
                {"original_max_position_embeddings", scaling.original_max_position}});
  }
  if (scaling.type == RopeType::yarn) {
    out.update({{"original_max_position_embeddings", scaling.original_max_position},
                {"beta_fast", scaling.beta_fast},
                {"beta_slow", scaling.beta_slow},
                {"truncate", scaling.truncate},
                {"attention_factor", scaling.attention_factor}});
  }
  return out;
}

std::vector<float> rope_table(const Rotary& rope, std::int64_t head_width, std::int64_t positions) {
  std::vector<double> frequencies;
  for (std::int64_t j = 0; j < head_width / 2; ++j) frequencies.push_back(frequency_of(rope, head_width, j));
  std::vector<float> table;
  table.reserve(static_cast<std::size_t>(positions * head_width));
  const double length = rope.scaling ? rope.scaling->attention_factor : 1;
  for (std::int64_t position = 0; position < positions; ++position) {
    for (const double f : frequencies)
      table.push_back(static_cast<float>(length * std::cos(static_cast<double>(position) * f)));
    for (const double f : frequencies)
      table.push_back(static_cast<float>(length * std::sin(static_cast<double>(position) * f)));
  }
  return table;
}

}  // namespace chorus
