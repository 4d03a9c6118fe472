#include "core/model/llama.h"

#include <cmath>

#include "core/formats/upload_slice.h"
#include "ops/transfer.h"

namespace chorus {

namespace {

TokenDivision division_of(const ModelOptions& options) {
  return options.sequence_parallel ? TokenDivision::by_rank : TokenDivision::none;
}

bool is_aligned(const void* address, DType dtype) {
  return reinterpret_cast<std::uintptr_t>(address) % static_cast<std::uintptr_t>(bytes_per_element(dtype)) ==
         0;
}

}  // namespace

Llama::Llama(const ModelConfig& config, const ModelOptions& options, Backend& backend, const Groups& groups,
             Arena& arena, const StoredWeights& in_place)
    : config_(config),
      options_(options),
      backend_(backend),
      groups_(groups),
      rows_(backend, groups.tensor, division_of(options)),
      parameters_(backend, groups, options.precision),
      embedding_(backend, groups.tensor, config.vocabulary_size),
      head_(backend, groups.tensor, config.vocabulary_size) {
  require_tensor_parallel(config, groups.tensor.size());
  require(!options.sequence_parallel || !options.train_base, "a trained base and a divided sequence");
  for (std::int64_t i = 0; i < config.layers; ++i) {
    blocks_.push_back(std::make_unique<Block>(config, backend, groups.tensor, division_of(options)));
    for (const Projection which : all_projections)
      blocks_.back()->projection(which).overlap_chunks = options.overlap_chunks;
  }
  name_weights();
  place_weights(arena, in_place);
  if (options.lora) add_adapters();
  if (options.projector) projector_.emplace(*options.projector, config.hidden_size, backend, parameters_);
  parameters_.allocate(arena);
  if (config.tied_head) head_.weight = embedding_.table;

  cos_sin_ = arena.take(accumulator(options.precision), {config.max_positions, config.head_width});
  upload_floats(backend, cos_sin_, rope_table(config, config.max_positions));
}

void Llama::name_weights() {
  const std::int64_t width = config_.hidden_size;
  weights_.push_back({"model.embed_tokens.weight", {config_.vocabulary_size, width}, 0, &embedding_.table});
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    weights_.push_back({prefix + "input_layernorm.weight", {width}, std::nullopt, &blocks_[i]->norm1});
    weights_.push_back(
        {prefix + "post_attention_layernorm.weight", {width}, std::nullopt, &blocks_[i]->norm2});
    for (const Projection which : all_projections) {
      const Features shape = features(config_, which);
      weights_.push_back({weight_name(static_cast<std::int64_t>(i), which),
                          {shape.outputs, shape.inputs},
                          split_of(which) == Split::columns ? 0 : 1,
                          &blocks_[i]->projection(which).weight});
    }
  }
  weights_.push_back({"model.norm.weight", {width}, std::nullopt, &final_norm_});
  if (!config_.tied_head)
    weights_.push_back({"lm_head.weight", {config_.vocabulary_size, width}, 0, &head_.weight});
}

Shard Llama::part_of(const NamedWeight& w) const {
  if (!w.split_dim) return {0, w.full[0]};
  return shard(w.full[*w.split_dim], groups_.tensor.rank(), groups_.tensor.size());
}

void Llama::place_weights(Arena& arena, const StoredWeights& stored) {
  for (NamedWeight& w : weights_) {
    if (options_.train_base) {
      w.weight->trained = &parameters_.add(
          w.name, w.full, w.split_dim ? Placement::sharded : Placement::replicated, w.split_dim.value_or(0));
      continue;
    }
    const Shard part = part_of(w);
    Shape local = w.full;
    if (w.split_dim)
      local = *w.split_dim == 0 ? Shape{part.length(), w.full[1]} : Shape{w.full[0], part.length()};
    if (stored) {
      w.in_place =
          as_stored(stored(w.name), options_.precision, w.split_dim.value_or(0), part.begin, part.end);
      if (w.in_place && !is_aligned(w.in_place->data, options_.precision)) w.in_place.reset();
    }
    if (w.in_place) {
      // Nothing is written through it.
      w.weight->frozen = ConstTensor(options_.precision, local, const_cast<std::byte*>(w.in_place->data));
    } else {
      w.weight->frozen = w.copy = arena.take(options_.precision, local);
    }
  }
}

std::int64_t Llama::bytes_in_place() const {
  std::int64_t bytes = 0;
  for (const NamedWeight& w : weights_) bytes += w.in_place ? w.weight->frozen.bytes() : 0;
  return bytes;
}

void Llama::add_adapters() {
  const LoraConfig& lora = *options_.lora;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    for (const Projection which : lora.targets) {
      const Features shape = features(config_, which);
      const auto layer = static_cast<std::int64_t>(i);
      const auto placement = [&](Split split) {
        return split_of(which) == split ? Placement::sharded : Placement::partially_summed;
      };
      Adapter adapter;
      adapter.a = &parameters_.add(peft_tensor_name(layer, which, LoraFactor::a), {lora.rank, shape.inputs},
                                   placement(Split::rows), 1);
      adapter.b = &parameters_.add(peft_tensor_name(layer, which, LoraFactor::b), {shape.outputs, lora.rank},
                                   placement(Split::columns), 0);
      adapter.scale = static_cast<float>(scale(lora));
      adapter.dropout = static_cast<float>(lora.dropout);
      adapter.seed = options_.seed;
      adapter.stream =
          static_cast<std::uint32_t>(i * all_projections.size() + static_cast<std::size_t>(which));
      blocks_[i]->projection(which).adapter = adapter;
    }
  }
}

void Llama::load_base(const BaseModel& base) {
  for (const NamedWeight& w : weights_) {
    const TensorView& view = base.tensor(w.name);
    if (w.weight->trained != nullptr) {
      parameters_.assign(*w.weight->trained, read_tensor(view));
      view.file->give_back(view.bytes());
    } else if (w.in_place) {
      require(w.in_place->file == view.file, w.name, " is read where another base stores it");
      view.file->touch(w.in_place->bytes());
    } else {
      const Shard part = part_of(w);
      upload_slice(backend_, w.copy, view, w.split_dim.value_or(0), part.begin, part.end);
    }
  }
}

void Llama::load_base(const std::function<std::vector<float>(const std::string& name)>& read) {
  for (const NamedWeight& w : weights_) {
    const std::vector<float> full = read(w.name);
    if (w.weight->trained != nullptr) {
      parameters_.assign(*w.weight->trained, full);
      continue;
    }
    require(!w.in_place, w.name, " is read where it is stored, and cannot be set");
    if (w.split_dim) {
      upload_floats(backend_, w.copy, slice(full, w.full, *w.split_dim, part_of(w)));
    } else {
      upload_floats(backend_, w.copy, full);
    }
  }
}

void Llama::initialise_adapters() {
  for (const std::unique_ptr<Block>& block : blocks_) {
    for (const Projection which : options_.lora->targets) {
      const Adapter& adapter = *block->projection(which).adapter;
      std::vector<float> a(static_cast<std::size_t>(adapter.a->full.elements()));
      const float bound = 1.0F / std::sqrt(static_cast<float>(adapter.a->full[1]));
      for (std::size_t i = 0; i < a.size(); ++i) {
        const std::uint32_t word = random_word(options_.seed, RandomUse::initial_value, adapter.stream, i);
        a[i] = bound * (2.0F * uniform(word) - 1.0F);
      }
      parameters_.assign(*adapter.a, a);
      parameters_.assign(*adapter.b,
                         std::vector<float>(static_cast<std::size_t>(adapter.b->full.elements())));
    }
  }
}

void Llama::load_adapters(const PeftAdapter& adapter) {
  require_fits(adapter, config_);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto layer = static_cast<std::int64_t>(i);
    for (const Projection which : options_.lora->targets) {
      const Adapter& own = *blocks_[i]->projection(which).adapter;
      parameters_.assign(*own.a, adapter.values(layer, which, LoraFactor::a));
      parameters_.assign(*own.b, adapter.values(layer, which, LoraFactor::b));
    }
  }
}

void Llama::load_projector(const SavedProjector& projector) {
  require_fits(projector, config_);
  projector_->load(projector.file);
}

Pass Llama::make_pass(const DeviceBatch& batch) const {
  Pass pass;
  pass.forest = &batch.forest;
  pass.positions = batch.positions;
  pass.cos_sin = cos_sin_;
  return pass;
}

// Words are in one rank's table and 0 on the others. Features are in none; the first rank adds them to the sum.
void Llama::embed(Tensor x, const DeviceBatch& batch, Arena& arena) const {
  Arena::Scope scope(arena);
  const Tensor all = rows_.all_for(x, arena);
  embedding_.forward(all, batch.tokens);
  if (batch.features.count() > 0) {
    require(projector_.has_value(), batch.features.count(),
            " rows of features for a model without projector");
    if (groups_.tensor.rank() == 0) projector_->forward(all, batch.features, arena);
  }
  const Tensor own = rows_.reduce(all);
  if (rows_.divided()) backend_.convert(x, own);
}

// Every tensor rank needs dx of all features: its copy of the projector gets the same gradient as the others'.
void Llama::backward_embedding(ConstTensor dx, const DeviceBatch& batch, Arena& arena) const {
  embedding_.backward(dx, batch.tokens);
  if (batch.features.count() == 0) return;
  Arena::Scope scope(arena);
  projector_->backward(rows_.gather(dx, arena), batch.features, arena);
}

Tensor Llama::run_blocks(const DeviceBatch& batch, const Pass& pass, std::span<const LayerCache> caches,
                         Arena& arena) const {
  const Shape shape{rows_.own_count(batch.size()), config_.hidden_size};
  Tensor x = arena.take(options_.precision, shape), y = arena.take(options_.precision, shape);
  embed(x, batch, arena);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    Arena::Scope scope(arena);
    Block::Saved saved = blocks_[i]->take_saved(arena, batch.size(), options_.precision);
    blocks_[i]->forward(y, saved, x, pass, caches.empty() ? nullptr : &caches[i], arena);
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

void Llama::score(Tensor log_probability, const DeviceBatch& batch, Arena& arena) const {
  Arena::Scope scope(arena);
  const Tensor x = run_blocks(batch, make_pass(batch), {}, arena);
  head_.score(log_probability, final_rows(x, batch, arena).h, batch.targets, arena);
}

void Llama::score_and_backward(Tensor log_probability, const DeviceBatch& batch, double scale,
                               std::uint32_t step, Arena& arena) const {
  Arena::Scope scope(arena);
  const DType dtype = options_.precision;
  Pass pass = make_pass(batch);
  pass.dropout = {batch.token_ids, step};

  const Shape shape{rows_.own_count(batch.size()), config_.hidden_size};
  std::vector<Tensor> x;  // the input of every block and the output of the last
  for (std::size_t i = 0; i <= blocks_.size(); ++i) x.push_back(arena.take(dtype, shape));
  std::vector<Block::Saved> saved(blocks_.size());
  embed(x[0], batch, arena);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    std::optional<Arena::Scope> forgotten;
    if (options_.recompute) forgotten.emplace(arena);
    saved[i] = blocks_[i]->take_saved(arena, batch.size(), dtype);
    blocks_[i]->forward(x[i + 1], saved[i], x[i], pass, nullptr, arena);
  }

  const Tensor dx = arena.take(dtype, shape);
  {
    Arena::Scope final_scope(arena);
    const FinalRows rows = final_rows(x.back(), batch, arena);
    const Tensor dh = arena.take(dtype, rows.h.shape());
    head_.score_and_backward(log_probability, dh, rows.h, batch.targets, scale, arena);
    backward_final_rows(dx, dh, rows, batch, arena);
  }
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    Arena::Scope block_scope(arena);
    if (options_.recompute) {
      saved[i] = blocks_[i]->take_saved(arena, batch.size(), dtype);
      blocks_[i]->forward(x[i + 1], saved[i], x[i], pass, nullptr, arena);
    }
    blocks_[i]->backward(dx, saved[i], pass, arena);
  }
  backward_embedding(dx, batch, arena);
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

std::vector<float> Llama::logits(const DeviceBatch& batch, const std::optional<CacheAccess>& access,
                                 std::span<const LayerCache> caches, Arena& arena) const {
  Arena::Scope scope(arena);
  Pass pass = make_pass(batch);
  pass.cache = access;
  const Tensor x = run_blocks(batch, pass, caches, arena);
  return head_.logits(final_rows(x, batch, arena).h, arena);
}

std::vector<float> Llama::hidden_states(const DeviceBatch& batch, Arena& arena) const {
  Arena::Scope scope(arena);
  const Tensor x = run_blocks(batch, make_pass(batch), {}, arena);
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
