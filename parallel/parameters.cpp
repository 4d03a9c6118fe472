#include "parallel/parameters.h"

#include <cmath>
#include <numeric>

#include "ops/transfer.h"

namespace chorus {

namespace {

// Every tensor of a flat array starts on a boundary that vector loads and GEMMs like; the gaps stay zero.
constexpr std::int64_t element_alignment = 64;

std::size_t zone_index(Placement placement) { return static_cast<std::size_t>(placement); }

}  // namespace

Shape with_dim(const Shape& shape, int dim, std::int64_t extent) {
  if (shape.rank() == 1) return {extent};
  return dim == 0 ? Shape{extent, shape[1]} : Shape{shape[0], extent};
}

std::vector<float> slice(std::span<const float> full, const Shape& shape, int dim, const Shard& part) {
  const std::int64_t columns = shape.rank() == 1 ? 1 : shape[1];
  if (dim == 0) return {full.begin() + part.begin * columns, full.begin() + part.end * columns};
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(shape[0] * part.length()));
  for (std::int64_t row = 0; row < shape[0]; ++row) {
    const auto begin = full.begin() + row * columns;
    values.insert(values.end(), begin + part.begin, begin + part.end);
  }
  return values;
}

ConstTensor Weight::value(Backend& backend, DType dtype, Arena& arena) const {
  if (!quantised) return value();
  const Tensor matrix = arena.take(dtype, quantised->shape);
  backend.dequantise(matrix, *quantised);
  return matrix;
}

void Weight::multiply(Tensor y, ConstTensor x, Backend& backend, Arena& arena) const {
  if (!quantised) return backend.matmul(y, x, value(), {.transpose_b = true});
  Arena::Scope scope(arena);
  backend.matmul_quantised(y, x, *quantised, arena.take(x.dtype(), quantised->shape));
}

Parameter& ParameterSet::add(std::string name, const Shape& full, Placement placement, int split_dim) {
  Parameter parameter;
  parameter.name = std::move(name);
  parameter.full = parameter.local = full;
  parameter.placement = placement;
  if (placement == Placement::sharded) {
    parameter.split_dim = split_dim;
    parameter.part = shard(full[split_dim], groups_.tensor.rank(), groups_.tensor.size());
    parameter.local = with_dim(full, split_dim, parameter.part.length());
  }
  return parameters_.emplace_back(std::move(parameter));
}

void ParameterSet::allocate(Arena& arena) {
  std::int64_t used = 0;
  for (const Placement placement : {Placement::partially_summed, Placement::replicated, Placement::sharded}) {
    zones_[zone_index(placement)].begin = used;
    for (Parameter& parameter : parameters_) {
      if (parameter.placement != placement) continue;
      parameter.offset = used;
      used += (parameter.local.elements() + element_alignment - 1) / element_alignment * element_alignment;
    }
    zones_[zone_index(placement)].end = used;
  }
  const DType acc = accumulator(precision_);
  masters_ = arena.take(acc, {used});
  gradients_ = arena.take(acc, {used});
  values_ = precision_ == acc ? masters_ : arena.take(precision_, {used});
  sums_ = arena.take(acc, {1});
  for (const Tensor& flat : {masters_, gradients_, values_}) backend_.fill(flat, 0);
  for (Parameter& parameter : parameters_) {
    parameter.value = part_of(parameter, values_);
    parameter.master = part_of(parameter, masters_);
    parameter.gradient = part_of(parameter, gradients_);
  }
}

Tensor ParameterSet::part_of(const Parameter& parameter, Tensor flat) const {
  return flat.rows(parameter.offset, parameter.offset + parameter.local.elements()).reshape(parameter.local);
}

std::int64_t ParameterSet::full_elements() const {
  return std::accumulate(parameters_.begin(), parameters_.end(), std::int64_t{0},
                         [](std::int64_t sum, const Parameter& p) { return sum + p.full.elements(); });
}

void ParameterSet::scatter(const Parameter& parameter, Tensor flat, std::span<const float> full) const {
  require(static_cast<std::int64_t>(full.size()) == parameter.full.elements(), parameter.name, " has ",
          parameter.full.elements(), " elements, not ", full.size());
  const Tensor part = part_of(parameter, flat);
  if (parameter.placement == Placement::sharded) {
    upload_floats(backend_, part, slice(full, parameter.full, parameter.split_dim, parameter.part));
  } else {
    upload_floats(backend_, part, full);
  }
}

void ParameterSet::assign(Parameter& parameter, std::span<const float> full) {
  scatter(parameter, masters_, full);
  if (values_.address() != masters_.address()) backend_.convert(parameter.value, parameter.master);
}

void ParameterSet::refresh_values() {
  if (values_.address() != masters_.address()) backend_.convert(values_, masters_);
}

void ParameterSet::reduce_gradients() {
  const Shard partial = zones_[zone_index(Placement::partially_summed)];
  if (partial.length() > 0) groups_.world.all_reduce(gradients_.rows(partial.begin, partial.end));
  if (partial.end < flat_elements()) groups_.data.all_reduce(gradients_.rows(partial.end, flat_elements()));
}

double ParameterSet::root_of_sum(ConstTensor x, bool sharded) const {
  backend_.sum_of_squares(sums_, x);
  if (sharded) groups_.tensor.all_reduce(sums_);
  return std::sqrt(static_cast<double>(download_floats(backend_, sums_)[0]));
}

double ParameterSet::global_norm(Tensor flat) const {
  const Shard sharded = zones_[zone_index(Placement::sharded)];
  return std::hypot(root_of_sum(flat.rows(0, sharded.begin), false),
                    root_of_sum(flat.rows(sharded.begin, sharded.end), true));
}

double ParameterSet::gradient_norm(const Parameter& parameter) const {
  const Tensor flat = parameter.gradient.reshape({parameter.local.elements()});
  return root_of_sum(flat, parameter.placement == Placement::sharded);
}

// Each rank contributes its part of an array of zeros: adding zeros is exact, and uneven parts need no special case.
std::vector<float> ParameterSet::gather(const Parameter& parameter, Tensor flat, Arena& scratch) const {
  const std::vector<float> part = download_floats(backend_, part_of(parameter, flat));
  if (parameter.placement != Placement::sharded || groups_.tensor.size() == 1) return part;
  std::vector<float> full(static_cast<std::size_t>(parameter.full.elements()), 0.0F);
  const std::int64_t columns = parameter.full.rank() == 1 ? 1 : parameter.full[1];
  const std::int64_t width = parameter.split_dim == 0 ? columns : parameter.part.length();
  const std::int64_t rows = width == 0 ? 0 : static_cast<std::int64_t>(part.size()) / width;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t start = parameter.split_dim == 0 ? (parameter.part.begin + row) * columns
                                                        : row * columns + parameter.part.begin;
    std::copy_n(part.begin() + row * width, width, full.begin() + start);
  }
  Arena::Scope scope(scratch);
  const Tensor whole = scratch.take(flat.dtype(), parameter.full);
  upload_floats(backend_, whole, full);
  groups_.tensor.all_reduce(whole);
  return download_floats(backend_, whole);
}

}  // namespace chorus
