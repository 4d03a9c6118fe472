#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "ops/base/forest.h"
#include "tests/support/tensors.h"

namespace chorus {

struct OperatorCall {
  using Function = std::function<void(Backend&, const std::vector<Tensor>& outputs)>;

  std::string name;
  std::vector<Tensor> outputs;
  Function function;

  void operator()(Backend& backend) const { function(backend, outputs); }
};

// A call of every operator, of matmul() one per kind of product, in the order of ops/backend.h: on random tensors of their
// own, the same for every backend.
class EveryOperator {
 public:
  // `backend` gives the memory. The forest has 40 tokens at least; `width` and `vocabulary` are those of matrices.
  EveryOperator(Backend& backend, DType dtype, const Forest& forest, std::int64_t width,
                std::int64_t vocabulary);

  const std::vector<OperatorCall>& calls() const { return calls_; }
  // Makes all calls on `backend`, and returns all outputs.
  std::vector<HostTensor> results(Backend& backend) const;

 private:
  Tensor take(const HostTensor& values) { return tensors_.emplace_back(backend_, values); }
  Tensor random(DType dtype, const Shape& shape, double low = -1);
  Tensor random(const Shape& shape) { return random(dtype_, shape); }
  Tensor accumulated(const Shape& shape, double low = -1) { return random(accumulator(dtype_), shape, low); }
  Tensor index(const std::vector<std::int32_t>& list) { return take(integers(DType::i32, list)); }

  void add(std::string name, std::vector<Tensor> outputs, OperatorCall::Function function) {
    calls_.push_back({std::move(name), std::move(outputs), std::move(function)});
  }
  void add_elementwise();
  void add_products();
  void add_dequantised();
  void add_biases();
  void add_low_rank_paths();
  void add_rows();
  void add_norms();
  void add_attention(const Forest& forest);
  void add_losses();
  void add_optimizer();

  Backend& backend_;
  DType dtype_;
  std::int64_t tokens_, width_, vocabulary_;
  std::uint64_t seed_ = 0;
  std::deque<DeviceTensor> tensors_;
  std::vector<OperatorCall> calls_;
};

}  // namespace chorus
