#include "core/model/llama.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "core/formats/upload_slice.h"
#include "ops/transfer.h"

namespace chorus {

namespace {

Shape shape_of(const ModelTensor& tensor) {
  return tensor.shape.size() == 1 ? Shape{tensor.shape[0]} : Shape{tensor.shape[0], tensor.shape[1]};
}

// A norm over heads has the gradient of this rank's heads alone.
Placement placement_of(const ModelTensor& tensor) {
  if (tensor.split_dim) return Placement::sharded;
  const bool of_heads = tensor.role == TensorRole::query_norm || tensor.role == TensorRole::key_norm;
  return of_heads ? Placement::partially_summed : Placement::replicated;
}

bool is_aligned(const void* address, DType dtype) {
  return reinterpret_cast<std::uintptr_t>(address) % static_cast<std::uintptr_t>(bytes_per_element(dtype)) ==
         0;
}

}  // namespace

nlohmann::ordered_json identity(const ModelOptions& options) {
  nlohmann::ordered_json all{{"precision", name(options.precision)}};
  // A newer option: not said at its default, so that checkpoints of older versions go on.
  if (options.base_precision != Quantisation::none) all["base-precision"] = name(options.base_precision);
  return all;
}

Llama::Llama(const ModelConfig& config, const ModelOptions& options, Backend& backend, const Groups& groups,
             Arena& arena, const StoredWeights& in_place)
    : config_(config),
      options_(options),
      backend_(backend),
      groups_(groups),
      rows_(backend, groups.tensor, division()),
      embedding_(backend, groups.tensor, config.vocabulary_size),
      head_(backend, groups.tensor, config.vocabulary_size) {
  require_tensor_parallel(config, groups.tensor.size());
  require(!options.sequence_parallel || !options.train_base, "a trained base and a divided sequence");
  require(options.base_precision == Quantisation::none || !options.train_base,
          "a trained base that is quantised");
  require(!options.one_block || !options.train_base, "a trained base in the memory of one block");
  require(!options.one_block || options.base_precision == Quantisation::none,
          "a quantised base in the memory of one block");
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    blocks_.push_back(std::make_unique<Block>(config, layer, backend, groups.tensor, division()));
    for (const Projection which : all_projections)
      blocks_.back()->projection(which).overlap_chunks = options.overlap_chunks;
  }
  if (options.base_precision == Quantisation::nf4) levels_ = upload_levels(backend, arena);
  for (ModelTensor& tensor : model_tensors(config)) {
    Weight& weight = weight_of(tensor);
    tensors_.push_back({std::move(tensor), &weight});
    if (!options.train_base) freeze(tensors_.back(), arena, in_place);
  }
  if (config.tied_head) head_.weight = embedding_.table;
  cos_sin_ = arena.take(accumulator(options.precision), {config.longest_text(), config.head_width});
  upload_floats(backend, cos_sin_, rope_table(config.rope, config.head_width, config.longest_text()));
}

TokenDivision Llama::division() const {
  return options_.sequence_parallel ? TokenDivision::by_rank : TokenDivision::none;
}

Weight& Llama::weight_of(const ModelTensor& tensor) {
  const auto block = [&]() -> Block& { return *blocks_[static_cast<std::size_t>(tensor.layer)]; };
  switch (tensor.role) {
    case TensorRole::embedding:
      return embedding_.table;
    case TensorRole::attention_norm:
      return block().norm1;
    case TensorRole::projection:
      return block().projection(tensor.projection).weight;
    case TensorRole::bias: {
      std::optional<Weight>& bias = block().projection(tensor.projection).bias;
      return bias ? *bias : bias.emplace();
    }
    case TensorRole::query_norm:
      return block().query_norm;
    case TensorRole::key_norm:
      return block().key_norm;
    case TensorRole::mlp_norm:
      return block().norm2;
    case TensorRole::final_norm:
      return final_norm_;
    case TensorRole::head:
      return head_.weight;
  }
  throw Error("a tensor without a role");
}

Shard Llama::part_of(const ModelTensor& tensor) const {
  if (!tensor.split_dim) return {0, tensor.shape[0]};
  return shard(tensor.shape[static_cast<std::size_t>(*tensor.split_dim)], groups_.tensor.rank(),
               groups_.tensor.size());
}

bool Llama::is_quantised(const ModelTensor& tensor) const {
  return options_.base_precision != Quantisation::none && tensor.role == TensorRole::projection;
}

MatrixPart Llama::matrix_part(const ModelTensor& tensor) const {
  return {tensor.name, shape_of(tensor), tensor.split_dim.value_or(0), part_of(tensor)};
}

void Llama::freeze(BoundTensor& bound, Arena& arena, const StoredWeights& stored) {
  const ModelTensor& tensor = bound.tensor;
  if (is_quantised(tensor)) {
    bound.weight->quantised = take_quantised(arena, options_.base_precision, matrix_part(tensor), levels_);
    return;
  }
  const Shard part = part_of(tensor);
  Shape local = shape_of(tensor);
  if (tensor.split_dim) local = with_dim(local, *tensor.split_dim, part.length());
  if (stored) {
    bound.in_place = as_stored(stored(tensor.name), options_.precision, tensor.split_dim.value_or(0),
                               part.begin, part.end);
    if (bound.in_place && !is_aligned(bound.in_place->data, options_.precision)) bound.in_place.reset();
  }
  if (bound.in_place) {
    // Nothing is written through it.
    bound.weight->frozen =
        ConstTensor(options_.precision, local, const_cast<std::byte*>(bound.in_place->data));
  } else {
    const auto has_its_memory = [&](const BoundTensor& other) {
      return &other != &bound && is_shared(other) && other.tensor.role == tensor.role &&
             other.tensor.projection == tensor.projection;
    };
    const auto former = is_shared(bound) ? std::ranges::find_if(tensors_, has_its_memory) : tensors_.end();
    bound.copy = former == tensors_.end() ? arena.take(options_.precision, local) : former->copy;
    bound.weight->frozen = bound.copy;
  }
}

bool Llama::is_shared(const BoundTensor& bound) const {
  const TensorRole role = bound.tensor.role;
  const bool of_block =
      role != TensorRole::embedding && role != TensorRole::final_norm && role != TensorRole::head;
  return options_.one_block && of_block && !bound.in_place;
}

void Llama::upload_part(const BoundTensor& bound, const BaseModel& base) const {
  const Shard part = part_of(bound.tensor);
  upload_slice(backend_, bound.copy, base.tensor(bound.tensor.name), bound.tensor.split_dim.value_or(0),
               part.begin, part.end);
}

void Llama::train(ParameterSet& parameters) {
  require(options_.train_base, "a frozen base is trained");
  trained_ = &parameters;
  for (const BoundTensor& bound : tensors_) {
    const ModelTensor& tensor = bound.tensor;
    bound.weight->trained =
        &parameters.add(tensor.name, shape_of(tensor), placement_of(tensor), tensor.split_dim.value_or(0));
  }
  if (config_.tied_head) head_.weight = embedding_.table;
}

std::int64_t Llama::bytes_in_place() const {
  std::int64_t bytes = 0;
  for (const BoundTensor& bound : tensors_) bytes += bound.in_place ? bound.weight->frozen.bytes() : 0;
  return bytes;
}

std::vector<std::pair<std::string, ConstTensor>> Llama::norms_in_memory() const {
  std::vector<std::pair<std::string, ConstTensor>> norms;
  for (const BoundTensor& bound : tensors_) {
    if (bound.tensor.is_norm() && bound.weight->trained == nullptr && !bound.in_place && !is_shared(bound))
      norms.emplace_back(bound.tensor.name, bound.copy);
  }
  return norms;
}

void Llama::load(const BaseModel& base) {
  base.require_undamaged();
  for (const BoundTensor& bound : tensors_) {
    const TensorView& view = base.tensor(bound.tensor.name);
    if (bound.weight->trained != nullptr) {
      trained_->assign(*bound.weight->trained, read_tensor(view));
      view.file->give_back(view.bytes());
    } else if (bound.weight->quantised) {
      quantise(backend_, *bound.weight->quantised, matrix_part(bound.tensor),
               [&](std::int64_t begin, std::int64_t end) {
                 const TensorView rows = view.rows(begin, end);
                 std::vector<float> values = read_tensor(rows);
                 view.file->give_back(rows.bytes());
                 return values;
               });
    } else if (bound.in_place) {
      require(bound.in_place->file == view.file, bound.tensor.name, " is read where another base stores it");
      view.file->touch(bound.in_place->bytes());
    } else if (!is_shared(bound)) {
      upload_part(bound, base);
    }
  }
  if (options_.one_block) stored_ = &base;
}

void Llama::load(const std::function<std::vector<float>(const ModelTensor&)>& read) {
  for (const BoundTensor& bound : tensors_) {
    const ModelTensor& tensor = bound.tensor;
    const std::vector<float> full = read(tensor);
    if (bound.weight->trained != nullptr) {
      trained_->assign(*bound.weight->trained, full);
      continue;
    }
    if (bound.weight->quantised) {
      const auto at = [&](std::int64_t row) { return full.begin() + row * tensor.shape[1]; };
      quantise(backend_, *bound.weight->quantised, matrix_part(tensor),
               [&](std::int64_t begin, std::int64_t end) { return std::vector(at(begin), at(end)); });
      continue;
    }
    require(!bound.in_place, tensor.name, " is read where it is stored, and cannot be set");
    if (tensor.split_dim) {
      upload_floats(backend_, bound.copy, slice(full, shape_of(tensor), *tensor.split_dim, part_of(tensor)));
    } else {
      upload_floats(backend_, bound.copy, full);
    }
  }
}

void Llama::fill(
    const std::function<void(const ModelTensor& tensor, Tensor part)>& write,
    const std::function<void(const ModelTensor& tensor, const QuantisedMatrix& part)>& write_quantised) {
  for (const BoundTensor& bound : tensors_) {
    require(bound.weight->trained == nullptr && !bound.in_place, bound.tensor.name, " is not to be filled");
    if (bound.weight->quantised) {
      write_quantised(bound.tensor, *bound.weight->quantised);
    } else {
      write(bound.tensor, bound.copy);
    }
  }
}

Pass Llama::make_pass(const DeviceBatch& batch, const Additions& added) const {
  Pass pass;
  pass.forest = &batch.forest;
  pass.positions = batch.positions;
  pass.cos_sin = cos_sin_;
  pass.adapters = added.adapters;
  return pass;
}

// Words are in one rank's table and 0 on the others. Features are in none; the first rank adds them to the sum.
void Llama::embed(Tensor x, const DeviceBatch& batch, const Projector* projector, Arena& arena) const {
  Arena::Scope scope(arena);
  const Tensor all = rows_.all_for(x, arena);
  embedding_.forward(all, batch.tokens);
  if (batch.features.count() > 0) {
    require(projector != nullptr, batch.features.count(), " rows of features for a model without projector");
    if (groups_.tensor.rank() == 0) projector->forward(all, batch.features, arena);
  }
  const Tensor own = rows_.reduce(all);
  if (rows_.divided()) backend_.convert(x, own);
}

// Every tensor rank needs dx of all features: its copy of the projector gets the same gradient as the others'.
void Llama::backward_embedding(ConstTensor dx, const DeviceBatch& batch, const Projector* projector,
                               Arena& arena) const {
  embedding_.backward(dx, batch.tokens);
  if (batch.features.count() == 0) return;
  Arena::Scope scope(arena);
  projector->backward(rows_.gather(dx, arena), batch.features, arena);
}

void Llama::read_block(std::int64_t layer) const {
  if (stored_ == nullptr) return;
  for (const BoundTensor& bound : tensors_) {
    if (is_shared(bound) && bound.tensor.layer == layer) upload_part(bound, *stored_);
  }
}

Tensor Llama::run_blocks(const DeviceBatch& batch, const Pass& pass, const Projector* projector,
                         std::span<const LayerCache> caches, Arena& arena) const {
  const Shape shape{rows_.own_count(batch.size()), config_.hidden_size};
  Tensor x = arena.take(options_.precision, shape), y = arena.take(options_.precision, shape);
  embed(x, batch, projector, arena);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    read_block(static_cast<std::int64_t>(i));
    blocks_[i]->forward(y, x, {}, pass, caches.empty() ? nullptr : &caches[i], arena);
    std::swap(x, y);
  }
  return x;
}

Llama::FinalRows Llama::final_rows(ConstTensor x, const DeviceBatch& batch, Arena& arena) const {
  const Shape shape{batch.targets.rows, config_.hidden_size};
  FinalRows rows{arena.take(x.dtype(), shape), arena.take(accumulator(x.dtype()), {batch.targets.rows}),
                 arena.take(x.dtype(), shape)};
  Arena::Scope scope(arena);
  backend_.gather_rows(rows.x, rows_.gather(x, arena), batch.target_rows);
  backend_.rms_norm(rows.h, rows.rstd, rows.x, final_norm_.value(), config_.norm_epsilon);
  return rows;
}

void Llama::score(Tensor log_probability, const DeviceBatch& batch, const Additions& added,
                  Arena& arena) const {
  Arena::Scope scope(arena);
  const Tensor x = run_blocks(batch, make_pass(batch, added), added.projector, {}, arena);
  head_.score(log_probability, final_rows(x, batch, arena).h, batch.targets, arena);
}

std::vector<Depth> Llama::backward_depths(const DeviceBatch& batch, const Adapters* adapters) const {
  bool beneath = embedding_.table.trained != nullptr || batch.features.count() > 0;
  std::vector<Depth> depths;
  for (const auto& block : blocks_) {
    depths.push_back(block->depth(adapters, beneath));
    beneath = depths.back() != Depth::none;
  }
  return depths;
}

// Beneath the lowest block that has a backward pass, inputs take turns in two of the tensors above.
std::vector<Tensor> Llama::take_inputs(const DeviceBatch& batch, const std::vector<Depth>& depths,
                                       Arena& arena) const {
  const std::size_t last = blocks_.size() - 1;
  const auto lowest = std::min(last, static_cast<std::size_t>(std::ranges::count(depths, Depth::none)));
  std::vector<Tensor> x(blocks_.size() + 1);
  for (std::size_t i = lowest; i < x.size(); ++i)
    x[i] = arena.take(options_.precision, {rows_.own_count(batch.size()), config_.hidden_size});
  for (std::size_t i = lowest; i-- > 0;) x[i] = (lowest - i) % 2 == 0 ? x[lowest] : x.back();
  return x;
}

Llama::Kept Llama::kept_for_backward(const DeviceBatch& batch, const Additions& added) const {
  const std::vector<Depth> depths = backward_depths(batch, added.adapters);
  Arena inputs = Arena::measuring();
  const std::vector<Tensor> x = take_inputs(batch, depths, inputs);
  Kept kept{.inputs = inputs.peak_bytes()};
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    Arena arena = Arena::measuring();
    blocks_[i]->take_saved(arena, x[i], make_pass(batch, added), depths[i],
                           options_.recompute == Recompute::some);
    kept.blocks += arena.peak_bytes();
    kept.largest_block = std::max(kept.largest_block, arena.peak_bytes());
  }
  return kept;
}

void Llama::score_and_backward(Tensor log_probability, const DeviceBatch& batch, const Additions& added,
                               double scale, std::uint32_t step, Arena& arena) const {
  require(!options_.one_block, "a base in the memory of one block has no backward pass");
  Arena::Scope scope(arena);
  const DType dtype = options_.precision;
  Pass pass = make_pass(batch, added);
  pass.dropout = {batch.token_ids, step};

  const std::vector<Depth> depths = backward_depths(batch, added.adapters);
  const std::vector<Tensor> x = take_inputs(batch, depths, arena);
  std::vector<Block::Saved> saved(blocks_.size());
  embed(x[0], batch, added.projector, arena);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (options_.recompute != Recompute::all)
      saved[i] = blocks_[i]->take_saved(arena, x[i], pass, depths[i], options_.recompute == Recompute::some);
    blocks_[i]->forward(x[i + 1], x[i], saved[i], pass, nullptr, arena);
  }

  const Tensor dx = arena.take(dtype, x.back().shape());
  {
    Arena::Scope final_scope(arena);
    const FinalRows rows = final_rows(x.back(), batch, arena);
    const Tensor dh = arena.take(dtype, rows.h.shape());
    head_.score_and_backward(log_probability, dh, rows.h, batch.targets, scale, arena);
    backward_final_rows(dx, dh, rows, batch, arena);
  }
  for (std::size_t i = blocks_.size(); i-- > 0 && depths[i] != Depth::none;) {
    Arena::Scope block_scope(arena);
    if (options_.recompute == Recompute::all) {
      saved[i] = blocks_[i]->take_saved(arena, x[i], pass, depths[i], false);
      blocks_[i]->forward({}, x[i], saved[i], pass, nullptr, arena);
    }
    blocks_[i]->backward(dx, saved[i], pass, arena);
  }
  backward_embedding(dx, batch, added.projector, arena);
}

void Llama::backward_final_rows(Tensor dx, ConstTensor dh, const FinalRows& rows, const DeviceBatch& batch,
                                Arena& arena) const {
  Arena::Scope scope(arena);
  const Tensor drows = arena.take(dh.dtype(), dh.shape());
  backend_.fill(drows, 0);
  backend_.rms_norm_backward(drows, dh, rows.x, final_norm_.value(), rows.rstd);
  if (final_norm_.trained != nullptr) {
    backend_.rms_norm_weight_backward(final_norm_.trained->gradient, dh, rows.x, rows.rstd);
  }
  const Tensor all = rows_.all_for(dx, arena);
  backend_.fill(all, 0);
  backend_.scatter_rows(all, drows, batch.target_rows);
  if (rows_.divided()) backend_.convert(dx, rows_.own(all));
}

std::vector<float> Llama::logits(const DeviceBatch& batch, const Additions& added,
                                 const std::optional<CacheAccess>& access, std::span<const LayerCache> caches,
                                 Arena& arena) const {
  Arena::Scope scope(arena);
  Pass pass = make_pass(batch, added);
  pass.cache = access;
  const Tensor x = run_blocks(batch, pass, added.projector, caches, arena);
  return head_.logits(final_rows(x, batch, arena).h, arena);
}

std::vector<float> Llama::hidden_states(const DeviceBatch& batch, const Additions& added,
                                        Arena& arena) const {
  Arena::Scope scope(arena);
  const Tensor x = run_blocks(batch, make_pass(batch, added), added.projector, {}, arena);
  return download_floats(backend_, final_rows(x, batch, arena).h);
}

std::vector<LayerCache> Llama::take_caches(std::int64_t sequences, std::int64_t length, Arena& arena) const {
  const Shape shape{sequences, length, config_.key_value_heads / groups_.tensor.size(), config_.head_width};
  std::vector<LayerCache> caches;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    caches.push_back({arena.take(options_.precision, shape), arena.take(options_.precision, shape)});
  }
  return caches;
}

}  // namespace chorus
