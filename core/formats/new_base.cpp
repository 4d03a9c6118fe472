#include "core/formats/new_base.h"

#include <cmath>
#include <map>
#include <numbers>

#include "core/formats/model_tensors.h"
#include "data/prompts/tokenizer.h"
#include "data/text/files.h"
#include "ops/base/random.h"

namespace chorus {

namespace {

constexpr double deviation = 0.02;

// Box and Muller 1958.
float normal(std::uint64_t seed, std::uint32_t stream, std::uint64_t index) {
  const double u = 1.0 - uniform(random_word(seed, RandomUse::initial_value, stream, 2 * index));
  const double angle =
      2 * std::numbers::pi * uniform(random_word(seed, RandomUse::initial_value, stream, 2 * index + 1));
  return static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(angle));
}

std::vector<float> initial_values(const ModelTensor& tensor, const ModelConfig& config, std::uint64_t seed,
                                  std::uint32_t stream) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()), 1.0F);
  if (tensor.is_norm()) return values;
  if (tensor.role == TensorRole::bias) return std::vector<float>(values.size());
  const bool into_residual =
      tensor.role == TensorRole::projection && split_of(tensor.projection) == Split::rows;
  const double scale =
      into_residual ? deviation / std::sqrt(2.0 * static_cast<double>(config.layers)) : deviation;
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(scale) * normal(seed, stream, i);
  }
  return values;
}

}  // namespace

void write_new_base(const std::filesystem::path& folder, const ModelConfig& config,
                    const std::filesystem::path& tokenizer, std::uint64_t seed, FileDType dtype,
                    std::int64_t most_shard_bytes) {
  create_output_folder(folder);
  std::map<std::string, std::pair<ModelTensor, std::uint32_t>> by_name;
  std::vector<TensorDescription> descriptions;
  for (const ModelTensor& tensor : model_tensors(config)) {
    const auto stream = static_cast<std::uint32_t>(by_name.size());
    by_name[tensor.name] = {tensor, stream};
    descriptions.push_back({tensor.name, dtype, tensor.shape});
  }
  const auto shards = cut_into_shards(descriptions, most_shard_bytes);
  ModelWriter writer(folder, shards);
  for (const auto& shard : shards) {
    for (const TensorDescription& description : shard) {
      const auto& [tensor, stream] = by_name.at(description.name);
      writer.append(initial_values(tensor, config, seed, stream));
    }
  }
  writer.finish();
  write_model_config(folder, config, torch_name(dtype));
  copy_tokenizer(tokenizer, folder);
}

}  // namespace chorus
