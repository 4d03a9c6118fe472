#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "core/formats/model_config.h"
#include "core/formats/safetensors.h"
#include "core/model/device_batch.h"
#include "parallel/parameters.h"

namespace chorus {

enum class ProjectorKind { linear, mlp };
std::string_view name(ProjectorKind kind);

struct ProjectorConfig {
  ProjectorKind kind = ProjectorKind::mlp;
  std::int64_t inputs = 0;  // d, numbers of a row of features
  std::int64_t hidden = 0;  // H, width between the two layers of an mlp; 0 of linear
  bool operator==(const ProjectorConfig&) const = default;
};

// What a projector computes, by the names of the options.
nlohmann::ordered_json identity(const ProjectorConfig& config);

// Maps rows f of features into the model's width (Liu et al. 2023, section 4.1; biases as torch.nn.Linear has them):
//
//   linear   y = W1 f + b1                      W1 [D, d]
//   mlp      y = W2 relu(W1 f + b1) + b2        W1 [H, d]  W2 [D, H]
//
// Trained always, and whole on every tensor rank. It runs over chunks of rows and keeps nothing: the backward pass
// computes the hidden layer again.
class Projector {
 public:
  static constexpr std::int64_t rows_per_chunk = 512;

  // Registers its parameters.
  Projector(const ProjectorConfig& config, std::int64_t width, Backend& backend, ParameterSet& parameters);

  // U(-1/√I, 1/√I), weights and biases (torch.nn.Linear's default). A function of the seed and the element's index.
  void initialise(std::uint64_t seed);
  // Throws DataError unless the shapes are those of this projector.
  void load(const SafetensorsFile& file);

  // x[rows[i]] = y of features[i]                            x [N, D]
  void forward(Tensor x, const FeatureRows& features, Arena& arena) const;
  // Adds to the gradients of the parameters.                 dx [N, D]
  void backward(ConstTensor dx, const FeatureRows& features, Arena& arena) const;

 private:
  struct Layer {
    Parameter *weight, *bias;  // [O, I], [O]
  };
  struct Chunk {
    ConstTensor values, rows;
  };
  template <typename Visitor>
  void for_each_chunk(const FeatureRows& features, Arena& arena, Visitor visit) const;
  void add_layer(std::string_view layer, std::int64_t outputs, std::int64_t inputs);
  // y = x Wᵀ + b
  void multiply(Tensor y, ConstTensor x, const Layer& layer) const;
  void backward_layer(ConstTensor dy, ConstTensor x, const Layer& layer) const;
  // relu(W1 f + b1), in new memory.
  Tensor hidden_of(const Chunk& chunk, Arena& arena) const;

  ProjectorConfig config_;
  Backend& backend_;
  ParameterSet& parameters_;
  std::vector<Layer> layers_;
};

// Whether a trained tensor is one of a projector, by its name: those of LLaVA in Hugging Face's Transformers.
bool is_projector_tensor(std::string_view name);

// projector.safetensors and projector_config.json, beside the adapter or the model that it was trained with.
struct SavedProjector {
  ProjectorConfig config;
  std::int64_t outputs = 0;
  SafetensorsFile file;
};

// What a folder holds, if it holds one. Throws DataError, naming field and value, for what Chorus would compute
// otherwise.
std::optional<SavedProjector> find_projector(const std::filesystem::path& folder);

// Throws DataError with both widths unless it was made for this model.
void require_fits(const SavedProjector& projector, const ModelConfig& model);

// `tensors` are the parameters, F32.
void write_projector(const std::filesystem::path& folder, const ProjectorConfig& config, std::int64_t outputs,
                     const std::vector<TensorToWrite>& tensors);

}  // namespace chorus
