// cuBLASLt: handles, descriptors and their attributes.

#include <cstring>

#include "tests/cuda_emulation/cublaslt.h"
#include "tests/cuda_emulation/entry_points.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/runtime.h"

struct cublasLtContext {
  int device;
};

namespace chorus::cuda_emulation {

void report_dead_descriptor(const char* name) {
  report(Location::current(), "cuBLASLt gets a {} that was destroyed or never created", name);
}

cublasStatus_t refuse(cublasStatus_t status, const char* why) {
  explain(fmt::format("cuBLASLt refuses: {}", why));
  return status;
}

namespace {

template <typename Structure, typename Opaque, typename... Values>
cublasStatus_t create(Opaque** opaque, const Structure& value) {
  *opaque = new Opaque{};
  std::memcpy(static_cast<void*>(*opaque), &value, sizeof value);
  ++live().descriptors;
  return CUBLAS_STATUS_SUCCESS;
}

template <typename Structure, typename Opaque>
cublasStatus_t destroy(Opaque* opaque) {
  if (opaque == nullptr) return CUBLAS_STATUS_SUCCESS;
  inside<Structure>(opaque).marked = 0;
  delete opaque;
  --live().descriptors;
  return CUBLAS_STATUS_SUCCESS;
}

// An attribute of the type `Given` in the interface, kept in a member that may be narrower.
template <typename Given, typename Member>
cublasStatus_t assign_as(Member& member, const void* value, std::size_t bytes) {
  if (bytes != sizeof(Given)) return refuse(CUBLAS_STATUS_INVALID_VALUE, "an attribute of the wrong size");
  Given given;
  std::memcpy(&given, value, sizeof given);
  member = static_cast<Member>(given);
  return CUBLAS_STATUS_SUCCESS;
}
template <typename Member>
cublasStatus_t assign(Member& member, const void* value, std::size_t bytes) {
  return assign_as<Member>(member, value, bytes);
}

cublasStatus_t set(MatrixLayout& layout, cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                   std::size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return assign_as<std::int32_t>(layout.order, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return assign_as<std::uint32_t>(layout.type, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return assign(layout.rows, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return assign(layout.columns, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return assign(layout.leading, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return assign(layout.batch, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return assign(layout.stride, value, bytes);
    default:
      return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "this attribute of layouts is not emulated");
  }
}

cublasStatus_t set(MatmulOperation& operation, cublasLtMatmulDescAttributes_t attribute, const void* value,
                   std::size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
      return assign(operation.compute, value, bytes);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
      return assign(operation.scale, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return assign(operation.transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return assign(operation.transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return assign(operation.pointer_mode, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return assign(operation.epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return assign(operation.bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return assign(operation.bias_type, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE:
      return assign(operation.bias_stride, value, bytes);
    case CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET:
      return assign(operation.multiprocessors, value, bytes);
    default:
      return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "this attribute of products is not emulated");
  }
}

cublasStatus_t set(MatmulPreference& preference, cublasLtMatmulPreferenceAttributes_t attribute,
                   const void* value, std::size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return assign(preference.workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return assign(preference.reduction_schemes, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return assign(preference.alignment[0], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return assign(preference.alignment[1], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return assign(preference.alignment[2], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return assign(preference.alignment[3], value, bytes);
    default:
      return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "this preference is not emulated");
  }
}

}  // namespace
}  // namespace chorus::cuda_emulation

using namespace chorus::cuda_emulation;

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return entry<cublasStatus_t>(__func__, [&] {
    if (!settings().driver || settings().devices.empty()) return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = new cublasLtContext{current_device()};
    ++live().cublas_handles;
    return CUBLAS_STATUS_SUCCESS;
  });
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return entry<cublasStatus_t>(__func__, [&] {
    if (handle == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
    delete handle;
    --live().cublas_handles;
    return CUBLAS_STATUS_SUCCESS;
  });
}

std::size_t cublasLtGetVersion() { return CUBLAS_VERSION; }

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "a status that the emulation has no name for";
  }
}
const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          std::uint64_t rows, std::uint64_t columns, std::int64_t leading) {
  return entry<cublasStatus_t>(__func__, [&] {
    MatrixLayout value;
    value.rows = rows;
    value.columns = columns;
    value.leading = leading;
    value.type = static_cast<std::int16_t>(type);
    return create(layout, value);
  });
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return entry<cublasStatus_t>(__func__, [&] { return destroy<MatrixLayout>(layout); });
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                std::size_t bytes) {
  return entry<cublasStatus_t>(__func__,
                               [&] { return set(inside<MatrixLayout>(layout), attribute, value, bytes); });
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  return entry<cublasStatus_t>(__func__, [&] {
    MatmulOperation value;
    value.compute = compute;
    value.scale = scale;
    return create(operation, value);
  });
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  return entry<cublasStatus_t>(__func__, [&] { return destroy<MatmulOperation>(operation); });
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              std::size_t bytes) {
  return entry<cublasStatus_t>(
      __func__, [&] { return set(inside<MatmulOperation>(operation), attribute, value, bytes); });
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return entry<cublasStatus_t>(__func__, [&] { return create(preference, MatmulPreference{}); });
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return entry<cublasStatus_t>(__func__, [&] { return destroy<MatmulPreference>(preference); });
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, std::size_t bytes) {
  return entry<cublasStatus_t>(
      __func__, [&] { return set(inside<MatmulPreference>(preference), attribute, value, bytes); });
}
}
