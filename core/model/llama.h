#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/formats/base_model.h"
#include "core/formats/model_config.h"
#include "core/formats/quantise.h"
#include "core/model/adapters.h"
#include "core/model/block.h"
#include "core/model/device_batch.h"
#include "core/model/projector.h"
#include "parallel/token_rows.h"
#include "parallel/vocabulary.h"

namespace chorus {

// What the backward pass computes again in place of keeping it: nothing, what is cheap (see Block::take_saved()), or all but
// the inputs of blocks.
enum class Recompute { none, some, all };

struct ModelOptions {
  DType precision = DType::f32;
  // Adapters to train on the frozen base; without them the base itself is trained where train_base is set, else
  // nothing is.
  std::optional<LoraConfig> lora = {};
  bool train_base = false;
  // How projections of a frozen base are held; none: in `precision`, as the rest of the base is.
  Quantisation base_precision = Quantisation::none;
  // Trained with either: what maps rows of features into the model.
  std::optional<ProjectorConfig> projector = {};
  Recompute recompute = Recompute::none;
  std::uint64_t seed = 0;  // of initial adapters and dropout
  // Tensor ranks divide the rows of norms and residuals among them. Frozen base only.
  bool sequence_parallel = false;
  int overlap_chunks = 1;  // of Linear
  // Frozen weights of blocks that are not read in place have the memory of one block, and are read from their files again
  // whenever the block is computed: for a few passes of a base that need not fit into memory.
  bool one_block = false;
};

// How results are rounded, by the names of the options. Adapters, projector and seed are not in it.
nlohmann::ordered_json identity(const ModelOptions& options);

// Where the tensors of a base are stored, by name. A file that a tensor names stays mapped as long as somebody has it.
using StoredWeights = std::function<TensorView(const std::string& name)>;

// What a pass adds to the base.
struct Additions {
  const Adapters* adapters = nullptr;
  const Projector* projector = nullptr;  // for batches with rows of features
};

// The base of a model on one rank, and the passes over a micro-batch with what is added to it.
class Llama {
 public:
  // Takes memory for weights and the rope table from `arena`; contents are set by load(). Frozen weights of which `in_place`
  // stores this rank's part as it is computed with (its type, its elements one after another and at multiples of their
  // size) take no memory: they are read where they lie. For backends that compute in host memory only. With
  // options.train_base weights are those of a ParameterSet instead: see train().
  Llama(const ModelConfig& config, const ModelOptions& options, Backend& backend, const Groups& groups,
        Arena& arena, const StoredWeights& in_place = {});

  // Registers all weights as trained parameters. Before load(); `parameters` must outlive the base.
  void train(ParameterSet& parameters);

  // Reads this rank's slices: those in place into the memory where they are mapped, the others a few MiB at a time.
  // `base` must be what the constructor was given, if it was given one, and with options.one_block outlive the object.
  void load(const BaseModel& base);
  // Fills the weights from memory, for models with nothing in place; `read` gives a full tensor.
  void load(const std::function<std::vector<float>(const ModelTensor&)>& read);
  // Fills a frozen base on the device: each function sets this rank's part of a tensor.
  void fill(
      const std::function<void(const ModelTensor& tensor, Tensor part)>& write,
      const std::function<void(const ModelTensor& tensor, const QuantisedMatrix& part)>& write_quantised);

  const ModelConfig& config() const { return config_; }
  Backend& backend() const { return backend_; }
  const Groups& groups() const { return groups_; }
  TokenDivision division() const;
  // Frozen norms, which are whole on every rank, with their names; not those that are read where they are stored.
  std::vector<std::pair<std::string, ConstTensor>> norms_in_memory() const;
  // Bytes of the weights that are read where they are stored.
  std::int64_t bytes_in_place() const;
  // A batch must have a multiple of so many tokens.
  std::int64_t token_multiple() const { return rows_.multiple(); }

  // log_probability[t] = log p(target t)                     acc [T]
  void score(Tensor log_probability, const DeviceBatch& batch, const Additions& added, Arena& arena) const;
  // Scores with dropout of `step`, and adds the gradient of - scale · sum of weight · log_probability to that of what is
  // trained.
  void score_and_backward(Tensor log_probability, const DeviceBatch& batch, const Additions& added,
                          double scale, std::uint32_t step, Arena& arena) const;
  // Logits [M, V] of the batch's target rows, on the host of every tensor rank. `caches` (one per layer) are used
  // according to `access`, if any.
  std::vector<float> logits(const DeviceBatch& batch, const Additions& added,
                            const std::optional<CacheAccess>& access, std::span<const LayerCache> caches,
                            Arena& arena) const;
  // Hidden states [M, D] of the batch's target rows after the final norm, on the host of every tensor rank.
  std::vector<float> hidden_states(const DeviceBatch& batch, const Additions& added, Arena& arena) const;
  // What score_and_backward() keeps of the forward pass until the backward pass reads it, in bytes.
  struct Kept {
    std::int64_t inputs = 0;  // of the blocks, and the output of the last
    std::int64_t blocks = 0;  // what blocks keep beside them; of Recompute::all one after another
    std::int64_t largest_block = 0;
  };
  Kept kept_for_backward(const DeviceBatch& batch, const Additions& added) const;
  // Memory of a cache for `sequences` of up to `length` tokens.
  std::vector<LayerCache> take_caches(std::int64_t sequences, std::int64_t length, Arena& arena) const;

 private:
  struct BoundTensor {
    ModelTensor tensor;
    Weight* weight;
    // Where a frozen tensor is: memory to copy it to, or the stored part itself.
    Tensor copy = {};
    std::optional<TensorView> in_place = {};
  };
  Weight& weight_of(const ModelTensor& tensor);
  void freeze(BoundTensor& bound, Arena& arena, const StoredWeights& stored);
  bool is_quantised(const ModelTensor& tensor) const;
  MatrixPart matrix_part(const ModelTensor& tensor) const;
  // Whether the tensor's memory is that of all blocks.
  bool is_shared(const BoundTensor& bound) const;
  void upload_part(const BoundTensor& bound, const BaseModel& base) const;
  // Reads a block before it is computed, with options.one_block.
  void read_block(std::int64_t layer) const;
  // What this rank has of a tensor along its split dim, or along the first.
  Shard part_of(const ModelTensor& tensor) const;
  Pass make_pass(const DeviceBatch& batch, const Additions& added) const;
  // Own rows of what the tokens mean to the first block: words of the table, or projected features.
  void embed(Tensor x, const DeviceBatch& batch, const Projector* projector, Arena& arena) const;
  void backward_embedding(ConstTensor dx, const DeviceBatch& batch, const Projector* projector,
                          Arena& arena) const;
  // How deep the backward pass of every block goes.
  std::vector<Depth> backward_depths(const DeviceBatch& batch, const Adapters* adapters) const;
  // Memory for the input of every block, and the output of the last.
  std::vector<Tensor> take_inputs(const DeviceBatch& batch, const std::vector<Depth>& depths,
                                  Arena& arena) const;
  // Own rows of x after the last block, in memory taken from `arena`.
  Tensor run_blocks(const DeviceBatch& batch, const Pass& pass, const Projector* projector,
                    std::span<const LayerCache> caches, Arena& arena) const;
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
  Embedding embedding_;
  std::vector<std::unique_ptr<Block>> blocks_;
  Weight final_norm_;
  VocabularyHead head_;
  std::vector<BoundTensor> tensors_;
  const BaseModel* stored_ = nullptr;  // of weights in the memory of one block
  ParameterSet* trained_ = nullptr;
  Tensor levels_;  // of quantised weights
  Tensor cos_sin_;
};

}  // namespace chorus
