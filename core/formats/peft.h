#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/formats/model_config.h"
#include "core/formats/safetensors.h"

namespace chorus {

// What PEFT lets differ from path to path. Patterns are expressions for a projection's name ("q_proj",
// "layers.3.mlp.up_proj"), as a whole or behind a dot; of several that match, the first in the order of their text counts.
struct LoraPatterns {
  std::map<std::string, std::int64_t> rank;
  std::map<std::string, double> alpha;
  std::vector<std::int64_t> layers;  // that have paths, ascending; empty: all
  bool operator==(const LoraPatterns&) const = default;
};

struct LoraConfig {
  std::int64_t rank = 16;
  double alpha = 32;
  double dropout = 0;   // 0 <= dropout < 1, on the input of A
  bool rslora = false;  // Kalajdzievski 2023: alpha / sqrt(r) instead of alpha / r
  // Projections with a path, each once, in the order of Projection.
  std::vector<Projection> targets = {all_projections.begin(), all_projections.end()};
  LoraPatterns patterns = {};
  bool operator==(const LoraConfig&) const = default;
};

// Throws ConfigurationError with the option to change.
void validate(const LoraConfig& config);

// The path  s B A x  beside one projection.
struct LoraPath {
  std::int64_t rank = 0;
  double scale = 1;  // s
};
// Nothing where the projection has no path.
std::optional<LoraPath> path_of(const LoraConfig& config, std::int64_t layer, Projection projection);

// One of the paths of an adapter.
struct PlacedPath {
  std::int64_t layer = 0;
  Projection projection = Projection::q;
  LoraPath path;
};
// The paths of a model of so many layers, by layer, then as the targets are ordered.
std::vector<PlacedPath> paths_of(const LoraConfig& config, std::int64_t layers);

// "all", or names separated by commas: q or q_proj, … Throws ConfigurationError for others and for
// repetitions.
std::vector<Projection> parse_targets(std::string_view text);
// The shortest text that parse_targets() reads so: "all" or "q,v".
std::string print_targets(std::span<const Projection> targets);

// What an adapter computes, by the names of the options.
nlohmann::ordered_json identity(const LoraConfig& config);

// A is [r, inputs], B is [outputs, r].
enum class LoraFactor { a, b };

// "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight"
std::string peft_tensor_name(std::int64_t layer, Projection projection, LoraFactor factor);

// A folder in PEFT's format. The factors stay in the mapped file.
struct PeftAdapter {
  LoraConfig config;
  std::string base_name;    // empty if the file has none
  std::int64_t layers = 0;  // the last that has a path, and those before it
  SafetensorsFile file;

  const TensorView& factor(std::int64_t layer, Projection projection, LoraFactor factor) const;
  // Throws DataError with file and tensor where one is not finite.
  std::vector<float> values(std::int64_t layer, Projection projection, LoraFactor factor) const;
};

// Reads adapter_config.json and adapter_model.safetensors. Throws DataError, naming field and value, for
// everything that PEFT would compute and Chorus would not, and for tensors that are missing, misshapen or too
// many.
PeftAdapter read_peft(const std::filesystem::path& folder);

// Throws DataError with the tensor and both shapes unless the adapter was made for this model.
void require_fits(const PeftAdapter& adapter, const ModelConfig& model);

// Writes both files as PEFT 0.18 does. `tensors` are the factors of all paths under peft_tensor_name(), in F32, F16 or BF16.
void write_peft(const std::filesystem::path& folder, const LoraConfig& config, const std::string& base_name,
                const std::vector<TensorToWrite>& tensors);

}  // namespace chorus
