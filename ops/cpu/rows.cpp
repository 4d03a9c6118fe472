#include <algorithm>
#include <cstring>

#include "ops/cpu/cpu_backend.h"
#include "ops/cpu/parallel_for.h"
#include "ops/cpu/visit_float.h"

namespace chorus {

namespace {

void require_rows(const std::int32_t* rows, std::int64_t count, std::int64_t limit, const char* name) {
  for (std::int64_t i = 0; i < count; ++i) {
    require(rows[i] >= 0 && rows[i] < limit, name, ": index ", i, " is row ", rows[i], " of ", limit);
  }
}

}  // namespace

void CpuBackend::gather_rows(Tensor out, ConstTensor x, ConstTensor rows) {
  const std::int32_t* row = rows.data<std::int32_t>();
  require_rows(row, rows.dim(0), x.dim(0), "gather_rows");
  const std::int64_t width = x.dim(1);
  const std::int64_t bytes = width * bytes_per_element(x.dtype());
  const char* from = static_cast<const char*>(x.address());
  char* to = static_cast<char*>(out.address());
  parallel_chunks(threads_, rows.dim(0), rows_per_chunk(width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::memcpy(to + i * bytes, from + row[i] * bytes, static_cast<std::size_t>(bytes));
    }
  });
}

void CpuBackend::scatter_rows(Tensor out, ConstTensor x, ConstTensor rows) {
  const std::int32_t* row = rows.data<std::int32_t>();
  require_rows(row, rows.dim(0), out.dim(0), "scatter_rows");
  const std::int64_t width = x.dim(1);
  const std::int64_t bytes = width * bytes_per_element(x.dtype());
  const char* from = static_cast<const char*>(x.address());
  char* to = static_cast<char*>(out.address());
  parallel_chunks(threads_, rows.dim(0), rows_per_chunk(width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::memcpy(to + row[i] * bytes, from + i * bytes, static_cast<std::size_t>(bytes));
    }
  });
}

void CpuBackend::embed(Tensor out, ConstTensor table, ConstTensor tokens, std::int64_t first) {
  const std::int32_t* token = tokens.data<std::int32_t>();
  const std::int64_t width = table.dim(1), held = table.dim(0);
  const std::int64_t bytes = width * bytes_per_element(table.dtype());
  const char* from = static_cast<const char*>(table.address());
  char* to = static_cast<char*>(out.address());
  parallel_chunks(threads_, tokens.dim(0), rows_per_chunk(width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      const std::int64_t row = token[n] - first;
      if (row >= 0 && row < held) {
        std::memcpy(to + n * bytes, from + row * bytes, static_cast<std::size_t>(bytes));
      } else {
        std::memset(to + n * bytes, 0, static_cast<std::size_t>(bytes));
      }
    }
  });
}

// A token may occur many times: each thread owns some columns and walks over all tokens, so that the
// additions to one element come in the order of the tokens.
void CpuBackend::embed_backward(Tensor dtable, ConstTensor dout, ConstTensor tokens, std::int64_t first) {
  constexpr std::int64_t columns = 256;
  const std::int32_t* token = tokens.data<std::int32_t>();
  const std::int64_t count = tokens.dim(0), width = dtable.dim(1), held = dtable.dim(0);
  float* to = dtable.data<float>();
  visit_float(dout.dtype(), [&]<typename T>(T) {
    const T* from = dout.data<T>();
    parallel_chunks(threads_, width, columns, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = 0; n < count; ++n) {
        const std::int64_t row = token[n] - first;
        if (row < 0 || row >= held) continue;
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i)
          to[row * width + i] += static_cast<float>(from[n * width + i]);
      }
    });
  });
}

}  // namespace chorus
