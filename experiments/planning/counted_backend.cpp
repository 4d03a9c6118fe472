#include "experiments/planning/counted_backend.h"

#include <algorithm>
#include <utility>

#include "ops/quantised_composed.h"

namespace chorus {

namespace {

// Of each element of x with the rank of every path, whose u or du is `thin`.
template <typename Path, typename Thin>
OperatorWork work_with(ConstTensor x, std::span<const Path> paths, Thin Path::*thin) {
  std::int64_t ranks = 0;
  for (const Path& path : paths) ranks += (path.*thin).dim(1);
  return {.flops = 2 * static_cast<double>(x.elements() * ranks), .dtype = x.dtype(), .shape = x.shape()};
}

OperatorWork attention_work(double flops_per_pair, ConstTensor q, const Forest& forest) {
  return {.flops = flops_per_pair * static_cast<double>(q.dim(1) * q.dim(2) * forest.attended_pairs()),
          .attention = true,
          .dtype = q.dtype(),
          .shape = q.shape()};
}

}  // namespace

void CountedBackend::traffic(std::initializer_list<ConstTensor> tensors) {
  OperatorWork work = std::exchange(arithmetic_, {});
  for (const ConstTensor& tensor : tensors) work.bytes += static_cast<double>(tensor.bytes());
  if (work.bytes == 0) return;
  if (work.shape.rank() == 0)
    work.shape = std::ranges::max_element(tensors, {}, &ConstTensor::bytes)->shape();
  count(work);
}

void CountedBackend::matmul(Tensor out, ConstTensor a, ConstTensor b, MatmulOptions options) {
  const std::int64_t inner = a.dim(options.transpose_a ? 0 : 1);
  arithmetic_ = {.flops = 2 * static_cast<double>(out.elements()) * static_cast<double>(inner),
                 .dtype = a.dtype(),
                 .shape = {out.dim(0), inner, out.dim(1)}};
  DryBackend::matmul(out, a, b, options);
}

// As a GPU does it: read back, then multiplied.
void CountedBackend::matmul_quantised(Tensor out, ConstTensor a, const QuantisedMatrix& matrix,
                                      Tensor scratch) {
  composed::matmul_quantised(*this, out, a, matrix, scratch);
}

void CountedBackend::low_rank_down(std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                                   Tensor scratch) {
  arithmetic_ = work_with(x, paths, &LowRankDown::u);
  DryBackend::low_rank_down(paths, x, token_ids, scratch);
}

void CountedBackend::low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient> paths,
                                             ConstTensor token_ids, Tensor scratch) {
  arithmetic_ = work_with(dx, paths, &LowRankInputGradient::du);
  DryBackend::low_rank_input_gradient(dx, paths, token_ids, scratch);
}

void CountedBackend::low_rank_factor_gradient(std::span<const LowRankFactorGradient> paths, ConstTensor x,
                                              ConstTensor token_ids, Tensor scratch) {
  arithmetic_ = work_with(x, paths, &LowRankFactorGradient::du);
  DryBackend::low_rank_factor_gradient(paths, x, token_ids, scratch);
}

void CountedBackend::attention(Tensor out, Tensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                               const Forest& forest) {
  arithmetic_ = attention_work(4, q, forest);
  DryBackend::attention(out, lse, q, k, v, forest);
}

// Five products of every pair in place of two.
void CountedBackend::attention_backward(Tensor dq, Tensor dk, Tensor dv, ConstTensor dout, ConstTensor out,
                                        ConstTensor lse, ConstTensor q, ConstTensor k, ConstTensor v,
                                        const Forest& forest) {
  arithmetic_ = attention_work(10, q, forest);
  DryBackend::attention_backward(dq, dk, dv, dout, out, lse, q, k, v, forest);
}

}  // namespace chorus
