#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/formats/model_config.h"
#include "parallel/process_grid.h"

namespace chorus {

enum class TensorRole {
  embedding,
  attention_norm,
  projection,
  bias,
  query_norm,
  key_norm,
  mlp_norm,
  final_norm,
  head
};

// One tensor of a model, under the names of Hugging Face.
struct ModelTensor {
  std::string name;  // in files
  // [outputs, inputs] of a projection, [V, D] of embedding and head, [outputs] of a bias, [D] of a norm,
  // [K] of one over heads.
  std::vector<std::int64_t> shape;
  TensorRole role = TensorRole::embedding;
  std::int64_t layer = 0;                 // of what stands in a block
  Projection projection = Projection::q;  // of the roles projection and bias
  // Divided among tensor ranks; none: every rank has all of it.
  std::optional<int> split_dim = {};

  std::int64_t elements() const;
  bool is_norm() const { return shape.size() == 1 && role != TensorRole::bias; }
};

// What is known of a model's tensors stands here: whoever reads, checks, binds, initialises or writes them goes by it. In
// the order of computation; the head only where it is not tied.
std::vector<ModelTensor> model_tensors(const ModelConfig& config);

// o and down take what the others have split: their inputs are divided, so that one all-reduce ends each half of a block.
Split split_of(Projection which);

std::int64_t parameter_count(const ModelConfig& config);

}  // namespace chorus
