#include "core/formats/peft.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <regex>
#include <set>
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

constexpr std::string_view config_file = "adapter_config.json";
constexpr std::string_view tensor_file = "adapter_model.safetensors";
constexpr std::string_view pickled_tensor_file = "adapter_model.bin";  // of PEFT before 0.7
constexpr const char* config_key = "chorus_adapter";  // of the metadata: identity() of the configuration
constexpr std::string_view name_start = "base_model.model.model.layers.";

std::string_view name(LoraFactor factor) { return factor == LoraFactor::a ? "lora_A" : "lora_B"; }

// "q" of "q_proj".
std::string_view short_name(Projection projection) {
  const std::string_view full = name(projection);
  return full.substr(0, full.rfind("_proj"));
}

std::optional<Projection> projection_of(std::string_view text) {
  for (const auto projection : all_projections) {
    if (text == name(projection) || text == short_name(projection)) return projection;
  }
  return std::nullopt;
}

// --- tensors
// --------------------------------------------------------------------------------------------------

struct FactorName {
  std::int64_t layer = 0;
  Projection projection = Projection::q;
  LoraFactor factor = LoraFactor::a;
};

std::optional<FactorName> parse_tensor_name(std::string_view text) {
  if (!text.starts_with(name_start)) return std::nullopt;
  FactorName parsed;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + name_start.size(), end, parsed.layer);
  if (error != std::errc{} || parsed.layer > INT32_MAX) return std::nullopt;
  for (const auto projection : all_projections) {
    for (const auto factor : {LoraFactor::a, LoraFactor::b}) {
      parsed.projection = projection;
      parsed.factor = factor;
      // Comparing the whole also refuses signs, leading zeros and other spellings of the number.
      if (text == peft_tensor_name(parsed.layer, projection, factor)) return parsed;
    }
  }
  return std::nullopt;
}

// Whether a pattern means a module, as PEFT matches them.
bool matches(const std::string& pattern, const std::string& module) {
  // PEFT's own lists have a name of each module: expressions of so many would take long.
  const bool is_name = pattern.find_first_of("\\^$|()[]{}*+?") == std::string::npos;
  if (is_name) return module == pattern || module.ends_with("." + pattern);
  return std::regex_match(module, std::regex("(.*\\.)?(" + pattern + ")"));
}

template <typename Value>
Value matched(const std::map<std::string, Value>& patterns, const std::string& module, Value otherwise) {
  for (const auto& [pattern, value] : patterns) {
    if (matches(pattern, module)) return value;
  }
  return otherwise;
}

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

void require_all_factors(const std::string& where, const LoraConfig& config, const Shapes& shapes,
                         std::int64_t layers) {
  std::vector<std::string> missing;
  const auto look_for = [&](std::int64_t layer) {
    for (const auto target : config.targets) {
      for (const auto factor : {LoraFactor::a, LoraFactor::b}) {
        auto tensor = peft_tensor_name(layer, target, factor);
        if (!shapes.contains(tensor)) missing.push_back(std::move(tensor));
        require<DataError>(missing.size() < 5, where, " has ", layers, " layers and lacks, among others:\n  ",
                           fmt::format("{}", fmt::join(missing, "\n  ")));
      }
    }
  };
  for (const std::int64_t layer : config.patterns.layers) {
    if (layer < layers) look_for(layer);
  }
  for (std::int64_t layer = 0; layer < layers && config.patterns.layers.empty(); ++layer) look_for(layer);
  require<DataError>(missing.empty(), where, " has ", layers, " layers and lacks:\n  ",
                     fmt::format("{}", fmt::join(missing, "\n  ")));
}

// Returns the number of layers. Throws DataError unless there are exactly A and B of every path, of the rank that the
// configuration gives it and of one size in all layers.
std::int64_t check_tensors(const std::string& where, const LoraConfig& config, const Shapes& shapes) {
  std::int64_t layers = 0;
  std::map<Projection, Features> size;
  for (const auto& [tensor, shape] : shapes) {
    const auto parsed = parse_tensor_name(tensor);
    require<DataError>(parsed.has_value(), where, " has the tensor ", tensor,
                       ", which is no LoRA factor of a LLaMA");
    const auto [layer, projection, factor] = *parsed;
    require<DataError>(std::ranges::count(config.targets, projection) == 1, where, " has the tensor ", tensor,
                       ", and ", name(projection), " is none of the target_modules");
    const std::optional<LoraPath> path = path_of(config, layer, projection);
    require<DataError>(path.has_value(), where, " has the tensor ", tensor, ", and ", layer,
                       " is none of the layers_to_transform");
    layers = std::max(layers, layer + 1);
    const bool is_a = factor == LoraFactor::a;
    const bool fits = shape.size() == 2 && shape[is_a ? 0 : 1] == path->rank;
    require<DataError>(fits, where, ": the tensor ", tensor, " is ", to_string(shape), ", not ",
                       is_a ? "[r, inputs]" : "[outputs, r]", " with r = ", path->rank);
    auto& [outputs, inputs] = size[projection];
    auto& known = is_a ? inputs : outputs;
    const std::int64_t extent = shape[is_a ? 1 : 0];
    require<DataError>(known == 0 || known == extent, where, ": the tensor ", tensor, " is ",
                       to_string(shape), ", and in another layer it has ", known,
                       is_a ? " inputs" : " outputs");
    known = extent;
  }
  require<DataError>(layers > 0, where, " has no tensors");
  require_all_factors(where, config, shapes, layers);
  return layers;
}

// --- adapter_config.json
// --------------------------------------------------------------------------------------

bool is_nothing(const json& value) {
  return value.is_null() || value == false || value == "" || (value.is_structured() && value.empty());
}

// Every field must be one that does not change the result, or be switched off: whatever a later PEFT invents
// is refused rather than left out silently.
void require_plain_lora(const JsonFields& fields) {
  const std::set<std::string, std::less<>> read{"peft_type",
                                                "task_type",
                                                "r",
                                                "lora_alpha",
                                                "lora_dropout",
                                                "target_modules",
                                                "use_rslora",
                                                "bias",
                                                "init_lora_weights",
                                                "base_model_name_or_path",
                                                "rank_pattern",
                                                "alpha_pattern",
                                                "layers_pattern",
                                                "layers_to_transform"};
  const std::set<std::string, std::less<>> harmless{"auto_mapping",  "revision",     "inference_mode",
                                                    "megatron_core", "peft_version", "qalora_group_size",
                                                    "loftq_config",  "eva_config"};
  require<DataError>(fields["peft_type"] == "LORA", fields.where(), ": peft_type is ",
                     fields["peft_type"].dump(), "; only \"LORA\" can be read");
  const json& task = fields["task_type"];
  require<DataError>(task.is_null() || task == "CAUSAL_LM", fields.where(), ": task_type is ", task.dump(),
                     "; only \"CAUSAL_LM\" can be read");
  const json& bias = fields["bias"];
  require<DataError>(bias.is_null() || bias == "none", fields.where(), ": bias is ", bias.dump(),
                     "; only \"none\" can be read");
  // The other ways of initialising move a part of the base's weights into the adapter.
  const json& initial = fields["init_lora_weights"];
  const bool keeps_base = initial.is_null() || initial.is_boolean() || initial == "gaussian" ||
                          initial == "eva" || initial == "orthogonal";
  require<DataError>(keeps_base, fields.where(), ": init_lora_weights is ", initial.dump(),
                     ", which changes the weights of the base; convert it with PEFT's "
                     "save_pretrained(path_initial_model_for_weight_conversion=...)");
  for (const auto& key : fields.keys()) {
    const bool known = read.contains(key) || harmless.contains(key) || is_nothing(fields[key]);
    require<DataError>(known, fields.where(), ": ", key, " is ", fields[key].dump(),
                       "; Chorus computes plain LoRA, without it");
  }
}

std::vector<Projection> read_target_modules(const JsonFields& fields) {
  const json& value = fields["target_modules"];
  if (value == "all-linear") return {all_projections.begin(), all_projections.end()};
  require<DataError>(value.is_array() && !value.empty(), fields.where(), ": target_modules is ", value.dump(),
                     "; a list of names or \"all-linear\" can be read");
  std::set<Projection> targets;
  for (const json& entry : value) {
    const auto projection = entry.is_string() ? projection_of(entry.get<std::string>()) : std::nullopt;
    require<DataError>(projection && name(*projection) == entry.get<std::string>(), fields.where(),
                       ": target_modules has ", entry.dump(),
                       "; known are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj");
    targets.insert(*projection);
  }
  return {targets.begin(), targets.end()};
}

// Expressions that mean something else in Python are refused.
void require_pattern(const std::string& pattern, const std::string& where) {
  bool known = pattern.find("(?") == std::string::npos;
  for (std::size_t i = 0; i + 1 < pattern.size(); ++i) {
    if (pattern[i] != '\\') continue;
    const char escaped = pattern[++i];
    const bool letter = std::isalnum(static_cast<unsigned char>(escaped)) != 0;
    known = known && (!letter || std::string_view("dDsSwW").find(escaped) != std::string_view::npos);
  }
  try {
    (void)std::regex("(.*\\.)?(" + pattern + ")");
  } catch (const std::regex_error&) {
    known = false;
  }
  require<DataError>(known, where, " has \"", pattern,
                     "\", an expression that cannot be read: write the projections by name");
}

// `read` gives the value that stands under a pattern.
template <typename Value>
std::map<std::string, Value> read_pattern(const JsonFields& fields, std::string_view key,
                                          Value (*read)(const JsonFields&, std::string_view)) {
  std::map<std::string, Value> patterns;
  if (is_nothing(fields[key])) return patterns;
  const JsonFields inner(fields[key], fmt::format("{}: {}", fields.where(), key));
  for (const std::string& pattern : inner.keys()) {
    require_pattern(pattern, inner.where());
    patterns[pattern] = read(inner, pattern);
  }
  return patterns;
}

std::int64_t read_rank(const JsonFields& fields, std::string_view key) {
  const std::int64_t rank = fields.required_integer(key);
  require<DataError>(rank > 0, fields.where(), ": ", key, " is ", rank, ", not above 0");
  return rank;
}

double read_alpha(const JsonFields& fields, std::string_view key) {
  const auto alpha = fields.number(key);
  require<DataError>(alpha && std::isfinite(*alpha), fields.where(), ": ", key, " is ", fields[key].dump(),
                     ", not a number");
  return *alpha;
}

std::vector<std::int64_t> read_layers(const JsonFields& fields) {
  const json &value = fields["layers_to_transform"], &pattern = fields["layers_pattern"];
  require<DataError>(is_nothing(pattern) || pattern == "layers" || pattern == json::array({"layers"}),
                     fields.where(), ": layers_pattern is ", pattern.dump(), "; only \"layers\" can be read");
  std::set<std::int64_t> layers;
  if (is_nothing(value)) return {};
  for (const json& layer : value.is_array() ? value : json::array({value})) {
    require<DataError>(layer.is_number_integer() && layer >= 0 && layer <= INT32_MAX, fields.where(),
                       ": layers_to_transform is ", value.dump(), "; numbers of layers can be read, from 0");
    layers.insert(layer.get<std::int64_t>());
  }
  return {layers.begin(), layers.end()};
}

LoraConfig read_lora_config(const JsonFields& fields) {
  require_plain_lora(fields);
  LoraConfig config;
  config.rank = fields.required_integer("r");
  config.alpha = fields.number("lora_alpha").value_or(8);  // PEFT's default
  config.dropout = fields.number("lora_dropout").value_or(0);
  config.rslora = fields.boolean("use_rslora").value_or(false);
  config.targets = read_target_modules(fields);
  config.patterns = {read_pattern(fields, "rank_pattern", read_rank),
                     read_pattern(fields, "alpha_pattern", read_alpha), read_layers(fields)};
  require<DataError>(config.rank > 0, fields.where(), ": r is ", config.rank, ", not above 0");
  require<DataError>(std::isfinite(config.alpha), fields.where(), ": lora_alpha is ", config.alpha);
  require<DataError>(config.dropout >= 0 && config.dropout < 1, fields.where(), ": lora_dropout is ",
                     config.dropout, ", not at least 0 and below 1");
  return config;
}

// Whole where it is.
json number(double value) {
  const bool whole = value == std::floor(value) && std::abs(value) < 1e15;
  return whole ? json(static_cast<std::int64_t>(value)) : json(value);
}

// All fields of PEFT 0.18, sorted as it sorts them.
json make_peft_config(const LoraConfig& config, const std::string& base_name) {
  json out;
  for (const auto* key :
       {"alora_invocation_tokens", "arrow_config", "auto_mapping", "corda_config", "eva_config",
        "exclude_modules", "layer_replication", "layers_pattern", "layers_to_transform", "megatron_config",
        "modules_to_save", "revision", "target_parameters", "trainable_token_indices"}) {
    out[key] = nullptr;
  }
  for (const auto* key : {"ensure_weight_tying", "fan_in_fan_out", "lora_bias", "use_dora", "use_qalora"}) {
    out[key] = false;
  }
  for (const auto* key : {"alpha_pattern", "loftq_config", "rank_pattern"}) out[key] = json::object();
  for (const auto& [pattern, rank] : config.patterns.rank) out["rank_pattern"][pattern] = rank;
  for (const auto& [pattern, alpha] : config.patterns.alpha) out["alpha_pattern"][pattern] = number(alpha);
  if (!config.patterns.layers.empty()) out["layers_to_transform"] = config.patterns.layers;
  out["base_model_name_or_path"] = base_name;
  out["bias"] = "none";
  out["inference_mode"] = true;
  out["init_lora_weights"] = true;
  out["lora_alpha"] = number(config.alpha);
  out["lora_dropout"] = config.dropout;
  out["megatron_core"] = "megatron.core";
  out["peft_type"] = "LORA";
  out["peft_version"] = "0.18.1";  // whose fields these are
  out["qalora_group_size"] = 16;
  out["r"] = config.rank;
  out["target_modules"] = json::array();
  for (const auto target : config.targets) out["target_modules"].push_back(name(target));
  out["task_type"] = "CAUSAL_LM";
  out["use_rslora"] = config.rslora;
  return out;
}

// A changed number of the configuration is as wrong as one of a tensor.
void require_written_config(const PeftAdapter& adapter, const std::filesystem::path& config_path) {
  const auto& metadata = adapter.file.metadata();
  const auto written = metadata.find(config_key);
  if (written == metadata.end()) return;
  const std::string now = identity(adapter.config).dump();
  require<DataError>(written->second == now, config_path.string(),
                     " is damaged or of another adapter: it says ", now, ", and ",
                     adapter.file.path().string(), " was written for ", written->second);
}

}  // namespace

void validate(const LoraConfig& config) {
  require<ConfigurationError>(config.rank > 0, "--lora-rank ", config.rank, ": it must be above 0");
  require<ConfigurationError>(std::isfinite(config.alpha) && config.alpha > 0, "--lora-alpha ", config.alpha,
                              ": it must be above 0");
  require<ConfigurationError>(config.dropout >= 0 && config.dropout < 1, "--lora-dropout ", config.dropout,
                              ": it must be at least 0 and below 1");
  require<ConfigurationError>(!config.targets.empty(), "--lora-targets names no projection");
}

std::optional<LoraPath> path_of(const LoraConfig& config, std::int64_t layer, Projection projection) {
  const auto& [ranks, alphas, layers] = config.patterns;
  const bool in_layer = layers.empty() || std::ranges::binary_search(layers, layer);
  if (!in_layer || std::ranges::count(config.targets, projection) == 0) return std::nullopt;
  const std::string where = fmt::format("model.layers.{}.{}.{}", layer, module(projection), name(projection));
  LoraPath path{matched(ranks, where, config.rank)};
  const auto rank = static_cast<double>(path.rank);
  path.scale = matched(alphas, where, config.alpha) / (config.rslora ? std::sqrt(rank) : rank);
  return path;
}

std::vector<PlacedPath> paths_of(const LoraConfig& config, std::int64_t layers) {
  std::vector<PlacedPath> paths;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    for (const Projection projection : config.targets) {
      if (const auto path = path_of(config, layer, projection)) paths.push_back({layer, projection, *path});
    }
  }
  return paths;
}

std::vector<Projection> parse_targets(std::string_view text) {
  if (text == "all" || text == "all-linear") return {all_projections.begin(), all_projections.end()};
  std::set<Projection> targets;
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    const std::string_view word = rest.substr(0, comma);
    const auto projection = projection_of(word);
    require<ConfigurationError>(projection.has_value(), "--lora-targets ", text, ": \"", word,
                                "\" is no projection; there are q, k, v, o, gate, up, down and all");
    require<ConfigurationError>(targets.insert(*projection).second, "--lora-targets ", text, ": ",
                                name(*projection), " is named twice");
    if (comma == std::string_view::npos) return {targets.begin(), targets.end()};
    rest.remove_prefix(comma + 1);
  }
}

std::string print_targets(std::span<const Projection> targets) {
  if (std::ranges::equal(targets, all_projections)) return "all";
  std::vector<std::string_view> names;
  for (const Projection target : targets) names.push_back(short_name(target));
  return fmt::format("{}", fmt::join(names, ","));
}

nlohmann::ordered_json identity(const LoraConfig& config) {
  nlohmann::ordered_json all{{"lora-rank", config.rank},
                             {"lora-alpha", config.alpha},
                             {"lora-dropout", config.dropout},
                             {"lora-targets", print_targets(config.targets)},
                             {"rslora", config.rslora}};
  const auto& [ranks, alphas, layers] = config.patterns;
  if (!ranks.empty()) all["rank_pattern"] = ranks;
  if (!alphas.empty()) all["alpha_pattern"] = alphas;
  if (!layers.empty()) all["layers_to_transform"] = layers;
  return all;
}

std::string peft_tensor_name(std::int64_t layer, Projection projection, LoraFactor factor) {
  return fmt::format("{}{}.{}.{}.{}.weight", name_start, layer, module(projection), name(projection),
                     name(factor));
}

const TensorView& PeftAdapter::factor(std::int64_t layer, Projection projection, LoraFactor factor) const {
  return file.tensor(peft_tensor_name(layer, projection, factor));
}

std::vector<float> PeftAdapter::values(std::int64_t layer, Projection projection, LoraFactor which) const {
  return read_finite_tensor(file, peft_tensor_name(layer, projection, which));
}

PeftAdapter read_peft(const std::filesystem::path& folder) {
  const auto path = folder / config_file;
  const json content = read_json_file(path);
  const JsonFields fields(content, path.string());
  require<DataError>(
      std::filesystem::exists(folder / tensor_file) || !std::filesystem::exists(folder / pickled_tensor_file),
      folder.string(), " has ", pickled_tensor_file, " and no ", tensor_file,
      "; it must be saved again by PEFT with safe_serialization=True");
  PeftAdapter adapter{read_lora_config(fields), fields.text("base_model_name_or_path").value_or(""), 0,
                      SafetensorsFile(folder / tensor_file)};
  adapter.file.require_undamaged();
  Shapes shapes;
  for (const auto& view : adapter.file.tensors()) shapes[view.name] = adapter.file.tensor(view.name).shape;
  adapter.layers = check_tensors(adapter.file.path().string(), adapter.config, shapes);
  require_written_config(adapter, path);
  return adapter;
}

void require_fits(const PeftAdapter& adapter, const ModelConfig& model) {
  const std::string where = adapter.file.path().string();
  // PEFT passes over numbers of layers_to_transform that the model does not have.
  std::int64_t last = adapter.config.patterns.layers.empty() ? model.layers - 1 : -1;
  for (const std::int64_t layer : adapter.config.patterns.layers) last = layer < model.layers ? layer : last;
  require<DataError>(adapter.layers == last + 1, where, " has ", adapter.layers,
                     " layers, and the base model has ", model.layers, "; it was made for another model");
  for (const auto target : adapter.config.targets) {
    const auto [outputs, inputs] = features(model, target);
    // All layers have one size, read_peft() made sure.
    const auto& a = adapter.factor(last, target, LoraFactor::a);
    const auto& b = adapter.factor(last, target, LoraFactor::b);
    require<DataError>(a.shape[1] == inputs && b.shape[0] == outputs, where, ": ", name(target), " has ",
                       a.shape[1], " inputs and ", b.shape[0], " outputs, and in the base model ", inputs,
                       " and ", outputs, "; it was made for another model");
  }
}

void write_peft(const std::filesystem::path& folder, const LoraConfig& config, const std::string& base_name,
                const std::vector<TensorToWrite>& tensors) {
  validate(config);
  Shapes shapes;
  for (const auto& tensor : tensors) {
    require(is_readable(tensor.dtype), "the tensor ", tensor.name, " of an adapter is ", name(tensor.dtype));
    shapes[tensor.name] = tensor.shape;
  }
  const auto path = folder / tensor_file;
  check_tensors(path.string(), config, shapes);
  write_safetensors(path, tensors, {{"format", "pt"}, {config_key, identity(config).dump()}});
  write_file_atomically(folder / config_file, make_peft_config(config, base_name).dump(2) + "\n");
}

}  // namespace chorus
