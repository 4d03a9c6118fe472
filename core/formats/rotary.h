#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "data/text/json.h"

namespace chorus {

// How rotary positions are stretched, by the names of Hugging Face.
enum class RopeType {
  linear,   // every position is divided by `factor`
  dynamic,  // only beyond max_positions, where Chorus never goes
  // Wavelengths above original_max_position / low_freq_factor are stretched by `factor`, those below
  // original_max_position / high_freq_factor stay, and between the two it is interpolated.
  llama3,
  // Angles that turn at least beta_fast times in original_max_position stay, those that turn at most beta_slow times are
  // divided by `factor`, and between the two it is interpolated by their index (Peng et al. 2023, YaRN, section 3.2).
  yarn
};

struct RopeScaling {
  RopeType type = RopeType::llama3;
  double factor = 1;
  // Of llama3.
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  std::int64_t original_max_position = 0;  // of yarn too
  // Of yarn.
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;         // the indices between which is interpolated are whole
  double attention_factor = 1;  // of rotated queries and keys
  bool operator==(const RopeScaling&) const = default;
};

// The rotary part of a model.
struct Rotary {
  double theta = 10000;
  std::optional<RopeScaling> scaling;
  bool operator==(const Rotary&) const = default;
};

// Reads it of a config.json, under whichever of its names it stands. Throws DataError, with the key and its value, for what
// contradicts itself or would not be computed exactly.
Rotary read_rotary(const JsonFields& fields, std::int64_t max_positions);

// As it stands under "rope_scaling".
nlohmann::ordered_json to_json(const RopeScaling& scaling);

// [positions, K]: of every position the cosines of its angles j = 0 .. K/2-1, then their sines. Angle j of
// position p is p · theta^(-2j/K), with the frequency scaled as `scaling` says, and of yarn both are multiplied by
// attention_factor. Computed in f64.
std::vector<float> rope_table(const Rotary& rope, std::int64_t head_width, std::int64_t positions);

}  // namespace chorus
