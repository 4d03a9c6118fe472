#include "core/model/projector.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "data/text/files.h"
#include "data/text/json.h"
#include "ops/base/random.h"

namespace chorus {

namespace {

constexpr std::string_view projector_prefix = "multi_modal_projector.";
constexpr std::string_view projector_config_file = "projector_config.json";
constexpr std::string_view projector_tensor_file = "projector.safetensors";
// Far from those of adapters, which count layers and projections.
constexpr std::uint32_t first_stream = 0x40000000;

}  // namespace

std::string_view name(ProjectorKind kind) { return kind == ProjectorKind::linear ? "linear" : "mlp"; }

nlohmann::ordered_json identity(const ProjectorConfig& config) {
  return {{"projector", name(config.kind)}, {"projector-hidden", config.hidden}};
}

bool is_projector_tensor(std::string_view name) { return name.starts_with(projector_prefix); }

Projector::Projector(const ProjectorConfig& config, std::int64_t width, Backend& backend,
                     ParameterSet& parameters)
    : config_(config), backend_(backend), parameters_(parameters) {
  const bool two = config.kind == ProjectorKind::mlp;
  require(config.inputs > 0 && (config.hidden > 0) == two, "a projector of kind ", name(config.kind),
          " with ", config.inputs, " inputs and a hidden width of ", config.hidden);
  add_layer("linear_1", two ? config.hidden : width, config.inputs);
  if (two) add_layer("linear_2", width, config.hidden);
}

void Projector::add_layer(std::string_view layer, std::int64_t outputs, std::int64_t inputs) {
  const std::string prefix = fmt::format("{}{}.", projector_prefix, layer);
  Parameter& weight = parameters_.add(prefix + "weight", {outputs, inputs}, Placement::replicated);
  Parameter& bias = parameters_.add(prefix + "bias", {outputs}, Placement::replicated);
  layers_.push_back({&weight, &bias});
}

void Projector::initialise(std::uint64_t seed) {
  std::uint32_t stream = first_stream;
  for (const Layer& layer : layers_) {
    const float bound = 1.0F / std::sqrt(static_cast<float>(layer.weight->full[1]));
    for (Parameter* parameter : {layer.weight, layer.bias}) {
      std::vector<float> values(static_cast<std::size_t>(parameter->full.elements()));
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint32_t word = random_word(seed, RandomUse::initial_value, stream, i);
        values[i] = bound * (2.0F * uniform(word) - 1.0F);
      }
      parameters_.assign(*parameter, values);
      ++stream;
    }
  }
}

void Projector::load(const SafetensorsFile& file) {
  for (const Layer& layer : layers_) {
    for (Parameter* parameter : {layer.weight, layer.bias}) {
      const TensorView& view = file.tensor(parameter->name);
      const std::vector<float> values = read_finite_tensor(file, parameter->name);
      const bool fits = static_cast<int>(view.shape.size()) == parameter->full.rank() &&
                        view.shape[0] == parameter->full[0] && view.elements() == parameter->full.elements();
      require<DataError>(fits, file.path().string(), ": ", parameter->name, " is ", to_string(view.shape),
                         ", the model needs ", parameter->full);
      parameters_.assign(*parameter, values);
    }
  }
}

template <typename Visitor>
void Projector::for_each_chunk(const FeatureRows& features, Arena& arena, Visitor visit) const {
  require(features.count() == 0 || features.values.dim(1) == config_.inputs, "rows of ",
          features.count() == 0 ? 0 : features.values.dim(1), " features for a projector of ",
          config_.inputs);
  for (std::int64_t begin = 0; begin < features.count(); begin += rows_per_chunk) {
    Arena::Scope scope(arena);
    const std::int64_t end = std::min(features.count(), begin + rows_per_chunk);
    visit(Chunk{features.values.rows(begin, end), features.rows.rows(begin, end)});
  }
}

void Projector::multiply(Tensor y, ConstTensor x, const Layer& layer) const {
  backend_.matmul(y, x, layer.weight->value, {.transpose_b = true});
  backend_.add_bias(y, layer.bias->value);
}

void Projector::backward_layer(ConstTensor dy, ConstTensor x, const Layer& layer) const {
  backend_.matmul(layer.weight->gradient, dy, x, {.transpose_a = true, .accumulate = true});
  backend_.bias_backward(layer.bias->gradient, dy);
}

Tensor Projector::hidden_of(const Chunk& chunk, Arena& arena) const {
  const Tensor hidden = arena.take(chunk.values.dtype(), {chunk.values.dim(0), config_.hidden});
  multiply(hidden, chunk.values, layers_[0]);
  backend_.relu(hidden, hidden);
  return hidden;
}

void Projector::forward(Tensor x, const FeatureRows& features, Arena& arena) const {
  for_each_chunk(features, arena, [&](const Chunk& chunk) {
    const Tensor y = arena.take(x.dtype(), {chunk.rows.dim(0), x.dim(1)});
    const ConstTensor in =
        config_.kind == ProjectorKind::mlp ? ConstTensor(hidden_of(chunk, arena)) : chunk.values;
    multiply(y, in, layers_.back());
    backend_.scatter_rows(x, y, chunk.rows);
  });
}

void Projector::backward(ConstTensor dx, const FeatureRows& features, Arena& arena) const {
  for_each_chunk(features, arena, [&](const Chunk& chunk) {
    const Tensor dy = arena.take(dx.dtype(), {chunk.rows.dim(0), dx.dim(1)});
    backend_.gather_rows(dy, dx, chunk.rows);
    if (config_.kind == ProjectorKind::linear) return backward_layer(dy, chunk.values, layers_[0]);
    const Tensor hidden = hidden_of(chunk, arena);
    backward_layer(dy, hidden, layers_[1]);
    const Tensor dhidden = arena.take(hidden.dtype(), hidden.shape());
    backend_.matmul(dhidden, dy, layers_[1].weight->value);
    backend_.relu_backward(dhidden, dhidden, hidden);
    backward_layer(dhidden, chunk.values, layers_[0]);
  });
}

std::optional<SavedProjector> find_projector(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / projector_config_file;
  if (!std::filesystem::exists(path) && !std::filesystem::exists(folder / projector_tensor_file))
    return std::nullopt;
  const nlohmann::json content = read_json_file(path);
  const JsonFields fields(content, path.string());
  const std::string kind = fields.text("projector_type").value_or("");
  require<DataError>(kind == "linear" || kind == "mlp", fields.where(), ": projector_type is ",
                     fields["projector_type"].dump(), "; \"linear\" and \"mlp\" can be read");
  ProjectorConfig config;
  config.kind = kind == "linear" ? ProjectorKind::linear : ProjectorKind::mlp;
  config.inputs = fields.required_integer("feature_size");
  if (config.kind == ProjectorKind::mlp) {
    config.hidden = fields.required_integer("hidden_size");
    require<DataError>(fields["projector_hidden_act"] == "relu", fields.where(), ": projector_hidden_act is ",
                       fields["projector_hidden_act"].dump(), "; \"relu\" can be read");
  }
  const std::int64_t outputs = fields.required_integer("output_size");
  require<DataError>(config.inputs > 0 && config.hidden >= 0 && outputs > 0 &&
                         (config.kind == ProjectorKind::linear || config.hidden > 0),
                     fields.where(), ": sizes ", config.inputs, ", ", config.hidden, " and ", outputs,
                     " are not above 0");
  SavedProjector projector{config, outputs, SafetensorsFile(folder / projector_tensor_file)};
  projector.file.require_undamaged();
  return projector;
}

void require_fits(const SavedProjector& projector, const ModelConfig& model) {
  require<DataError>(projector.outputs == model.hidden_size, projector.file.path().string(), " maps to ",
                     projector.outputs, " numbers, the base has a width of ", model.hidden_size);
}

void write_projector(const std::filesystem::path& folder, const ProjectorConfig& config, std::int64_t outputs,
                     const std::vector<TensorToWrite>& tensors) {
  write_safetensors(folder / projector_tensor_file, tensors);
  nlohmann::ordered_json json{{"projector_type", name(config.kind)}, {"feature_size", config.inputs}};
  if (config.kind == ProjectorKind::mlp) {
    json["hidden_size"] = config.hidden;
    json["projector_hidden_act"] = "relu";
  }
  json["output_size"] = outputs;
  write_file_atomically(folder / projector_config_file, json.dump(2) + "\n");
}

}  // namespace chorus
