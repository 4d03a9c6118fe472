#include "core/formats/model_config.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "data/text/files.h"
#include "data/text/json.h"
#include "ops/base/error.h"

namespace chorus {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// What transformers takes where config.json lacks a key.
struct Defaults {
  std::int64_t max_positions;
  std::optional<std::int64_t> key_value_heads;  // none: as many as query heads
  std::optional<std::int64_t> head_width;       // none: D / Hq
  std::optional<std::int32_t> bos, eos;
};

Defaults defaults_of(Family family) {
  switch (family) {
    case Family::llama:
      return {2048, {}, {}, 1, 2};
    case Family::mistral:
      return {131072, 8, {}, 1, 2};
    case Family::qwen2:
      return {32768, 32, {}, {}, {}};
    case Family::qwen3:
      return {32768, 32, 128, {}, {}};
  }
  throw Error("unknown family");
}

constexpr std::int64_t default_window = 4096;  // of Mistral

constexpr std::array all_families{Family::llama, Family::mistral, Family::qwen2, Family::qwen3};

std::string known_families(std::string_view (*name_of)(Family)) {
  std::vector<std::string> names;
  for (const Family family : all_families) names.push_back(fmt::format("\"{}\"", name_of(family)));
  return fmt::format("{}", fmt::join(names, ", "));
}

// By model_type; files that lack it are told by their architecture.
Family read_family(const JsonFields& fields) {
  const json &architectures = fields["architectures"], &type = fields["model_type"];
  std::optional<Family> found;
  for (const Family family : all_families) {
    const bool same_architecture = architectures == json::array({architecture(family)});
    if (type.is_null() ? same_architecture : type == model_type(family)) found = family;
  }
  require<DataError>(found || (type.is_null() && !architectures.is_null()), fields.where(),
                     ": model_type is ", type.dump(), "; can be read: ", known_families(model_type));
  require<DataError>(found.has_value(), fields.where(), ": architectures is ", architectures.dump(),
                     "; can be read: ", known_families(architecture));
  require<DataError>(architectures.is_null() || architectures == json::array({architecture(*found)}),
                     fields.where(), ": architectures is ", architectures.dump(), "; of the model_type \"",
                     model_type(*found), "\" only [\"", architecture(*found), "\"] can be read");
  return *found;
}

void refuse_what_is_not_computed(const JsonFields& fields, Family family) {
  fields.require_null_or("hidden_act", "silu", "only \"silu\" is computed");
  // Qwen2 has biases whatever this says, as in transformers.
  if (family != Family::qwen2)
    fields.require_null_or("attention_bias", false, "biases are computed of Qwen2 alone");
  fields.require_null_or("mlp_bias", false, "an MLP with biases is not computed");
  fields.require_null_or("attention_dropout", 0, "dropout inside the attention is not computed");
  fields.require_null_or("partial_rotary_factor", 1, "every head is rotated as a whole");
  fields.require_null_or("quantization_config", nullptr, "quantised weights cannot be read");
  fields.require_null_or("use_sliding_window", false, "windows of some layers are not computed");
  for (const json& type : fields["layer_types"]) {
    require<DataError>(type == "full_attention", fields.where(), ": layer_types has ", type.dump(),
                       "; only \"full_attention\" is computed");
  }
}

// Only of Mistral: what Qwen has under this key counts where use_sliding_window is true.
std::optional<std::int64_t> read_sliding_window(const JsonFields& fields, const ModelConfig& config) {
  if (config.family != Family::mistral) return std::nullopt;
  const bool missing = std::ranges::count(fields.keys(), "sliding_window") == 0;
  const auto window = missing ? default_window : fields.integer("sliding_window");
  require<DataError>(!window || *window > 0, fields.where(), ": sliding_window is ", window.value_or(0),
                     ", not above 0");
  return window;
}

std::vector<std::int32_t> read_token_ids(const JsonFields& fields, std::string_view key,
                                         std::optional<std::int32_t> fallback, std::int64_t vocabulary_size) {
  // A missing key means the default of the family, null means that there is none.
  const bool missing = std::ranges::count(fields.keys(), key) == 0;
  json value = !missing ? fields[key] : fallback ? json(*fallback) : json(nullptr);
  if (value.is_null()) return {};
  if (!value.is_array()) value = json::array({value});
  std::vector<std::int32_t> ids;
  for (const json& id : value) {
    require<DataError>(id.is_number_integer() && id >= 0 && id < vocabulary_size, fields.where(), ": ", key,
                       " is ", fields[key].dump(), ", not an id below the vocab_size ", vocabulary_size);
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

// Far beyond all models that there are.
constexpr std::int64_t most_layers = 10'000;
constexpr double most_parameters = 1e13;

void require_consistent(const std::string& where, const ModelConfig& config) {
  const auto require_positive = [&](std::string_view key, std::int64_t value) {
    require<DataError>(0 < value && value <= INT32_MAX, where, ": ", key, " is ", value,
                       ", not between 1 and 2147483647");
  };
  require_positive("vocab_size", config.vocabulary_size);
  require_positive("hidden_size", config.hidden_size);
  require_positive("intermediate_size", config.intermediate_size);
  require_positive("num_hidden_layers", config.layers);
  require_positive("num_attention_heads", config.query_heads);
  require_positive("num_key_value_heads", config.key_value_heads);
  require_positive("max_position_embeddings", config.max_positions);
  require<DataError>(config.query_heads % config.key_value_heads == 0, where, ": num_attention_heads ",
                     config.query_heads, " is no multiple of num_key_value_heads ", config.key_value_heads);
  require<DataError>(config.head_width > 0 && config.head_width % 2 == 0 && config.head_width <= INT32_MAX,
                     where, ": the heads have the width ", config.head_width,
                     ", not an even number above 0 and below 2147483648 as rotary positions need");
  require<DataError>(std::isfinite(config.norm_epsilon) && config.norm_epsilon >= 0, where,
                     ": rms_norm_eps is ", config.norm_epsilon);
  require_computable(where, config);
}

std::int64_t default_head_width(const std::string& where, const ModelConfig& config) {
  const bool divides = config.query_heads > 0 && config.hidden_size % config.query_heads == 0;
  require<DataError>(divides, where, ": hidden_size ", config.hidden_size,
                     " is no multiple of num_attention_heads ", config.query_heads,
                     ", and there is no head_dim");
  return config.hidden_size / config.query_heads;
}

}  // namespace

std::string_view model_type(Family family) {
  constexpr std::array<std::string_view, 4> names{"llama", "mistral", "qwen2", "qwen3"};
  return names.at(static_cast<std::size_t>(family));
}

std::string_view architecture(Family family) {
  constexpr std::array<std::string_view, 4> names{"LlamaForCausalLM", "MistralForCausalLM",
                                                  "Qwen2ForCausalLM", "Qwen3ForCausalLM"};
  return names.at(static_cast<std::size_t>(family));
}

std::int64_t ModelConfig::longest_text() const {
  return std::min(max_positions, sliding_window.value_or(max_positions));
}

std::string ModelConfig::bound_of_texts() const {
  return longest_text() < max_positions ? fmt::format("a sliding window of {} tokens", longest_text())
                                        : fmt::format("{} positions", max_positions);
}

std::string_view name(Projection projection) {
  constexpr std::array<std::string_view, 7> names{"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                  "gate_proj", "up_proj", "down_proj"};
  return names.at(static_cast<std::size_t>(projection));
}

std::string_view module(Projection projection) { return projection < Projection::gate ? "self_attn" : "mlp"; }

Features features(const ModelConfig& config, Projection projection) {
  const std::int64_t d = config.hidden_size, f = config.intermediate_size;
  const std::int64_t q = config.query_heads * config.head_width;
  const std::int64_t kv = config.key_value_heads * config.head_width;
  switch (projection) {
    case Projection::q:
      return {q, d};
    case Projection::k:
      return {kv, d};
    case Projection::v:
      return {kv, d};
    case Projection::o:
      return {d, q};
    case Projection::gate:
      return {f, d};
    case Projection::up:
      return {f, d};
    case Projection::down:
      return {d, f};
  }
  throw Error("unknown projection");
}

bool has_bias(const ModelConfig& config, Projection projection) {
  return config.family == Family::qwen2 && projection <= Projection::v;
}

bool has_head_norms(const ModelConfig& config) { return config.family == Family::qwen3; }

// In floating point, because the product of sizes that are no sizes may be beyond 64 bits.
void require_computable(const std::string& where, const ModelConfig& config) {
  require<DataError>(config.layers <= most_layers, where, ": num_hidden_layers is ", config.layers,
                     ", more than ", most_layers);
  const auto real = [](std::int64_t value) { return static_cast<double>(value); };
  const double heads = 2 * real(config.head_width) * real(config.query_heads + config.key_value_heads);
  const double block = real(config.hidden_size) * (heads + 3 * real(config.intermediate_size));
  const double parameters =
      real(config.layers) * block + real(config.vocabulary_size) * real(config.hidden_size);
  require<DataError>(parameters <= most_parameters, where, ": vocab_size ", config.vocabulary_size,
                     ", hidden_size ", config.hidden_size, ", intermediate_size ", config.intermediate_size,
                     ", ", config.layers, " layers and ", config.query_heads, " heads of width ",
                     config.head_width, " make ",
                     fmt::format("{:.0f} parameters, more than {:.0f}", parameters, most_parameters));
}

ModelConfig read_model_config(const std::filesystem::path& folder) {
  const auto path = folder / "config.json";
  const json content = read_json_file(path);
  const JsonFields fields(content, path.string());
  ModelConfig config;
  config.family = read_family(fields);
  refuse_what_is_not_computed(fields, config.family);
  const Defaults defaults = defaults_of(config.family);
  config.vocabulary_size = fields.required_integer("vocab_size");
  config.hidden_size = fields.required_integer("hidden_size");
  config.intermediate_size = fields.required_integer("intermediate_size");
  config.layers = fields.required_integer("num_hidden_layers");
  config.query_heads = fields.required_integer("num_attention_heads");
  // Of null transformers makes as many as query heads, whatever the family.
  const bool missing_heads = std::ranges::count(fields.keys(), "num_key_value_heads") == 0;
  config.key_value_heads = missing_heads ? defaults.key_value_heads.value_or(config.query_heads)
                                         : fields.integer("num_key_value_heads").value_or(config.query_heads);
  const auto head_width = fields.integer("head_dim");
  config.head_width = head_width            ? *head_width
                      : defaults.head_width ? *defaults.head_width
                                            : default_head_width(fields.where(), config);
  config.max_positions = fields.integer("max_position_embeddings").value_or(defaults.max_positions);
  config.sliding_window = read_sliding_window(fields, config);
  config.norm_epsilon = fields.number("rms_norm_eps").value_or(config.norm_epsilon);
  config.tied_head = fields.boolean("tie_word_embeddings").value_or(false);
  require_consistent(fields.where(), config);
  config.rope = read_rotary(fields, config.max_positions);

  const auto bos = read_token_ids(fields, "bos_token_id", defaults.bos, config.vocabulary_size);
  require<DataError>(bos.size() <= 1, fields.where(), ": bos_token_id is ", fields["bos_token_id"].dump(),
                     ", not one id");
  if (!bos.empty()) config.bos = bos.front();
  config.eos = read_token_ids(fields, "eos_token_id", defaults.eos, config.vocabulary_size);
  return config;
}

std::vector<std::int32_t> read_generation_ends(const std::filesystem::path& folder,
                                               std::int64_t vocabulary_size) {
  const auto path = folder / "generation_config.json";
  if (!std::filesystem::exists(path)) return {};
  const json content = read_json_file(path);
  return read_token_ids(JsonFields(content, path.string()), "eos_token_id", std::nullopt, vocabulary_size);
}

ordered_json to_json(const ModelConfig& config, std::string_view torch_dtype) {
  ordered_json out;
  out["architectures"] = {architecture(config.family)};
  out["model_type"] = model_type(config.family);
  // Mistral and Qwen2 have no such key: their biases follow from the family.
  if (config.family == Family::llama || config.family == Family::qwen3) out["attention_bias"] = false;
  out["attention_dropout"] = 0.0;
  out["bos_token_id"] = config.bos >= 0 ? ordered_json(config.bos) : ordered_json(nullptr);
  out["eos_token_id"] = config.eos.empty()       ? ordered_json(nullptr)
                        : config.eos.size() == 1 ? ordered_json(config.eos.front())
                                                 : ordered_json(config.eos);
  out["head_dim"] = config.head_width;
  out["hidden_act"] = "silu";
  out["hidden_size"] = config.hidden_size;
  out["intermediate_size"] = config.intermediate_size;
  out["max_position_embeddings"] = config.max_positions;
  if (config.family == Family::llama) out["mlp_bias"] = false;
  out["num_attention_heads"] = config.query_heads;
  out["num_hidden_layers"] = config.layers;
  out["num_key_value_heads"] = config.key_value_heads;
  out["rms_norm_eps"] = config.norm_epsilon;
  out["rope_scaling"] = config.rope.scaling ? to_json(*config.rope.scaling) : ordered_json(nullptr);
  out["rope_theta"] = config.rope.theta;
  if (config.family == Family::mistral)
    out["sliding_window"] =
        config.sliding_window ? ordered_json(*config.sliding_window) : ordered_json(nullptr);
  out["tie_word_embeddings"] = config.tied_head;
  out["torch_dtype"] = torch_dtype;
  out["vocab_size"] = config.vocabulary_size;
  return out;
}

void write_model_config(const std::filesystem::path& folder, const ModelConfig& config,
                        std::string_view torch_dtype) {
  write_file_atomically(folder / "config.json", to_json(config, torch_dtype).dump(2) + "\n");
}

void require_tensor_parallel(const ModelConfig& config, std::int64_t tensor_ranks) {
  const std::int64_t common =
      std::gcd(std::gcd(config.query_heads, config.key_value_heads), config.intermediate_size);
  std::vector<std::int64_t> possible;
  for (std::int64_t ranks = 1; ranks <= common; ++ranks) {
    if (common % ranks == 0) possible.push_back(ranks);
  }
  const bool divides = tensor_ranks > 0 && common % tensor_ranks == 0;
  require<ConfigurationError>(
      divides, "--tensor-parallel ", tensor_ranks, " must divide the ", config.query_heads,
      " query heads, the ", config.key_value_heads, " key/value heads and the MLP width ",
      config.intermediate_size,
      " of the base model; possible here: ", fmt::format("{}", fmt::join(possible, ", ")));
}

}  // namespace chorus
