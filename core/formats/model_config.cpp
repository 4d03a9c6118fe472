#include "core/formats/model_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>
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
  refuse_unless(fields, "hidden_act", "silu", "only \"silu\" is computed");
  // Qwen2 has biases whatever this says, as in transformers.
  if (family != Family::qwen2)
    refuse_unless(fields, "attention_bias", false, "biases are computed of Qwen2 alone");
  refuse_unless(fields, "mlp_bias", false, "an MLP with biases is not computed");
  refuse_unless(fields, "attention_dropout", 0, "dropout inside the attention is not computed");
  refuse_unless(fields, "partial_rotary_factor", 1, "every head is rotated as a whole");
  refuse_unless(fields, "quantization_config", nullptr, "quantised weights cannot be read");
  refuse_unless(fields, "use_sliding_window", false, "windows of some layers are not computed");
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

// `key` is rope_scaling, whose field of the type was once called "type", or rope_parameters of
// transformers 5.
std::optional<Rope> read_rope(const JsonFields& config, std::string_view key, std::int64_t max_positions) {
  if (config[key].is_null()) return std::nullopt;
  const JsonFields fields(config[key], fmt::format("{}: {}", config.where(), key));
  Rope rope;
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
  if (!config.rope_scaling || config.rope_scaling->original_max_position == 0) return;
  refuse_unless(fields, "original_max_position_embeddings", config.rope_scaling->original_max_position,
                "it contradicts what the rotary part says");
  require<DataError>(config.rope_scaling->type != RopeType::yarn || config.rope_theta > 1, fields.where(),
                     ": rope_theta is ", config.rope_theta, ", not above 1 as yarn needs");
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

// The index of the angle, of K/2, that turns so many times in the original context; between two where it is no whole number.
double yarn_index(const ModelConfig& config, double turns) {
  const double wavelength = static_cast<double>(config.rope_scaling->original_max_position) / turns;
  return static_cast<double>(config.head_width) * std::log(wavelength / (2 * std::numbers::pi)) /
         (2 * std::log(config.rope_theta));
}

// Between these two indices is interpolated.
std::pair<double, double> yarn_range(const ModelConfig& config) {
  const RopeScaling& scaling = *config.rope_scaling;
  double first = yarn_index(config, scaling.beta_fast), last = yarn_index(config, scaling.beta_slow);
  if (scaling.truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, static_cast<double>(config.head_width - 1));
  return {first, first == last ? last + 0.001 : last};
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
      const double turns =
          static_cast<double>(scaling.original_max_position) * frequency / (2 * std::numbers::pi);
      const double low = scaling.low_freq_factor, high = scaling.high_freq_factor;
      // 0 where the original context holds fewer than `low` turns, 1 where it holds more than `high`
      const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
      frequency *= kept + (1 - kept) / scaling.factor;
    }
    if (scaling.type == RopeType::yarn) {
      const auto [first, last] = yarn_range(config);
      const double divided = std::clamp((static_cast<double>(j) - first) / (last - first), 0.0, 1.0);
      frequency *= 1 - divided + divided / scaling.factor;
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
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
  read_rotary(fields, config);

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

nlohmann::ordered_json to_json(const ModelConfig& config, std::string_view torch_dtype) {
  nlohmann::ordered_json out;
  out["architectures"] = {architecture(config.family)};
  out["model_type"] = model_type(config.family);
  // Mistral and Qwen2 have no such key: their biases follow from the family.
  if (config.family == Family::llama || config.family == Family::qwen3) out["attention_bias"] = false;
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
  if (config.family == Family::llama) out["mlp_bias"] = false;
  out["num_attention_heads"] = config.query_heads;
  out["num_hidden_layers"] = config.layers;
  out["num_key_value_heads"] = config.key_value_heads;
  out["rms_norm_eps"] = config.norm_epsilon;
  out["rope_scaling"] = nullptr;
  if (config.rope_scaling) {
    const RopeScaling& scaling = *config.rope_scaling;
    auto& written = out["rope_scaling"] = {{"rope_type", name(scaling.type)}, {"factor", scaling.factor}};
    if (scaling.type == RopeType::llama3) {
      written.update({{"low_freq_factor", scaling.low_freq_factor},
                      {"high_freq_factor", scaling.high_freq_factor},
                      {"original_max_position_embeddings", scaling.original_max_position}});
    }
    if (scaling.type == RopeType::yarn) {
      written.update({{"original_max_position_embeddings", scaling.original_max_position},
                      {"beta_fast", scaling.beta_fast},
                      {"beta_slow", scaling.beta_slow},
                      {"truncate", scaling.truncate},
                      {"attention_factor", scaling.attention_factor}});
    }
  }
  out["rope_theta"] = config.rope_theta;
  if (config.family == Family::mistral) {
    out["sliding_window"] = nullptr;
    if (config.sliding_window) out["sliding_window"] = *config.sliding_window;
  }
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
  const double length = config.rope_scaling ? config.rope_scaling->attention_factor : 1;
  for (std::int64_t position = 0; position < positions; ++position) {
    for (const double f : frequencies)
      table.push_back(static_cast<float>(length * std::cos(static_cast<double>(position) * f)));
    for (const double f : frequencies)
      table.push_back(static_cast<float>(length * std::sin(static_cast<double>(position) * f)));
  }
  return table;
}

}  // namespace chorus
