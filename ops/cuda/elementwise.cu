#include <array>

#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/launch.cuh"
#include "ops/cuda/visit_float.cuh"

namespace chorus {

namespace cuda {

template <typename To, typename From, int width>
__global__ void __launch_bounds__(threads_per_block)
    convert_kernel(To* out, const From* x, std::int64_t count) {
  for_each_pack<width>(count, [&]<int n>(Width<n>, std::int64_t i) {
    float value[n];
    load_floats(value, x + i);
    store_floats(out + i, value);
  });
}

// Word has the size of the elements, and their bits.
template <typename Word, int width>
__global__ void __launch_bounds__(threads_per_block) fill_kernel(Word* out, Word word, std::int64_t count) {
  for_each_pack<width>(count, [&]<int n>(Width<n>, std::int64_t i) {
    if constexpr (n == 1) {
      out[i] = word;
    } else {
      std::array<Word, n> words;
#pragma unroll
      for (Word& each : words) each = word;
      store_vector(out + i, words);
    }
  });
}

template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    add_kernel(T* out, const T* a, const T* b, std::int64_t count) {
  for_each_pack<width>(count, [&]<int n>(Width<n>, std::int64_t i) {
    float x[n], y[n];
    load_floats(x, a + i);
    load_floats(y, b + i);
#pragma unroll
    for (int k = 0; k < n; ++k) x[k] += y[k];
    store_floats(out + i, x);
  });
}

// Comparisons are such that NaN passes through.
template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block) relu_kernel(T* out, const T* x, std::int64_t count) {
  for_each_pack<width>(count, [&]<int n>(Width<n>, std::int64_t i) {
    float value[n];
    load_floats(value, x + i);
#pragma unroll
    for (int k = 0; k < n; ++k) value[k] = value[k] < 0 ? 0.0F : value[k];
    store_floats(out + i, value);
  });
}

template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    relu_backward_kernel(T* dx, const T* dout, const T* x, std::int64_t count) {
  for_each_pack<width>(count, [&]<int n>(Width<n>, std::int64_t i) {
    float d[n], value[n];
    load_floats(d, dout + i);
    load_floats(value, x + i);
#pragma unroll
    for (int k = 0; k < n; ++k) d[k] = value[k] <= 0 ? 0.0F : d[k];
    store_floats(dx + i, d);
  });
}

// One draw decides on eight features, of which some of a row's first and last may lie outside it.
// width 8: every row is made of whole blocks, which move at once. width 1: feature by feature.
template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    dropout_kernel(T* out, const T* x, const std::int64_t* token_ids, std::int64_t rows, std::int64_t columns,
                   DropoutMask mask) {
  constexpr int drawn = DropoutMask::features_per_draw;
  const std::int64_t before =
      mask.first_feature % drawn;  // features of the first block that another rank holds
  const std::int64_t blocks_of_row = (before + columns + drawn - 1) / drawn;
  const std::uint32_t threshold = mask.threshold();
  const float scale = mask.scale();
  for_each_pack<1>(rows * blocks_of_row, [&]<int n>(Width<n>, std::int64_t block) {
    const std::int64_t row = block / blocks_of_row, first = block % blocks_of_row * drawn - before;
    const Philox::Counter words = mask.words(token_ids[row], (mask.first_feature + first) / drawn);
    const auto drop = [&](float value, int i) {
      return DropoutMask::bits(words, i) >= threshold ? value * scale : 0.0F;
    };
    if constexpr (width == drawn) {
      float value[drawn];
      load_floats(value, x + row * columns + first);
#pragma unroll
      for (int k = 0; k < drawn; ++k) value[k] = drop(value[k], k);
      store_floats(out + row * columns + first, value);
    } else {
#pragma unroll
      for (int k = 0; k < drawn; ++k) {
        if (first + k < 0 || first + k >= columns) continue;
        const std::int64_t i = row * columns + first + k;
        out[i] = static_cast<T>(drop(static_cast<float>(x[i]), k));
      }
    }
  });
}

}  // namespace cuda

void CudaBackend::convert(Tensor out, ConstTensor x) {
  if (x.empty()) return;
  if (out.dtype() == x.dtype()) {
    return cuda::check(cudaMemcpyAsync(out.address(), x.address(), static_cast<std::size_t>(x.bytes()),
                                       cudaMemcpyDeviceToDevice, stream()),
                       "cudaMemcpyAsync");
  }
  cuda::visit_float(out.dtype(), [&]<typename To>(To) {
    cuda::visit_float(x.dtype(), [&]<typename From>(From) {
      if constexpr (!std::is_same_v<To, From>) {
        using Narrow = std::conditional_t<sizeof(To) < sizeof(From), To, From>;
        cuda::visit_width<Narrow>(0, {out.address(), x.address()}, [&]<int width>(cuda::Width<width>) {
          cuda::launch(cuda::convert_kernel<To, From, width>,
                       cuda::blocks_for(cuda::divide_up(x.elements(), width)), cuda::threads_per_block, 0,
                       stream(), cuda::elements<To>(out), cuda::elements<From>(x), x.elements());
        });
      }
    });
  });
}

void CudaBackend::fill(Tensor out, double value) {
  const auto fill_with = [&]<typename Word>(Word word) {
    cuda::visit_width<Word>(0, {out.address()}, [&]<int width>(cuda::Width<width>) {
      cuda::launch(cuda::fill_kernel<Word, width>, cuda::blocks_for(cuda::divide_up(out.elements(), width)),
                   cuda::threads_per_block, 0, stream(), static_cast<Word*>(out.address()), word,
                   out.elements());
    });
  };
  if (out.dtype() == DType::i32) return fill_with(static_cast<std::int32_t>(value));
  if (out.dtype() == DType::i64) return fill_with(static_cast<std::int64_t>(value));
  if (out.dtype() == DType::bf16) return fill_with(bfloat16(value).bits);
  cuda::visit_float(out.dtype(), [&]<typename T>(T) { fill_with(static_cast<float>(value)); });
}

void CudaBackend::add(Tensor out, ConstTensor a, ConstTensor b) {
  cuda::visit_float(out.dtype(), [&]<typename T>(T) {
    cuda::visit_width<T>(0, {out.address(), a.address(), b.address()}, [&]<int width>(cuda::Width<width>) {
      cuda::launch(cuda::add_kernel<T, width>, cuda::blocks_for(cuda::divide_up(out.elements(), width)),
                   cuda::threads_per_block, 0, stream(), cuda::elements<T>(out), cuda::elements<T>(a),
                   cuda::elements<T>(b), out.elements());
    });
  });
}

void CudaBackend::relu(Tensor out, ConstTensor x) {
  if (x.empty()) return;
  cuda::visit_float(out.dtype(), [&]<typename T>(T) {
    cuda::visit_width<T>(0, {out.address(), x.address()}, [&]<int width>(cuda::Width<width>) {
      cuda::launch(cuda::relu_kernel<T, width>, cuda::blocks_for(cuda::divide_up(out.elements(), width)),
                   cuda::threads_per_block, 0, stream(), cuda::elements<T>(out), cuda::elements<T>(x),
                   out.elements());
    });
  });
}

void CudaBackend::relu_backward(Tensor dx, ConstTensor dout, ConstTensor x) {
  if (x.empty()) return;
  cuda::visit_float(dx.dtype(), [&]<typename T>(T) {
    cuda::visit_width<T>(0, {dx.address(), dout.address(), x.address()}, [&]<int width>(cuda::Width<width>) {
      cuda::launch(cuda::relu_backward_kernel<T, width>,
                   cuda::blocks_for(cuda::divide_up(dx.elements(), width)), cuda::threads_per_block, 0,
                   stream(), cuda::elements<T>(dx), cuda::elements<T>(dout), cuda::elements<T>(x),
                   dx.elements());
    });
  });
}

void CudaBackend::dropout(Tensor out, ConstTensor x, ConstTensor token_ids, const DropoutMask& mask) {
  if (mask.threshold() == 0) {
    if (out.address() != x.address()) convert(out, x);
    return;
  }
  constexpr int drawn = DropoutMask::features_per_draw;
  const std::int64_t rows = x.dim(0), columns = x.dim(1), before = mask.first_feature % drawn;
  if (x.empty()) return;
  cuda::visit_float(out.dtype(), [&]<typename T>(T) {
    const auto run = [&]<int width>(cuda::Width<width>) {
      cuda::launch(cuda::dropout_kernel<T, width>,
                   cuda::blocks_for(rows * cuda::divide_up(before + columns, drawn)), cuda::threads_per_block,
                   0, stream(), cuda::elements<T>(out), cuda::elements<T>(x), token_ids.data<std::int64_t>(),
                   rows, columns, mask);
    };
    const auto aligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
    const bool whole = before == 0 && columns % drawn == 0 && aligned(out.address()) && aligned(x.address());
    whole ? run(cuda::Width<drawn>{}) : run(cuda::Width<1>{});
  });
}

}  // namespace chorus
