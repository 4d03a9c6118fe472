#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/formats/rotary.h"

namespace chorus {

// LLaMA, and those of its descendants that are computed: Mistral is a LLaMA with a sliding window, Qwen2 adds biases to q,
// k and v, and Qwen3 an RMSNorm over each head of q and k.
enum class Family { llama, mistral, qwen2, qwen3 };

std::string_view model_type(Family family);    // "qwen2"
std::string_view architecture(Family family);  // "Qwen2ForCausalLM"

// The shape of a model. Letters as in docs/architecture.md.
struct ModelConfig {
  Family family = Family::llama;
  std::int64_t vocabulary_size = 0;    // V
  std::int64_t hidden_size = 0;        // D
  std::int64_t intermediate_size = 0;  // F
  std::int64_t layers = 0;
  std::int64_t query_heads = 0;      // Hq
  std::int64_t key_value_heads = 0;  // Hk, divides Hq
  std::int64_t head_width = 0;       // K, even; Hq K need not be D
  double norm_epsilon = 1e-6;
  Rotary rope;
  std::int64_t max_positions = 0;
  // A token sees the last so many, itself among them; none: all. Chorus goes no further than that.
  std::optional<std::int64_t> sliding_window;
  bool tied_head = false;  // the output projection is the embedding
  std::int32_t bos = -1;   // -1: none
  std::vector<std::int32_t> eos;
  bool operator==(const ModelConfig&) const = default;

  // Tokens of the longest text: max_positions, or the sliding window.
  std::int64_t longest_text() const;
  // "512 positions" or "a sliding window of 4096 tokens".
  std::string bound_of_texts() const;
};

// The seven linear layers of a block, in the order of computation.
enum class Projection { q, k, v, o, gate, up, down };
inline constexpr std::array all_projections{Projection::q,    Projection::k,  Projection::v,   Projection::o,
                                            Projection::gate, Projection::up, Projection::down};

std::string_view name(Projection projection);    // "q_proj"
std::string_view module(Projection projection);  // "self_attn" or "mlp"

// The weight of a linear layer is [outputs, inputs].
struct Features {
  std::int64_t outputs = 0, inputs = 0;
  bool operator==(const Features&) const = default;
};
Features features(const ModelConfig& config, Projection projection);
bool has_bias(const ModelConfig& config, Projection projection);
// Whether q and k pass an RMSNorm, head by head, before they are rotated.
bool has_head_norms(const ModelConfig& config);

// Reads config.json of a Hugging Face folder. Throws DataError, with the key and its value, for every model
// that Chorus would not compute exactly: other families, activations, biases, rope types, windows of some layers, quantised
// weights.
ModelConfig read_model_config(const std::filesystem::path& folder);

// Throws DataError that begins with `where` for more layers or parameters than any model has: they would keep memory and time
// busy before anything else refuses them.
void require_computable(const std::string& where, const ModelConfig& config);

// The tokens that end what is generated, of generation_config.json; none where the file or its eos_token_id is missing.
// Throws DataError.
std::vector<std::int32_t> read_generation_ends(const std::filesystem::path& folder,
                                               std::int64_t vocabulary_size);

// What the architecture of Hugging Face reads. `torch_dtype` is that of the weights beside it, as "float32".
nlohmann::ordered_json to_json(const ModelConfig& config, std::string_view torch_dtype);
void write_model_config(const std::filesystem::path& folder, const ModelConfig& config,
                        std::string_view torch_dtype);

// Throws ConfigurationError, naming the numbers that would do, unless P divides the query heads, the
// key/value heads and F.
void require_tensor_parallel(const ModelConfig& config, std::int64_t tensor_ranks);

}  // namespace chorus
