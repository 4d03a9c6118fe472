#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/formats/base_model.h"
#include "core/formats/model_config.h"
#include "core/formats/peft.h"
#include "core/model/block.h"
#include "core/model/device_batch.h"
#include "core/model/projector.h"
#include "parallel/token_rows.h"
#include "parallel/vocabulary.h"

namespace chorus {

struct ModelOptions {
  DType precision = DType::f32;
  // Adapters to train on the frozen base; without them the base itself is trained where train_base is set, else
  // nothing is.
  std::optional<LoraConfig> lora = {};
  bool train_base = false;
  // Trained with either: what maps rows of features into the model.
  std::optional<ProjectorConfig> projector = {};
  bool recompute = false;  // keep only the inputs of the blocks and run their forward pass again in backward
  std::uint64_t seed = 0;  // of initial adapters and dropout
  // Tensor ranks divide the rows of norms and residuals among them. Frozen base only.
  bool sequence_parallel = false;
  int overlap_chunks = 1;  // of Linear
};

// Where the tensors of a base are stored, by name. A file that a tensor names stays mapped as long as somebody has it.
using StoredWeights = std::function<TensorView(const std::string& name)>;

// LLaMA on one rank: base weights, adapters, projector, and the passes over a micro-batch.
class Llama {
 public:
  // Takes memory for weights, parameters and the rope table from `arena`; contents are set by load_base(),
  // initialise_adapters() or load_adapters(), and the same of the projector. Frozen weights of which `in_place` stores
  // this rank's part as it is computed with (its type, its elements one after another and at multiples of their size)
  // take no memory: they are read where they lie. For backends that compute in host memory only.
  Llama(const ModelConfig& config, const ModelOptions& options, Backend& backend, const Groups& groups,
        Arena& arena, const StoredWeights& in_place = {});

  // Reads this rank's slices: those in place into the memory where they are mapped, the others a few MiB at a time.
  // `base` must be what the constructor was given, if it was given one.
  void load_base(const BaseModel& base);
  // The same from memory, for models with nothing in place; `read` gives a full tensor by its name.
  void load_base(const std::function<std::vector<float>(const std::string& name)>& read);
  // A: Kaiming-uniform over the full fan-in, U(-1/√I, 1/√I); B: zero (PEFT's default). A function of the seed and the
  // element's global index.
  void initialise_adapters();
  // Sets every adapter. options().lora must be the configuration of `adapter`. Throws DataError unless it fits the
  // model.
  void load_adapters(const PeftAdapter& adapter);

  // Of options().projector, as Projector does it.
  void initialise_projector() { projector_->initialise(options_.seed); }
  void load_projector(const SavedProjector& projector);

  const ModelConfig& config() const { return config_; }
  // Of the weights that are read where they are stored.
  std::int64_t bytes_in_place() const;
  // A batch must have a multiple of so many tokens.
  std::int64_t token_multiple() const { return rows_.multiple(); }
  const ModelOptions& options() const { return options_; }
  ParameterSet& parameters() { return parameters_; }
  const ParameterSet& parameters() const { return parameters_; }

  // log_probability[t] = log p(target t)                     acc [T]
  void score(Tensor log_probability, const DeviceBatch& batch, Arena& arena) const;
  // The same with dropout of `step`, and adds the gradient of - scale · sum of weight · log_probability to the
  // parameters'.
  void score_and_backward(Tensor log_probability, const DeviceBatch& batch, double scale, std::uint32_t step,
                          Arena& arena) const;
  // Logits [M, V] of the batch's target rows, on the host of every tensor rank. `caches` (one per layer) are used
  // according to `access`, if any.
  std::vector<float> logits(const DeviceBatch& batch, const std::optional<CacheAccess>& access,
                            std::span<const LayerCache> caches, Arena& arena) const;
  // Hidden states [M, D] of the batch's target rows after the final norm, on the host of every tensor rank.
  std::vector<float> hidden_states(const DeviceBatch& batch, Arena& arena) const;
  // Memory of a cache for `sequences` of up to `length` tokens.
  std::vector<LayerCache> take_caches(std::int64_t sequences, std::int64_t length, Arena& arena) const;

 private:
  struct NamedWeight {
    std::string name;
    Shape full;
    std::optional<int> split_dim;
    Weight* weight;
    // Of a frozen one, where it is: memory to copy it to, or the stored part itself.
    Tensor copy = {};
    std::optional<TensorView> in_place = {};
  };
  void name_weights();
  void place_weights(Arena& arena, const StoredWeights& stored);
  // What this rank has of a weight along its split dim, or along the first.
  Shard part_of(const NamedWeight& weight) const;
  void add_adapters();
  Pass make_pass(const DeviceBatch& batch) const;
  // Own rows of what the tokens mean to the first block: words of the table, or projected features.
  void embed(Tensor x, const DeviceBatch& batch, Arena& arena) const;
  void backward_embedding(ConstTensor dx, const DeviceBatch& batch, Arena& arena) const;
  // Own rows of x after the last block, in memory taken from `arena`.
  Tensor run_blocks(const DeviceBatch& batch, const Pass& pass, std::span<const LayerCache> caches,
                    Arena& arena) const;
  // Rows of x that have targets, after the final norm.
  struct FinalRows {
    Tensor x, rstd, h;  // [M, D], acc [M], [M, D]
  };
  FinalRows final_rows(ConstTensor x, const DeviceBatch& batch, Arena& arena) const;
  // dx of the own rows of the last block's output from dh [M, D].
  void backward_final_rows(Tensor dx, ConstTensor dh, const FinalRows& rows, const DeviceBatch& batch,
                           Arena& arena) const;

  ModelConfig config_;
  ModelOptions options_;
  Backend& backend_;
  Groups groups_;
  TokenRows rows_;
  ParameterSet parameters_;
  Embedding embedding_;
  std::optional<Projector> projector_;
  std::vector<std::unique_ptr<Block>> blocks_;
  Weight final_norm_;
  VocabularyHead head_;
  std::vector<NamedWeight> weights_;
  Tensor cos_sin_;
};

}  // namespace chorus
