#pragma once

#include <compare>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include <dnnl.hpp>
#include <omp.h>

#include "ops/dtype.h"

namespace chorus {

// A product of matrices with everything that oneDNN compiles into it. Leading dimensions are in elements.
struct MatmulKey {
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t a_leading = 0, b_leading = 0, out_leading = 0;
  bool transpose_a = false, transpose_b = false, accumulate = false;
  DType input = DType::f32, output = DType::f32;
  auto operator<=>(const MatmulKey&) const = default;
};

// One product, ready to run on one thread; each worker has its own arguments.
class MatmulPlan {
 public:
  MatmulPlan(const MatmulKey& key, const dnnl::engine& engine, int workers);
  std::int64_t scratch_bytes() const { return scratch_bytes_; }
  void run(int worker, const dnnl::stream& stream, const void* a, const void* b, void* out, void* scratch);

 private:
  using Arguments = std::unordered_map<int, dnnl::memory>;
  dnnl::matmul primitive_;
  std::int64_t scratch_bytes_ = 0;
  std::vector<Arguments> arguments_;
};

// oneDNN would start threads of its own and divide the sums by their number. While this lives, what it is given is
// computed by the caller alone.
class OneThreadInLibrary {
 public:
  OneThreadInLibrary() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThreadInLibrary() { omp_set_num_threads(before_); }
  OneThreadInLibrary(const OneThreadInLibrary&) = delete;
  OneThreadInLibrary& operator=(const OneThreadInLibrary&) = delete;

 private:
  int before_;
};

}  // namespace chorus
