// The product of matrices in f32, as cuBLASLt would compute it.

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include <cuda_fp16.h>

#include "tests/cuda_emulation/cublaslt.h"

namespace chorus::cuda_emulation {
namespace {

float load(const void* data, std::size_t i, int type) {
  switch (type) {
    case CUDA_R_16BF:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[i]);
    case CUDA_R_16F:
      return __half2float(static_cast<const __half*>(data)[i]);
    default:
      return static_cast<const float*>(data)[i];
  }
}

void store(void* data, std::size_t i, int type, float value) {
  switch (type) {
    case CUDA_R_16BF:
      static_cast<__nv_bfloat16*>(data)[i] = __float2bfloat16_rn(value);
      return;
    case CUDA_R_16F:
      static_cast<__half*>(data)[i] = __float2half_rn(value);
      return;
    default:
      static_cast<float*>(data)[i] = value;
  }
}

// To 10 bits of mantissa, ties to even.
float rounded_to_tf32(float x) {
  auto bits = std::bit_cast<std::uint32_t>(x);
  bits += 0xfff + (bits >> 13 & 1);
  return std::bit_cast<float>(bits & 0xffffe000U);
}

// Of the tanh form.
float gelu(float x) { return 0.5F * x * (1 + std::tanh(0.7978845608F * (x + 0.044715F * x * x * x))); }

// op(matrix) as dense rows of f32
std::vector<float> dense(const void* data, const MatrixLayout& layout, bool transpose, bool tf32) {
  const std::size_t rows = transpose ? layout.columns : layout.rows;
  const std::size_t columns = transpose ? layout.rows : layout.columns;
  std::vector<float> result(rows * columns);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      const float value = load(data, transpose ? layout.index(j, i) : layout.index(i, j), layout.type);
      result[i * columns + j] = tf32 ? rounded_to_tf32(value) : value;
    }
  }
  return result;
}

// C (m x n) += A (m x k) B (k x n), in blocks that fit into caches; four rows at a time share a row of B.
void multiply_dense(const float* a, const float* b, float* c, std::size_t m, std::size_t n, std::size_t k) {
  constexpr std::size_t k_block = 256, n_block = 512;
  for (std::size_t n0 = 0; n0 < n; n0 += n_block) {
    const std::size_t n1 = std::min(n, n0 + n_block);
    for (std::size_t k0 = 0; k0 < k; k0 += k_block) {
      const std::size_t k1 = std::min(k, k0 + k_block);
      std::size_t i = 0;
      for (; i + 4 <= m; i += 4) {
        float* const rows[4] = {c + i * n, c + (i + 1) * n, c + (i + 2) * n, c + (i + 3) * n};
        for (std::size_t l = k0; l < k1; ++l) {
          const float x0 = a[i * k + l], x1 = a[(i + 1) * k + l], x2 = a[(i + 2) * k + l],
                      x3 = a[(i + 3) * k + l];
          const float* row = b + l * n;
#pragma GCC ivdep
          for (std::size_t j = n0; j < n1; ++j) {
            rows[0][j] += x0 * row[j];
            rows[1][j] += x1 * row[j];
            rows[2][j] += x2 * row[j];
            rows[3][j] += x3 * row[j];
          }
        }
      }
      for (; i < m; ++i) {
        for (std::size_t l = k0; l < k1; ++l) {
          for (std::size_t j = n0; j < n1; ++j) c[i * n + j] += a[i * k + l] * b[l * n + j];
        }
      }
    }
  }
}

template <typename T>
T* matrix_of_batch(T* data, const MatrixLayout& layout, std::size_t i) {
  using Byte = std::conditional_t<std::is_const_v<T>, const char, char>;
  return static_cast<Byte*>(data) + i * static_cast<std::size_t>(layout.stride) * layout.element_bytes();
}

float finished(const MatmulProblem& problem, float value, std::size_t matrix, std::size_t row) {
  const MatmulOperation& operation = problem.operation;
  if (problem.reads_bias()) {
    const std::size_t i = matrix * static_cast<std::size_t>(operation.bias_stride) + row;
    value += load(operation.bias, i, problem.bias_type());
  }
  switch (operation.epilogue) {
    case CUBLASLT_EPILOGUE_RELU:
    case CUBLASLT_EPILOGUE_RELU_BIAS:
      return std::max(value, 0.0F);
    case CUBLASLT_EPILOGUE_GELU:
    case CUBLASLT_EPILOGUE_GELU_BIAS:
      return gelu(value);
    default:
      return value;
  }
}

// Row sums of op(A), or column sums of op(B)
void write_bias_gradient(const MatmulProblem& problem, const std::vector<float>& a,
                         const std::vector<float>& b) {
  const std::size_t k = problem.depth(), n = problem.columns();
  const bool of_a = problem.operation.epilogue == CUBLASLT_EPILOGUE_BGRADA;
  for (std::size_t i = 0; i < problem.bias_elements(); ++i) {
    float sum = 0;
    for (std::size_t l = 0; l < k; ++l) sum += of_a ? a[i * k + l] : b[l * n + i];
    store(const_cast<void*>(problem.operation.bias), i, problem.bias_type(), sum);
  }
}

}  // namespace

void multiply_matrices(const MatmulProblem& problem, const MatmulPointers& pointers) {
  const std::size_t m = problem.rows(), n = problem.columns(), k = problem.depth();
  const bool tf32 = problem.operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  for (std::size_t z = 0; z < static_cast<std::size_t>(problem.d.batch); ++z) {
    const std::vector<float> a = dense(matrix_of_batch(pointers.a, problem.a, z), problem.a,
                                       problem.operation.transpose_a != CUBLAS_OP_N, tf32);
    const std::vector<float> b = dense(matrix_of_batch(pointers.b, problem.b, z), problem.b,
                                       problem.operation.transpose_b != CUBLAS_OP_N, tf32);
    std::vector<float> product(m * n);
    multiply_dense(a.data(), b.data(), product.data(), m, n, k);
    const void* c = pointers.c == nullptr ? nullptr : matrix_of_batch(pointers.c, problem.c, z);
    void* d = matrix_of_batch(pointers.d, problem.d, z);
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        float value = pointers.alpha * product[i * n + j];
        if (c != nullptr) value += pointers.beta * load(c, problem.c.index(i, j), problem.c.type);
        store(d, problem.d.index(i, j), problem.d.type, finished(problem, value, z, i));
      }
    }
    if (problem.writes_bias()) write_bias_gradient(problem, a, b);
  }
}

}  // namespace chorus::cuda_emulation
