#include "core/formats/model_tensors.h"

#include <fmt/format.h>

namespace chorus {

namespace {

void add_norm(std::vector<ModelTensor>& tensors, const ModelConfig& config, std::string name, TensorRole role,
              std::int64_t layer) {
  tensors.push_back({std::move(name), {config.hidden_size}, role, layer});
}

void add_head_norms(std::vector<ModelTensor>& tensors, const ModelConfig& config, const std::string& prefix,
                    std::int64_t layer) {
  tensors.push_back({prefix + "self_attn.q_norm.weight", {config.head_width}, TensorRole::query_norm, layer});
  tensors.push_back({prefix + "self_attn.k_norm.weight", {config.head_width}, TensorRole::key_norm, layer});
}

void add_projection(std::vector<ModelTensor>& tensors, const ModelConfig& config, std::int64_t layer,
                    Projection which) {
  const Features shape = features(config, which);
  const std::string prefix = fmt::format("model.layers.{}.{}.{}.", layer, module(which), name(which));
  tensors.push_back({prefix + "weight",
                     {shape.outputs, shape.inputs},
                     TensorRole::projection,
                     layer,
                     which,
                     split_of(which) == Split::columns ? 0 : 1});
  if (has_bias(config, which))
    tensors.push_back({prefix + "bias", {shape.outputs}, TensorRole::bias, layer, which, 0});
}

ModelTensor vocabulary_table(const ModelConfig& config, std::string name, TensorRole role) {
  return {std::move(name), {config.vocabulary_size, config.hidden_size}, role, 0, Projection::q, 0};
}

}  // namespace

Split split_of(Projection which) {
  return which == Projection::o || which == Projection::down ? Split::rows : Split::columns;
}

std::int64_t ModelTensor::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t extent : shape) product *= extent;
  return product;
}

std::vector<ModelTensor> model_tensors(const ModelConfig& config) {
  std::vector<ModelTensor> tensors{
      vocabulary_table(config, "model.embed_tokens.weight", TensorRole::embedding)};
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    add_norm(tensors, config, prefix + "input_layernorm.weight", TensorRole::attention_norm, layer);
    for (const auto which : {Projection::q, Projection::k, Projection::v, Projection::o})
      add_projection(tensors, config, layer, which);
    if (has_head_norms(config)) add_head_norms(tensors, config, prefix, layer);
    add_norm(tensors, config, prefix + "post_attention_layernorm.weight", TensorRole::mlp_norm, layer);
    for (const auto which : {Projection::gate, Projection::up, Projection::down})
      add_projection(tensors, config, layer, which);
  }
  add_norm(tensors, config, "model.norm.weight", TensorRole::final_norm, 0);
  if (!config.tied_head) tensors.push_back(vocabulary_table(config, "lm_head.weight", TensorRole::head));
  return tensors;
}

std::int64_t parameter_count(const ModelConfig& config) {
  std::int64_t count = 0;
  for (const ModelTensor& tensor : model_tensors(config)) count += tensor.elements();
  return count;
}

}  // namespace chorus
