// The emulated cuBLASLt against plain loops.

#include <cmath>
#include <memory>
#include <random>

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "tests/cuda_emulation/device_test.h"
#include "tests/cuda_emulation/shadow.h"

namespace chorus::cuda_emulation {
namespace {

struct Case {
  cudaDataType_t input, output;
  bool transpose_a, transpose_b;
};

float rounded(float x, cudaDataType_t type) {
  if (type == CUDA_R_16BF) return __bfloat162float(__float2bfloat16_rn(x));
  if (type == CUDA_R_16F) return __half2float(__float2half_rn(x));
  return x;
}
std::size_t bytes_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }

std::vector<char> packed(const std::vector<float>& values, cudaDataType_t type) {
  std::vector<char> result(values.size() * bytes_of(type));
  for (std::size_t i = 0; i < values.size(); ++i) {
    char* to = result.data() + i * bytes_of(type);
    if (type == CUDA_R_16BF) {
      const __nv_bfloat16 x = __float2bfloat16_rn(values[i]);
      std::memcpy(to, &x, sizeof x);
    } else if (type == CUDA_R_16F) {
      const __half x = __float2half_rn(values[i]);
      std::memcpy(to, &x, sizeof x);
    } else {
      std::memcpy(to, &values[i], 4);
    }
  }
  return result;
}
std::vector<float> unpacked(const std::vector<char>& bytes, cudaDataType_t type) {
  std::vector<float> result(bytes.size() / bytes_of(type));
  for (std::size_t i = 0; i < result.size(); ++i) {
    const char* from = bytes.data() + i * bytes_of(type);
    if (type == CUDA_R_16BF) {
      __nv_bfloat16 x;
      std::memcpy(&x, from, sizeof x);
      result[i] = __bfloat162float(x);
    } else if (type == CUDA_R_16F) {
      __half x;
      std::memcpy(&x, from, sizeof x);
      result[i] = __half2float(x);
    } else {
      std::memcpy(&result[i], from, 4);
    }
  }
  return result;
}

// One product with all that the library wants for it.
class CublasLtTest : public DeviceTest {
 protected:
  CublasLtTest() {
    EXPECT_EQ(cublasLtCreate(&library_), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatmulDescCreate(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatmulPreferenceCreate(&preference_), CUBLAS_STATUS_SUCCESS);
  }
  ~CublasLtTest() override {
    for (const auto layout : layouts_) EXPECT_EQ(cublasLtMatrixLayoutDestroy(layout), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatmulPreferenceDestroy(preference_), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatmulDescDestroy(operation_), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtDestroy(library_), CUBLAS_STATUS_SUCCESS);
  }

  cublasLtMatrixLayout_t layout(cudaDataType_t type, std::uint64_t rows, std::uint64_t columns,
                                std::int64_t leading) {
    cublasLtMatrixLayout_t result = nullptr;
    EXPECT_EQ(cublasLtMatrixLayoutCreate(&result, type, rows, columns, leading), CUBLAS_STATUS_SUCCESS);
    layouts_.push_back(result);
    return result;
  }
  void set(cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    EXPECT_EQ(cublasLtMatmulDescSetAttribute(operation_, attribute, &value, sizeof value),
              CUBLAS_STATUS_SUCCESS);
  }
  void set(cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    EXPECT_EQ(cublasLtMatmulPreferenceSetAttribute(preference_, attribute, &value, sizeof value),
              CUBLAS_STATUS_SUCCESS);
  }
  cublasStatus_t multiply(float alpha, const void* a, cublasLtMatrixLayout_t la, const void* b,
                          cublasLtMatrixLayout_t lb, float beta, void* d, cublasLtMatrixLayout_t ld,
                          const cublasLtMatmulAlgo_t* algorithm = nullptr, void* workspace = nullptr,
                          std::size_t workspace_bytes = 0) {
    return cublasLtMatmul(library_, operation_, &alpha, a, la, b, lb, &beta, d, ld, d, ld, algorithm,
                          workspace, workspace_bytes, stream());
  }
  cublasLtMatmulHeuristicResult_t heuristic(cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                            cublasLtMatrixLayout_t d) {
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    EXPECT_EQ(
        cublasLtMatmulAlgoGetHeuristic(library_, operation_, a, b, d, d, preference_, 1, &result, &found),
        CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(found, 1);
    return result;
  }
  std::vector<float> random(std::size_t count) {
    std::vector<float> values(count);
    for (float& x : values) x = std::uniform_real_distribution<float>(-1, 1)(generator_);
    return values;
  }

 private:
  std::mt19937 generator_{5};
  cublasLtHandle_t library_ = nullptr;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatmulPreference_t preference_ = nullptr;
  std::vector<cublasLtMatrixLayout_t> layouts_;
};

class CublasLtProductTest : public CublasLtTest, public testing::WithParamInterface<Case> {};

TEST_P(CublasLtProductTest, EqualsPlainLoops) {
  const auto [input, output, ta, tb] = GetParam();
  constexpr std::size_t m = 7, n = 9, k = 13, batch = 2;
  const std::size_t a_rows = ta ? k : m, a_columns = ta ? m : k, b_rows = tb ? n : k, b_columns = tb ? k : n;
  const std::size_t lda = a_rows + 2, ldb = b_rows + 1, ldd = m + 3;  // gaps between columns
  const std::size_t a_stride = lda * a_columns, b_stride = ldb * b_columns, d_stride = ldd * n + 5;
  const std::vector<float> a = random(a_stride * batch), b = random(b_stride * batch),
                           d = random(d_stride * batch);
  const auto batched = [&](cublasLtMatrixLayout_t layout, std::size_t stride) {
    const std::int32_t count = batch;
    const auto offset = static_cast<std::int64_t>(stride);
    EXPECT_EQ(
        cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
        CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &offset,
                                               sizeof offset),
              CUBLAS_STATUS_SUCCESS);
    return layout;
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, ta ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(CUBLASLT_MATMUL_DESC_TRANSB, tb ? CUBLAS_OP_T : CUBLAS_OP_N);
  const auto la = batched(layout(input, a_rows, a_columns, static_cast<std::int64_t>(lda)), a_stride);
  const auto lb = batched(layout(input, b_rows, b_columns, static_cast<std::int64_t>(ldb)), b_stride);
  const auto ld = batched(layout(output, m, n, static_cast<std::int64_t>(ldd)), d_stride);
  char *da = upload(packed(a, input)), *db = upload(packed(b, input)), *dd = upload(packed(d, output));
  ASSERT_EQ(multiply(0.5F, da, la, db, lb, 2, dd, ld), CUBLAS_STATUS_SUCCESS);
  const std::vector<float> result = unpacked(download(dd, d.size() * bytes_of(output)), output);
  const double tolerance = output == CUDA_R_32F ? 1e-5 : output == CUDA_R_16F ? 4e-3 : 3e-2;
  for (std::size_t z = 0; z < batch; ++z) {
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        double expected = 2.0 * rounded(d[z * d_stride + j * ldd + i], output);
        for (std::size_t l = 0; l < k; ++l) {
          const float x = a[z * a_stride + (ta ? i * lda + l : l * lda + i)];
          const float y = b[z * b_stride + (tb ? l * ldb + j : j * ldb + l)];
          expected += 0.5 * rounded(x, input) * rounded(y, input);
        }
        EXPECT_NEAR(result[z * d_stride + j * ldd + i], expected, tolerance) << i << " " << j;
      }
    }
  }
  EXPECT_EQ(result[m], rounded(d[m], output)) << "between columns nothing is written";
}

std::vector<Case> cases() {
  std::vector<Case> result;
  for (const auto& [input, output] : {std::pair{CUDA_R_32F, CUDA_R_32F}, std::pair{CUDA_R_16BF, CUDA_R_16BF},
                                      std::pair{CUDA_R_16BF, CUDA_R_32F}, std::pair{CUDA_R_16F, CUDA_R_16F},
                                      std::pair{CUDA_R_16F, CUDA_R_32F}}) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) result.push_back({input, output, ta, tb});
    }
  }
  return result;
}
INSTANTIATE_TEST_SUITE_P(All, CublasLtProductTest, testing::ValuesIn(cases()));

TEST_F(CublasLtTest, ShapesAndTypesMustFit) {
  float* x = upload(counted(64));
  const auto square = layout(CUDA_R_32F, 4, 4, 4), narrow = layout(CUDA_R_32F, 4, 4, 3),
             wide = layout(CUDA_R_32F, 4, 5, 4), bf16 = layout(CUDA_R_16BF, 4, 4, 4);
  EXPECT_EQ(multiply(1, x, square, x + 16, square, 0, x + 32, square), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(1, x, narrow, x + 16, square, 0, x + 32, square), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(multiply(1, x, wide, x + 16, square, 0, x + 32, square), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(multiply(1, x, square, x + 16, square, 0, x + 32, bf16), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(multiply(1, x, bf16, x + 16, square, 0, x + 32, square), CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(CublasLtTest, AlignmentIsAPromise) {
  float* x = upload(counted(128));
  const auto square = layout(CUDA_R_32F, 4, 4, 4);
  const auto strict = heuristic(square, square, square);  // the default promise is 256 bytes
  EXPECT_EXIT((void)multiply(1, x, square, x + 16, square, 0, x + 64, square, &strict.algo), finds_fault(),
              "B at .* is not aligned to the 256 bytes that the heuristic was promised");
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, std::uint32_t{64});
  const auto modest = heuristic(square, square, square);
  EXPECT_EQ(multiply(1, x, square, x + 16, square, 0, x + 64, square, &modest.algo), CUBLAS_STATUS_SUCCESS);
}

TEST_F(CublasLtTest, TheWorkspaceIsUsedUp) {
  float* x = upload(counted(192));
  float* workspace = upload(counted(64));
  const auto square = layout(CUDA_R_32F, 4, 4, 4);
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{256});
  const auto best = heuristic(square, square, square);
  EXPECT_EQ(best.workspaceSize, 256U);
  EXPECT_EQ(multiply(1, x, square, x + 64, square, 0, x + 128, square, &best.algo, workspace, 255),
            CUBLAS_STATUS_INVALID_VALUE);
  ASSERT_EQ(multiply(1, x, square, x + 64, square, 0, x + 128, square, &best.algo, workspace, 256),
            CUBLAS_STATUS_SUCCESS);
  if (checked) {
    EXPECT_EXIT(download(workspace, 1), finds_fault(), "uninitialised");
  } else {
    EXPECT_TRUE(std::isnan(download(workspace, 1)[0]));
  }
}

TEST_F(CublasLtTest, MatricesMustLieInMemory) {
  float* x = upload(counted(40));
  const auto square = layout(CUDA_R_32F, 4, 4, 4);
  EXPECT_EXIT(
      {
        (void)multiply(1, x + 32, square, x, square, 0, x + 16, square);
        (void)synchronize();
      },
      finds_fault(),
      "cublasLtMatmul, A: read of 64 bytes at offset 128 of allocation #[0-9]+, which has 160 bytes");
}

TEST_F(CublasLtTest, InputsMustHaveBeenWritten) {
  if (!checked) GTEST_SKIP() << "only the checked build sees it";
  float *x = upload(counted(32)), *y = allocate<float>(16);
  const auto square = layout(CUDA_R_32F, 4, 4, 4);
  EXPECT_EXIT(
      {
        (void)multiply(1, x, square, y, square, 0, x + 16, square);
        (void)synchronize();
      },
      finds_fault(), "reads uninitialised memory: matrix 0 of B, column 0, element 0");
}

TEST_F(CublasLtTest, DeadDescriptorsAreNamed) {
  float* x = upload(counted(48));
  cublasLtMatrixLayout_t dead = nullptr;
  ASSERT_EQ(cublasLtMatrixLayoutCreate(&dead, CUDA_R_32F, 4, 4, 4), CUBLAS_STATUS_SUCCESS);
  std::vector<char> bytes(sizeof *dead);
  EXPECT_EXIT(
      (void)multiply(1, x, reinterpret_cast<cublasLtMatrixLayout_t>(bytes.data()), x, dead, 0, x, dead),
      finds_fault(), "matrix layout that was destroyed or never created");
  EXPECT_EQ(cublasLtMatrixLayoutDestroy(dead), CUBLAS_STATUS_SUCCESS);
}

TEST_F(CublasLtTest, CallsFailOnDemand) {
  float* x = upload(counted(48));
  const auto square = layout(CUDA_R_32F, 4, 4, 4);
  fail_next("cublasLtMatmul", 1, CUBLAS_STATUS_EXECUTION_FAILED);
  EXPECT_EQ(multiply(1, x, square, x + 16, square, 0, x + 32, square), CUBLAS_STATUS_EXECUTION_FAILED);
  EXPECT_EQ(multiply(1, x, square, x + 16, square, 0, x + 32, square), CUBLAS_STATUS_SUCCESS);
}

}  // namespace
}  // namespace chorus::cuda_emulation
