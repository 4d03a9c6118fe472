#include "core/formats/model_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "data/text/files.h"
#include "data/text/json.h"
#include "ops/base/error.h"

namespace chorus {
namespace {

using nlohmann::json;

// The rotary part of config.json, under whichever of its names it stands.
struct Rope {
  std::optional<double> theta;
  std::optional<RopeScaling> scaling;
};

void refuse_unless(const JsonFields& fields, std::string_view key, const json& expected,
                   std::string_view reason) {
  const json& value = fields[key];
  require<DataError>(value.is_null() || value == expected, fields.where(), ": ", key, " is ", value.dump(),
                     "; ", reason);
}

void require_llama(const JsonFields& fields) {
  const json &architectures = fields["architectures"], &type = fields["model_type"];
  require<DataError>(architectures.is_null() || architectures == json::array({"LlamaForCausalLM"}),
                     fields.where(), ": architectures is ", architectures.dump(),
                     "; only [\"LlamaForCausalLM\"] can be read");
  require<DataError>(type == "llama" || (type.is_null() && !architectures.is_null()), fields.where(),
                     ": model_type is ", type.dump(), "; only \"llama\" can be read");
  refuse_unless(fields, "hidden_act", "silu", "only \"silu\" is computed");
  refuse_unless(fields, "attention_bias", false, "projections with a bias are not computed");
  refuse_unless(fields, "mlp_bias", false, "projections with a bias are not computed");
  refuse_unless(fields, "attention_dropout", 0, "dropout inside the attention is not computed");
  refuse_unless(fields, "partial_rotary_factor", 1, "every head is rotated as a whole");
  refuse_unless(fields, "quantization_config", nullptr, "quantised weights cannot be read");
}

std::string_view name(RopeType type) {
  constexpr std::array<std::string_view, 3> names{"linear", "dynamic", "llama3"};
  return names.at(static_cast<std::size_t>(type));
}

std::optional<RopeType> rope_type_of(std::string_view text) {
  for (const RopeType type : {RopeType::linear, RopeType::dynamic, RopeType::llama3}) {
    if (text == name(type)) return type;
  }
  return std::nullopt;
}

RopeScaling read_rope_scaling(const JsonFields& fields, RopeType type, std::int64_t max_positions) {
  const auto number = [&](std::string_view key) {
    const auto value = fields.number(key);
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
  if (type != RopeType::llama3) return scaling;
  scaling.low_freq_factor = number("low_freq_factor");
  scaling.high_freq_factor = number("high_freq_factor");
  scaling.original_max_position = fields.required_integer("original_max_position_embeddings");
  require<DataError>(scaling.low_freq_factor < scaling.high_freq_factor, fields.where(), ": low_freq_factor ",
                     scaling.low_freq_factor, " is not below high_freq_factor ", scaling.high_freq_factor);
  require<DataError>(scaling.original_max_position > 0, fields.where(),
                     ": original_max_position_embeddings is ", scaling.original_max_position);
  return scaling;
}

// `key` is rope_scaling, whose field of the type was once called "type", or rope_parameters of
// transformers 5.
std::optional<Rope> read_rope(const JsonFields& config, std::string_view key, std::int64_t max_positions) {
  if (config[key].is_null()) return std::nullopt;
  const JsonFields fields(config[key], fmt::format("{}: {}", config.where(), key));
  Rope rope;
  const std::string written = fields.text("rope_type").value_or(fields.text("type").value_or("default"));
  const std::optional<RopeType> type = rope_type_of(written);
  require<DataError>(type || written == "default", fields.where(), " has the type \"", written,
                     "\"; \"default\", \"linear\", \"dynamic\" and \"llama3\" are computed");
  constexpr std::array known{"rope_type",
                             "type",
                             "rope_theta",
                             "factor",
                             "low_freq_factor",
                             "high_freq_factor",
                             "partial_rotary_factor",
                             "original_max_position_embeddings"};
  for (const auto& name : fields.keys()) {
    require<DataError>(std::ranges::count(known, name) == 1 || fields[name].is_null(), fields.where(),
                       " has the unknown field ", name, " = ", fields[name].dump());
  }
  refuse_unless(fields, "partial_rotary_factor", 1, "every head is rotated as a whole");
  rope.theta = fields.number("rope_theta");
  if (type) rope.scaling = read_rope_scaling(fields, *type, max_positions);
  return rope;
}

void read_rotary(const JsonFields& fields, ModelConfig& config) {
  const auto parameters = read_rope(fields, "rope_parameters", config.max_positions),
             scaling = read_rope(fields, "rope_scaling", config.max_positions);
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
  config.rope_theta = theta.value_or(config.rope_theta);
  require<DataError>(std::isfinite(config.rope_theta) && config.rope_theta > 0, fields.where(),
                     ": rope_theta is ", config.rope_theta, ", not above 0");
  config.rope_scaling = parameters ? parameters->scaling : scaling ? scaling->scaling : std::nullopt;
}

std::vector<std::int32_t> read_token_ids(const JsonFields& fields, std::string_view key, json fallback,
                                         std::int64_t vocabulary_size) {
  // A missing key means the default of LlamaConfig, null means that there is none.
  const bool missing = std::ranges::count(fields.keys(), key) == 0;
  json value = missing ? std::move(fallback) : fields[key];
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
  require<DataError>(config.head_width > 0 && config.head_width % 2 == 0, where,
                     ": the heads have the width ", config.head_width,
                     ", not an even number above 0 as rotary positions need");
  require<DataError>(std::isfinite(config.norm_epsilon) && config.norm_epsilon >= 0, where,
                     ": rms_norm_eps is ", config.norm_epsilon);
}

std::int64_t default_head_width(const std::string& where, const ModelConfig& config) {
  const bool divides = config.query_heads > 0 && config.hidden_size % config.query_heads == 0;
  require<DataError>(divides, where, ": hidden_size ", config.hidden_size,
                     " is no multiple of num_attention_heads ", config.query_heads,
                     ", and there is no head_dim");
  return config.hidden_size / config.query_heads;
}

// Radians per position of each of the K/2 pairs.
std::vector<double> rope_frequencies(const ModelConfig& config) {
  std::vector<double> frequencies;
  for (std::int64_t j = 0; j < config.head_width / 2; ++j) {
    double frequency =
        std::pow(config.rope_theta, -2.0 * static_cast<double>(j) / static_cast<double>(config.head_width));
    const RopeScaling scaling = config.rope_scaling.value_or(RopeScaling{RopeType::dynamic});
    if (scaling.type == RopeType::linear) frequency /= scaling.factor;
    if (scaling.type == RopeType::llama3) {
      const auto& [type, factor, low, high, original] = scaling;
      const double turns = static_cast<double>(original) * frequency / (2 * std::numbers::pi);
      // 0 where the original context holds fewer than `low` turns, 1 where it holds more than `high`
      const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
      frequency *= kept + (1 - kept) / factor;
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

}  // namespace

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

ModelConfig read_model_config(const std::filesystem::path& folder) {
  const auto path = folder / "config.json";
  const json content = read_json_file(path);
  const JsonFields fields(content, path.string());
  require_llama(fields);

  ModelConfig config;
  config.vocabulary_size = fields.required_integer("vocab_size");
  config.hidden_size = fields.required_integer("hidden_size");
  config.intermediate_size = fields.required_integer("intermediate_size");
  config.layers = fields.required_integer("num_hidden_layers");
  config.query_heads = fields.required_integer("num_attention_heads");
  config.key_value_heads = fields.integer("num_key_value_heads").value_or(config.query_heads);
  const auto head_width = fields.integer("head_dim");
  config.head_width = head_width ? *head_width : default_head_width(fields.where(), config);
  config.max_positions = fields.integer("max_position_embeddings").value_or(2048);
  config.norm_epsilon = fields.number("rms_norm_eps").value_or(config.norm_epsilon);
  config.tied_head = fields.boolean("tie_word_embeddings").value_or(false);
  require_consistent(fields.where(), config);
  read_rotary(fields, config);

  const auto bos = read_token_ids(fields, "bos_token_id", 1, config.vocabulary_size);
  require<DataError>(bos.size() <= 1, fields.where(), ": bos_token_id is ", fields["bos_token_id"].dump(),
                     ", not one id");
  if (!bos.empty()) config.bos = bos.front();
  config.eos = read_token_ids(fields, "eos_token_id", 2, config.vocabulary_size);
  return config;
}

std::vector<std::int32_t> read_generation_ends(const std::filesystem::path& folder,
                                               std::int64_t vocabulary_size) {
  const auto path = folder / "generation_config.json";
  if (!std::filesystem::exists(path)) return {};
  const json content = read_json_file(path);
  return read_token_ids(JsonFields(content, path.string()), "eos_token_id", nullptr, vocabulary_size);
}

nlohmann::ordered_json to_json(const ModelConfig& config, std::string_view torch_dtype) {
  nlohmann::ordered_json out;
  out["architectures"] = {"LlamaForCausalLM"};
  out["model_type"] = "llama";
  out["attention_bias"] = false;
  out["attention_dropout"] = 0.0;
  if (config.bos >= 0) {
    out["bos_token_id"] = config.bos;
  } else {
    out["bos_token_id"] = nullptr;
  }
  if (config.eos.size() == 1) {
    out["eos_token_id"] = config.eos.front();
  } else if (config.eos.empty()) {
    out["eos_token_id"] = nullptr;
  } else {
    out["eos_token_id"] = config.eos;
  }
  out["head_dim"] = config.head_width;
  out["hidden_act"] = "silu";
  out["hidden_size"] = config.hidden_size;
  out["intermediate_size"] = config.intermediate_size;
  out["max_position_embeddings"] = config.max_positions;
  out["mlp_bias"] = false;
  out["num_attention_heads"] = config.query_heads;
  out["num_hidden_layers"] = config.layers;
  out["num_key_value_heads"] = config.key_value_heads;
  out["rms_norm_eps"] = config.norm_epsilon;
  out["rope_scaling"] = nullptr;
  if (config.rope_scaling) {
    const auto& [type, factor, low, high, original] = *config.rope_scaling;
    out["rope_scaling"] = {{"rope_type", name(type)}, {"factor", factor}};
    if (type == RopeType::llama3) {
      out["rope_scaling"].update({{"low_freq_factor", low},
                                  {"high_freq_factor", high},
                                  {"original_max_position_embeddings", original}});
    }
  }
  out["rope_theta"] = config.rope_theta;
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

std::vector<float> rope_table(const ModelConfig& config, std::int64_t positions) {
  const auto frequencies = rope_frequencies(config);
  std::vector<float> table;
  table.reserve(static_cast<std::size_t>(positions * config.head_width));
  for (std::int64_t position = 0; position < positions; ++position) {
    for (const double f : frequencies)
      table.push_back(static_cast<float>(std::cos(static_cast<double>(position) * f)));
    for (const double f : frequencies)
      table.push_back(static_cast<float>(std::sin(static_cast<double>(position) * f)));
  }
  return table;
}

}  // namespace chorus
