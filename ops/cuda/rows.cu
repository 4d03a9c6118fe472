#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/launch.cuh"
#include "ops/cuda/visit_float.cuh"

namespace chorus {

namespace cuda {

template <typename Word>
__device__ __forceinline__ void copy_word(Word* to, const Word* from) {
  if constexpr (sizeof(Word) == 16) {
    store_vector(to, load_vector<Word>(from));
  } else {
    *to = *from;
  }
}
// Every byte of *to becomes `byte`.
template <typename Word>
__device__ __forceinline__ void set_word(Word* to, unsigned char byte) {
  Word word;
  memset(static_cast<void*>(&word), byte, sizeof word);
  copy_word(to, &word);
}

// out[i] = table[indices[i] - first], or all bytes `otherwise` where the table ends before.
template <typename Word>
__global__ void __launch_bounds__(threads_per_block)
    take_rows_kernel(Word* out, const Word* table, const std::int32_t* indices, std::int64_t first,
                     std::int64_t held, std::int64_t words, unsigned char otherwise) {
  const std::int64_t row = indices[blockIdx.x] - first;
  Word* to = out + static_cast<std::int64_t>(blockIdx.x) * words;
  if (row >= 0 && row < held) {
    for_each_in_row<1>(words, [&](std::int64_t i) { copy_word(to + i, table + row * words + i); });
  } else {
    for_each_in_row<1>(words, [&](std::int64_t i) { set_word(to + i, otherwise); });
  }
}

template <typename Word>
__global__ void __launch_bounds__(threads_per_block)
    scatter_rows_kernel(Word* out, const Word* x, const std::int32_t* indices, std::int64_t rows,
                        std::int64_t words) {
  const std::int64_t row = indices[blockIdx.x];
  if (row < 0 || row >= rows) return;
  const Word* from = x + static_cast<std::int64_t>(blockIdx.x) * words;
  for_each_in_row<1>(words, [&](std::int64_t i) { copy_word(out + row * words + i, from + i); });
}

// Calls f with a word that rows at `a` and `b` can be copied in, and their number in a row.
template <typename F>
void visit_words(const ConstTensor& a, const ConstTensor& b, F&& f) {
  const std::int64_t columns = a.dim(1);
  visit_float(a.dtype(), [&]<typename T>(T) {
    visit_width<T>(columns, {a.address(), b.address()}, [&]<int width>(Width<width>) {
      using Word = std::conditional_t<width == 1, T, uint4>;
      f(Word{}, columns / width);
    });
  });
}

struct MatchMemory {
  unsigned matches[threads_per_block / 32];
};

// The block of a token's first occurrence adds all of them, in their order: no other block touches that row.
template <typename T, int width>
__global__ void __launch_bounds__(threads_per_block)
    embed_backward_kernel(float* dtable, const T* dout, const std::int32_t* tokens, std::int64_t count,
                          std::int64_t columns, std::int64_t first, std::int64_t held) {
  unsigned* matches = shared_memory<MatchMemory>().matches;
  const std::int64_t n = blockIdx.x;
  const std::int32_t token = tokens[n];
  const std::int64_t row = token - first;
  if (row < 0 || row >= held) return;
  int earlier = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) earlier |= tokens[i] == token ? 1 : 0;
  if (__syncthreads_or(earlier) != 0) return;

  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (std::int64_t begin = n; begin < count; begin += blockDim.x) {
    const std::int64_t i = begin + threadIdx.x;
    const unsigned found = __ballot_sync(full_warp, i < count && tokens[i] == token ? 1 : 0);
    __syncthreads();  // the matches before these have been read
    if (lane == 0) matches[warp] = found;
    __syncthreads();
    for (unsigned w = 0; w < blockDim.x / 32; ++w) {
      for (unsigned left = matches[w]; left != 0; left &= left - 1) {
        const std::int64_t match = begin + w * 32 + __ffs(static_cast<int>(left)) - 1;
        for_each_in_row<width>(columns, [&](std::int64_t c) {
          float sum[width], term[width];
          load_floats(sum, dtable + row * columns + c);
          load_floats(term, dout + match * columns + c);
#pragma unroll
          for (int k = 0; k < width; ++k) sum[k] += term[k];
          store_floats(dtable + row * columns + c, sum);
        });
      }
    }
  }
}

}  // namespace cuda

// A kernel cannot throw: what an index outside the tensor should have fetched is NaN.
void CudaBackend::gather_rows(Tensor out, ConstTensor x, ConstTensor rows) {
  constexpr unsigned char nan = 0xff;
  cuda::visit_words(x, out, [&]<typename Word>(Word, std::int64_t words) {
    cuda::launch(cuda::take_rows_kernel<Word>, cuda::blocks(rows.dim(0)), cuda::threads_for(words), 0,
                 stream(), static_cast<Word*>(out.address()), static_cast<const Word*>(x.address()),
                 rows.data<std::int32_t>(), 0, x.dim(0), words, nan);
  });
}

void CudaBackend::scatter_rows(Tensor out, ConstTensor x, ConstTensor rows) {
  cuda::visit_words(x, out, [&]<typename Word>(Word, std::int64_t words) {
    cuda::launch(cuda::scatter_rows_kernel<Word>, cuda::blocks(rows.dim(0)), cuda::threads_for(words), 0,
                 stream(), static_cast<Word*>(out.address()), static_cast<const Word*>(x.address()),
                 rows.data<std::int32_t>(), out.dim(0), words);
  });
}

void CudaBackend::embed(Tensor out, ConstTensor table, ConstTensor tokens, std::int64_t first) {
  constexpr unsigned char zero = 0;
  cuda::visit_words(table, out, [&]<typename Word>(Word, std::int64_t words) {
    cuda::launch(cuda::take_rows_kernel<Word>, cuda::blocks(tokens.dim(0)), cuda::threads_for(words), 0,
                 stream(), static_cast<Word*>(out.address()), static_cast<const Word*>(table.address()),
                 tokens.data<std::int32_t>(), first, table.dim(0), words, zero);
  });
}

void CudaBackend::embed_backward(Tensor dtable, ConstTensor dout, ConstTensor tokens, std::int64_t first) {
  cuda::visit_float(dout.dtype(), [&]<typename T>(T) {
    const std::int64_t columns = dout.dim(1);
    cuda::visit_width<T>(columns, {dtable.address(), dout.address()}, [&]<int width>(cuda::Width<width>) {
      cuda::launch(cuda::embed_backward_kernel<T, width>, cuda::blocks(tokens.dim(0)),
                   cuda::threads_per_block, sizeof(cuda::MatchMemory), stream(), dtable.data<float>(),
                   cuda::elements<T>(dout), tokens.data<std::int32_t>(), tokens.dim(0), columns, first,
                   dtable.dim(0));
    });
  });
}

}  // namespace chorus
