#include "experiments/planning/priced_run.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace chorus {

namespace {

// Of each element of x with the rank of every path, whose u or du is `thin`.
template <typename Path, typename Thin>
double flops_with(ConstTensor x, std::span<const Path> paths, Thin Path::*thin) {
  std::int64_t ranks = 0;
  for (const Path& path : paths) ranks += (path.*thin).dim(1);
  return 2 * static_cast<double>(x.elements() * ranks);
}

}  // namespace

Price& Price::operator+=(const Price& other) {
  seconds += other.seconds;
  product_seconds += other.product_seconds;
  memory_seconds += other.memory_seconds;
  pause_seconds += other.pause_seconds;
  tensor_seconds += other.tensor_seconds;
  gradient_seconds += other.gradient_seconds;
  flops += other.flops;
  bytes += other.bytes;
  tensor_bytes += other.tensor_bytes;
  gradient_bytes += other.gradient_bytes;
  calls += other.calls;
  exchanges += other.exchanges;
  return *this;
}

Price& Price::operator*=(double factor) {
  for (double* value : {&seconds, &product_seconds, &memory_seconds, &pause_seconds, &tensor_seconds,
                        &gradient_seconds, &flops, &bytes, &tensor_bytes, &gradient_bytes})
    *value *= factor;
  return *this;
}

void PricedBackend::traffic(std::initializer_list<ConstTensor> tensors) {
  const Arithmetic arithmetic = std::exchange(arithmetic_, {});
  double bytes = 0;
  for (const ConstTensor& tensor : tensors) bytes += static_cast<double>(tensor.bytes());
  if (bytes == 0) return;
  const double traffic = bytes / (machine_.memory_bytes_per_second * machine_.memory_share);
  const double longer = std::max(arithmetic.seconds, traffic);
  (arithmetic.seconds > traffic ? price_.product_seconds : price_.memory_seconds) += longer;
  price_.pause_seconds += machine_.call_seconds;
  price_.seconds += longer + machine_.call_seconds;
  price_.flops += arithmetic.flops;
  price_.bytes += bytes;
  ++price_.calls;
}

PricedBackend::Arithmetic PricedBackend::product_arithmetic(double flops, DType dtype) const {
  return {flops, flops / (machine_.peak_flops(dtype) * machine_.peak_share)};
}

void PricedBackend::matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options) {
  const auto inner = static_cast<double>(a.dim(options.transpose_a ? 0 : 1));
  arithmetic_ = product_arithmetic(2 * static_cast<double>(out.elements()) * inner, a.dtype());
  DryBackend::matmul(out, a, b, options);
}

void PricedBackend::low_rank_down(std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                                  Tensor scratch) {
  arithmetic_ = product_arithmetic(flops_with(x, paths, &LowRankDown::u), x.dtype());
  DryBackend::low_rank_down(paths, x, token_ids, scratch);
}

void PricedBackend::low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient> paths,
                                            ConstTensor token_ids, Tensor scratch) {
  arithmetic_ = product_arithmetic(flops_with(dx, paths, &LowRankInputGradient::du), dx.dtype());
  DryBackend::low_rank_input_gradient(dx, paths, token_ids, scratch);
}

void PricedBackend::low_rank_factor_gradient(std::span<const LowRankFactorGradient> paths, ConstTensor x,
                                             ConstTensor token_ids, Tensor scratch) {
  arithmetic_ = product_arithmetic(flops_with(x, paths, &LowRankFactorGradient::du), x.dtype());
  DryBackend::low_rank_factor_gradient(paths, x, token_ids, scratch);
}

PricedBackend::Arithmetic PricedBackend::attention_arithmetic(double flops_per_pair, ConstTensor q,
                                                              const Forest& forest) const {
  const double flops = flops_per_pair * static_cast<double>(q.dim(1) * q.dim(2) * forest.attended_pairs());
  return {flops, flops / (machine_.peak_flops(q.dtype()) * machine_.attention_share)};
}

void PricedBackend::attention(Tensor out, Tensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                              const Forest& forest) {
  arithmetic_ = attention_arithmetic(4, q, forest);
  DryBackend::attention(out, lse, q, k, v, forest);
}

// Five products of every pair in place of two.
void PricedBackend::attention_backward(Tensor dq, Tensor dk, Tensor dv, ConstTensor dout, ConstTensor out,
                                       ConstTensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                                       const Forest& forest) {
  arithmetic_ = attention_arithmetic(10, q, forest);
  DryBackend::attention_backward(dq, dk, dv, dout, out, lse, q, k, v, forest);
}

GridPlaces places_of(const ProcessGrid& grid, int gpus_per_node) {
  const auto place = [&](int size, int stride) {
    const int per_node = std::clamp(gpus_per_node / stride, 1, size);
    return GroupPlace{per_node, (size + per_node - 1) / per_node};
  };
  return {place(grid.tensor_size, 1), place(grid.data_size, grid.tensor_size), place(grid.size(), 1)};
}

double all_reduce_seconds(const Machine& machine, const GroupPlace& place, double bytes) {
  const auto part = [](int ranks) { return 2.0 * (ranks - 1) / ranks; };
  const auto hops = [](int ranks) { return 2.0 * std::bit_width(static_cast<unsigned>(ranks - 1)); };
  return part(place.per_node) * bytes / machine.node_link.bytes_per_second +
         part(place.nodes) * bytes / place.per_node / machine.network.bytes_per_second +
         hops(place.per_node) * machine.node_link.hop_seconds +
         hops(place.nodes) * machine.network.hop_seconds;
}

double PricedCommunicator::exchange(std::int64_t bytes, double share) {
  if (size_ == 1) return 0;
  const auto all = static_cast<double>(bytes);
  (use_ == Use::tensor ? price_.tensor_bytes : price_.gradient_bytes) +=
      share * 2 * (size_ - 1) / size_ * all;
  ++price_.exchanges;
  return share * all_reduce_seconds(machine_, place_, all);
}

void PricedCommunicator::wait(double seconds) {
  (use_ == Use::tensor ? price_.tensor_seconds : price_.gradient_seconds) += seconds;
  price_.seconds += seconds;
}

void PricedCommunicator::wait_for(std::int64_t bytes, double share) { wait(exchange(bytes, share)); }

void PricedCommunicator::begin_all_reduce(Tensor x) {
  price_.side_seconds = std::max(price_.side_seconds, price_.seconds) + exchange(x.bytes(), 1);
}

void PricedCommunicator::finish() { wait(std::max(0.0, price_.side_seconds - price_.seconds)); }

}  // namespace chorus
