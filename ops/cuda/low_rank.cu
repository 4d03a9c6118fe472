#include <algorithm>

#include "ops/cuda/launch.cuh"
#include "ops/cuda/low_rank.h"
#include "ops/cuda/tensor_core.cuh"
#include "ops/cuda/visit_float.cuh"

// The time goes to a matrix as wide as the model, so it is read once for all paths, each thread moves 16 bytes (or 8) at
// once, and the next of them are under way while it computes. The matrix never goes through shared memory: the order of an inner
// dimension is free where both operands of mma have the same, and so is which feature is which column; both are chosen such
// that what a lane loads is what it multiplies, and that its features are those of one draw of a mask.

namespace chorus::cuda {

namespace {

constexpr int most_paths = 3;
constexpr int deepest = 32;  // rank at most
constexpr int drawn = DropoutMask::features_per_draw;
constexpr std::int64_t many_tiles = 256;  // of 32 features: twice what a large GPU has multiprocessors

}  // namespace

struct LowRankPath {
  const __nv_bfloat16* a;   // [rank, columns] or, by feature, [columns, rank]
  const __nv_bfloat16* du;  // [rows, rank]
  __nv_bfloat16* u;         // [rows, rank]
  float* da;                // as a
  int rank;                 // even
  bool wide;                // rows of `rank` elements can be read in words as long as the kernel's
  // Of the path's mask; the rest of it is the group's.
  std::uint32_t stream;
  std::uint32_t threshold;  // in the upper 16 bits; 0: nothing is dropped
  float scale;
};

struct LowRankGroup {
  __nv_bfloat16* x;               // or dx [rows, columns]
  const std::int64_t* token_ids;  // [rows]; null where no mask drops anything
  int rows, columns;              // columns: a multiple of 8
  // Of the masks, which are of one seed, step and slice.
  Philox::Schedule keys;  // of the seed: as arguments they cost no registers
  std::uint32_t step;
  std::uint32_t first_draw;  // which decides on the first feature
  LowRankPath path[most_paths];
};

// Neighbours in a row, two bf16 a word: 8 elements, or 4.
struct EightElements {
  std::uint32_t word[4];
};
struct FourElements {
  std::uint32_t word[2];
};
// Sums of a lane that move at once.
struct FourSums {
  float value[4];
};

__device__ __forceinline__ Philox::Counter draw(const LowRankGroup& group, const LowRankPath& path,
                                                std::uint32_t token_id, int feature) {
  const DropoutMask mask{.step = group.step, .stream = path.stream};
  return Philox::words(mask.counter(token_id, group.first_draw + static_cast<std::uint32_t>(feature) / drawn),
                       group.keys);
}
__device__ __forceinline__ bool keeps(const LowRankPath& path, const Philox::Counter& words, int i) {
  const std::uint32_t word = words[static_cast<std::size_t>(i / 2)];
  return (i % 2 == 0 ? word << 16 : word) >= path.threshold;
}
// Ones where the two elements that these random bits decide on are kept.
__device__ __forceinline__ std::uint32_t kept_bits(const LowRankPath& path, std::uint32_t word) {
  return ((word << 16) >= path.threshold ? 0x0000ffffU : 0U) | (word >= path.threshold ? 0xffff0000U : 0U);
}
// The lower (0) or upper (1) elements of two words.
__device__ __forceinline__ std::uint32_t pair_of(std::uint32_t first, std::uint32_t second, int upper) {
  return __byte_perm(first, second, upper != 0 ? 0x7632U : 0x5410U);
}

// `Elements` of row `row` of what has rows of `rank` elements, from column `rank` on, zeros behind the last.
template <typename Elements>
__device__ __forceinline__ Elements load_ranks(const LowRankPath& path, const __nv_bfloat16* from, int row,
                                               int rank) {
  Elements elements{};
  const __nv_bfloat16* at = from + static_cast<std::int64_t>(row) * path.rank + rank;
  if (path.wide) {
    if (rank < path.rank) elements = load_vector<Elements>(at);
  } else {
#pragma unroll
    for (int w = 0; w < static_cast<int>(sizeof(Elements) / 4); ++w) {
      if (rank + 2 * w < path.rank) elements.word[w] = load_vector<std::uint32_t>(at + 2 * w);
    }
  }
  return elements;
}

// ---- u = drop(x) aᵀ: a sum over features. m: tokens, n: ranks, k: features

// A block has some rows of x, and its warps every 32 features of them in turn. Where registers suffice these are 32 rows:
// each block reads all factors, which is as much as these rows of x.
template <int paths, int depth, bool by_feature = false>
struct DownShape {
  static constexpr int row_tiles = paths * depth <= 3 ? 2 : 1;  // of mma
  static constexpr int warps = paths * depth <= 1 ? 16 : 12;
  static constexpr int threads = 32 * warps;
  static constexpr int rows = 16 * row_tiles;
  static constexpr int rank_tiles = 2 * depth;
  static constexpr int path_tiles = row_tiles * rank_tiles;
  static constexpr int ahead = by_feature && depth == 1 ? 2 : 1;  // steps of rows that are under way
  union Memory {
    FourSums sum[warps][paths * path_tiles][32];
    EightElements factor[by_feature ? warps : 1][32 * rank_tiles];  // [32 features, ranks] of each warp
  };
};

// Where a warp puts 8 ranks of a feature, so that the 8 features of which ldmatrix makes a tile lie in different banks, and
// so do the 8 that are put there at once. Tile w of each 8 ranks has of every lane's features the two of its word w.
template <int rank_tiles>
__device__ __forceinline__ int factor_place(int feature, int rank_tile) {
  const int tile = feature / 2 % 4 * rank_tiles + rank_tile;
  return 8 * tile + (2 * (feature / 8) + feature % 2 + 2 * tile) % 8;
}

template <int paths, int depth, bool by_feature>
__global__ void __launch_bounds__(DownShape<paths, depth, by_feature>::threads)
    low_rank_down_kernel(LowRankGroup p) {
  using Shape = DownShape<paths, depth, by_feature>;
  constexpr int row_tiles = Shape::row_tiles, rank_tiles = Shape::rank_tiles, ahead = Shape::ahead;
  constexpr int stride = 32 * Shape::warps;
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int quad = lane % 4, line = lane / 4;
  const int first_row = static_cast<int>(blockIdx.x) * Shape::rows;
  auto& memory = shared_memory<typename Shape::Memory>();

  // Rows and ranks that are not there are computed from the last that is; only features must be zeros.
  const __nv_bfloat16* rows_at = p.x + static_cast<std::int64_t>(first_row) * p.columns;
  std::uint32_t row_offset[2 * row_tiles];
  std::uint32_t token_id[2 * row_tiles];
#pragma unroll
  for (int i = 0; i < 2 * row_tiles; ++i) {
    const int row = min(first_row + 8 * i + line, p.rows - 1);
    row_offset[i] = static_cast<std::uint32_t>((row - first_row) * p.columns);
    token_id[i] = p.token_ids == nullptr ? 0 : static_cast<std::uint32_t>(p.token_ids[row]);
  }
  struct Rows {
    EightElements of[2 * row_tiles];
  };
  struct Factor {
    EightElements of[rank_tiles];
  };
  const auto load_rows = [&](int feature) {
    Rows rows{};
    if (feature < p.columns) {
#pragma unroll
      for (int i = 0; i < 2 * row_tiles; ++i)
        rows.of[i] =
            load_vector<EightElements>(rows_at + (row_offset[i] + static_cast<std::uint32_t>(feature)));
    }
    return rows;
  };
  const auto load_factor = [&](const LowRankPath& path, int begin) {
    Factor factor{};
    if constexpr (by_feature) {
#pragma unroll
      for (int n = 0; n < rank_tiles; ++n) {
        const int word = lane + 32 * n, feature = begin + word / rank_tiles;
        if (feature < p.columns)
          factor.of[n] = load_ranks<EightElements>(path, path.a, feature, 8 * (word % rank_tiles));
      }
      return factor;
    }
    const int feature = begin + 8 * quad;
    if (feature < p.columns) {
#pragma unroll
      for (int n = 0; n < rank_tiles; ++n) {
        const int rank = min(8 * n + line, path.rank - 1);
        factor.of[n] =
            load_vector<EightElements>(path.a + static_cast<std::uint32_t>(rank * p.columns + feature));
      }
    }
    return factor;
  };
  // The factor's operands of mma for each word of the rows.
  struct Fragments {
    std::uint32_t word[4][rank_tiles];
  };
  const auto fragments_of = [&](const Factor& factor) {
    Fragments fragments;
    if constexpr (by_feature) {
      EightElements* own = memory.factor[warp];
      __syncwarp();  // the warp has read the features before these
#pragma unroll
      for (int n = 0; n < rank_tiles; ++n) {
        const int word = lane + 32 * n;
        store_vector(own + factor_place<rank_tiles>(word / rank_tiles, word % rank_tiles), factor.of[n]);
      }
      __syncwarp();
#pragma unroll
      for (int n = 0; n < rank_tiles; ++n) {  // four tiles at a time
        const int tile = 4 * n + lane / 8;
        std::uint32_t words[4];
        load_transposed_matrices(words, shared_address(own + 8 * tile + (lane % 8 + 2 * tile) % 8));
#pragma unroll
        for (int i = 0; i < 4; ++i)
          fragments.word[(4 * n + i) / rank_tiles][(4 * n + i) % rank_tiles] = words[i];
      }
    } else {
#pragma unroll
      for (int w = 0; w < 4; ++w) {
#pragma unroll
        for (int n = 0; n < rank_tiles; ++n) fragments.word[w][n] = factor.of[n].word[w];
      }
    }
    return fragments;
  };

  float sum[paths][row_tiles][rank_tiles][4] = {};
  const int first_feature = 32 * warp;
  Rows next_rows[ahead];
#pragma unroll
  for (int s = 0; s < ahead; ++s) next_rows[s] = load_rows(first_feature + s * stride + 8 * quad);
  Factor next_factor = load_factor(p.path[0], first_feature);
  const auto step = [&](Rows& next, int begin) {
    const int feature = begin + 8 * quad;
    const Rows rows = next;
    next = load_rows(feature + ahead * stride);
#pragma unroll
    for (int i = 0; i < paths; ++i) {
      const LowRankPath& path = p.path[i];
      const Factor factor = next_factor;
      next_factor = load_factor(p.path[(i + 1) % paths], i + 1 < paths ? begin : begin + stride);
      const Fragments fragments = fragments_of(factor);
#pragma unroll
      for (int t = 0; t < row_tiles; ++t) {
        EightElements kept[2] = {rows.of[2 * t], rows.of[2 * t + 1]};
        if (!by_feature && path.threshold != 0) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const Philox::Counter words = draw(p, path, token_id[2 * t + half], feature);
#pragma unroll
            for (int w = 0; w < 4; ++w)
              kept[half].word[w] &= kept_bits(path, words[static_cast<std::size_t>(w)]);
          }
        }
#pragma unroll
        for (int w = 0; w < 4; w += 2) {  // 16 features at a time: of each lane these two words
          const std::uint32_t fragment[4] = {kept[0].word[w], kept[1].word[w], kept[0].word[w + 1],
                                             kept[1].word[w + 1]};
#pragma unroll
          for (int n = 0; n < rank_tiles; ++n)
            multiply_accumulate(sum[i][t][n], fragment, fragments.word[w][n], fragments.word[w + 1][n]);
        }
      }
    }
  };
  for (int begin = first_feature; begin < p.columns; begin += ahead * stride) {
#pragma unroll
    for (int s = 0; s < ahead; ++s) step(next_rows[s], begin + s * stride);
  }

  if constexpr (by_feature) __syncthreads();  // all warps have read their factors
#pragma unroll
  for (int i = 0; i < paths; ++i) {
#pragma unroll
    for (int tile = 0; tile < Shape::path_tiles; ++tile) {
      const float(&own)[4] = sum[i][tile / rank_tiles][tile % rank_tiles];
      store_vector(&memory.sum[warp][i * Shape::path_tiles + tile][lane],
                   FourSums{{own[0], own[1], own[2], own[3]}});
    }
  }
  __syncthreads();
  for (int tile = warp; tile < paths * Shape::path_tiles; tile += Shape::warps) {
    FourSums total{};
#pragma unroll
    for (int w = 0; w < Shape::warps; ++w) {
      const auto part = load_vector<FourSums>(&memory.sum[w][tile][lane]);
#pragma unroll
      for (int i = 0; i < 4; ++i) total.value[i] += part.value[i];
    }
    const int row = first_row + 16 * (tile % Shape::path_tiles / rank_tiles) + line;
    const int rank = 8 * (tile % rank_tiles) + 2 * quad;
#pragma unroll
    for (int i = 0; i < paths; ++i) {  // an index that is not constant would move the paths to memory
      const LowRankPath& path = p.path[i];
      if (i != tile / Shape::path_tiles || rank >= path.rank) continue;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (row + 8 * half >= p.rows) continue;
        store_vector(path.u + static_cast<std::int64_t>(row + 8 * half) * path.rank + rank,
                     pack_bf16(path.scale * total.value[2 * half], path.scale * total.value[2 * half + 1]));
      }
    }
  }
}

// ---- dx += Σ drop(du a): a sum over ranks. m: tokens, n: features, k: ranks

constexpr int warp_features = 32;  // four tiles of mma
constexpr int block_features = threads_per_block / 32 * warp_features;
constexpr int rows_per_block = 128;

// What a lane reads of rows `line` and `line` + 8 of a step of 16. dx comes from far: it is asked for two steps ahead.
struct InputGradientRows {
  EightElements dx[2];
  std::uint32_t token_id[2];
};
template <int paths, int depth>
struct InputGradientFactors {
  FourElements of[paths][depth][2];
};

// A warp has 32 features of some rows. A lane's features in mma's four tiles are neighbours in dx: tile t's column 2 q + j
// is feature 8 q + 2 t + j. Its ranks are neighbours in du: 4 q + i of each 16.
template <int paths, int depth>
__global__ void __launch_bounds__(threads_per_block) low_rank_input_gradient_kernel(LowRankGroup p) {
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int quad = lane % 4, line = lane / 4;
  const int first_feature = static_cast<int>(blockIdx.x) * block_features + warp * warp_features;
  if (first_feature >= p.columns) return;  // a whole warp
  const int own_feature = first_feature + 8 * quad;
  const bool own = own_feature < p.columns;
  const int first_row = static_cast<int>(blockIdx.y) * rows_per_block;
  const int end_row = min(first_row + rows_per_block, p.rows);

  const auto load_rows = [&](int begin) {
    InputGradientRows rows{};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = begin + 8 * half + line;
      if (!own || row >= end_row) continue;
      rows.dx[half] =
          load_vector<EightElements>(p.x + static_cast<std::int64_t>(row) * p.columns + own_feature);
      if (p.token_ids != nullptr) rows.token_id[half] = static_cast<std::uint32_t>(p.token_ids[row]);
    }
    return rows;
  };
  const auto load_factors = [&](int begin) {
    InputGradientFactors<paths, depth> du;
#pragma unroll
    for (int i = 0; i < paths; ++i) {
#pragma unroll
      for (int d = 0; d < depth; ++d) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = min(begin + 8 * half + line, end_row - 1);
          du.of[i][d][half] = load_ranks<FourElements>(p.path[i], p.path[i].du, row, 16 * d + 4 * quad);
        }
      }
    }
    return du;
  };
  InputGradientRows next = load_rows(first_row), after_next = load_rows(first_row + 16);
  InputGradientFactors<paths, depth> next_du = load_factors(first_row);

  std::uint32_t a[paths][depth][4][2];
#pragma unroll
  for (int i = 0; i < paths; ++i) {
    const LowRankPath& path = p.path[i];
#pragma unroll
    for (int d = 0; d < depth; ++d) {
      EightElements ranks[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int rank = 16 * d + 4 * quad + k, feature = first_feature + 8 * (line / 2);
        ranks[k] = {};
        if (rank < path.rank && feature < p.columns)
          ranks[k] =
              load_vector<EightElements>(path.a + static_cast<std::int64_t>(rank) * p.columns + feature);
      }
#pragma unroll
      for (int tile = 0; tile < 4; ++tile) {
#pragma unroll
        for (int half = 0; half < 2; ++half)
          a[i][d][tile][half] = pair_of(ranks[2 * half].word[tile], ranks[2 * half + 1].word[tile], line % 2);
      }
    }
  }

  for (int begin = first_row; begin < end_row; begin += 16) {
    const InputGradientRows rows = next;
    const InputGradientFactors<paths, depth> factors = next_du;
    next = after_next;
    after_next = load_rows(begin + 32);
    next_du = load_factors(begin + 16);
    float total[4][4] = {};
#pragma unroll
    for (int i = 0; i < paths; ++i) {
      const LowRankPath& path = p.path[i];
      const auto add_product = [&](float(&sum)[4][4]) {
#pragma unroll
        for (int d = 0; d < depth; ++d) {
          const FourElements(&du)[2] = factors.of[i][d];
          const std::uint32_t fragment[4] = {du[0].word[0], du[1].word[0], du[0].word[1], du[1].word[1]};
#pragma unroll
          for (int tile = 0; tile < 4; ++tile)
            multiply_accumulate(sum[tile], fragment, a[i][d][tile][0], a[i][d][tile][1]);
        }
      };
      if (path.threshold == 0) {
        add_product(total);
        continue;
      }
      float product[4][4] = {};
      add_product(product);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const Philox::Counter words = draw(p, path, rows.token_id[half], own_feature);
#pragma unroll
        for (int k = 0; k < 8; ++k) {
          if (keeps(path, words, k))
            total[k / 2][2 * half + k % 2] += path.scale * product[k / 2][2 * half + k % 2];
        }
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = begin + 8 * half + line;
      if (!own || row >= end_row) continue;
      EightElements dx;
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        const std::uint32_t old = rows.dx[half].word[w];
        dx.word[w] = pack_bf16(__uint_as_float(old << 16) + total[w][2 * half],
                               __uint_as_float(old & 0xffff0000U) + total[w][2 * half + 1]);
      }
      store_vector(p.x + static_cast<std::int64_t>(row) * p.columns + own_feature, dx);
    }
  }
}

// ---- da += duᵀ drop(x): a sum over tokens. m: ranks, n: features, k: tokens

// A block has 32 features, and its warps every 16 tokens in turn. Tile t's column n is feature 4 n + t.
template <int paths, int depth>
struct FactorGradientShape {
  static constexpr int steps = paths * depth;  // of 16 ranks
  static constexpr int most_warps = steps == 1 ? 16 : steps <= 3 ? 12 : 8;
  static constexpr int threads = 32 * most_warps;
  // Where x is wide and blocks are many, three of one path share a multiprocessor, so that none has much more to do.
  static constexpr int threads_of_many = 32 * 6;
  static constexpr int bound = steps == 1 ? 3 * threads_of_many : threads;
  static constexpr int features = 32;
  static constexpr int together = steps <= 3 ? steps : 3;  // whose sums are added at once
  union Memory {
    EightElements du[most_warps][steps][32];  // [16 tokens, 16 ranks] of each warp
    FourSums sum[most_warps][together][4][32];
  };
};

// Where the lane that holds 8 ranks of a token puts them, and finds them by ldmatrix, in different banks for 8 tokens.
__device__ __forceinline__ int du_place(int token, int half) { return 2 * token + (half ^ (token / 4 % 2)); }

// What a lane reads of 16 tokens. x comes from far: it is asked for two steps ahead.
struct FactorGradientRows {
  FourElements x[4];          // of tokens 2 q, 2 q + 1, 2 q + 8, 2 q + 9
  std::uint32_t token_id[2];  // of the first two of these tokens or, in odd lines, the last two
};
template <int paths, int depth>
struct FactorGradientFactors {
  EightElements of[paths][depth];
};

template <int paths, int depth, bool by_feature>
__global__ void __launch_bounds__(FactorGradientShape<paths, depth>::bound)
    low_rank_factor_gradient_kernel(LowRankGroup p) {
  using Shape = FactorGradientShape<paths, depth>;
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int warps = static_cast<int>(blockDim.x / 32);
  const int quad = lane % 4, line = lane / 4;
  const bool odd = line % 2 != 0;
  const int first_feature = static_cast<int>(blockIdx.x) * Shape::features;
  const int own_feature = first_feature + 4 * line;
  auto& memory = shared_memory<typename Shape::Memory>();

  const auto load_rows = [&](int begin) {
    FactorGradientRows rows{};
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int row = begin + 2 * quad + k % 2 + 8 * (k / 2);
      if (row < p.rows && own_feature < p.columns)
        rows.x[k] = load_vector<FourElements>(p.x + static_cast<std::int64_t>(row) * p.columns + own_feature);
    }
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int row = begin + 2 * quad + k + (odd ? 8 : 0);
      if (p.token_ids != nullptr && row < p.rows)
        rows.token_id[k] = static_cast<std::uint32_t>(p.token_ids[row]);
    }
    return rows;
  };
  const auto load_factors = [&](int begin) {
    FactorGradientFactors<paths, depth> du{};
    const int row = begin + lane / 2;
    if (row >= p.rows) return du;
#pragma unroll
    for (int i = 0; i < paths; ++i) {
#pragma unroll
      for (int d = 0; d < depth; ++d)
        du.of[i][d] = load_ranks<EightElements>(p.path[i], p.path[i].du, row, 16 * d + 8 * (lane % 2));
    }
    return du;
  };

  float sum[Shape::steps][4][4] = {};
  const int stride = 16 * warps;
  FactorGradientRows next = load_rows(16 * warp), after_next = load_rows(16 * warp + stride);
  FactorGradientFactors<paths, depth> next_du = load_factors(16 * warp);
  for (int begin = 16 * warp; begin < p.rows; begin += stride) {
    const FactorGradientRows rows = next;
    const FactorGradientFactors<paths, depth> factors = next_du;
    next = after_next;
    after_next = load_rows(begin + 2 * stride);
    next_du = load_factors(begin + stride);
    __syncwarp();  // the warp has read what it put there before
#pragma unroll
    for (int s = 0; s < Shape::steps; ++s)
      store_vector(&memory.du[warp][s][du_place(lane / 2, lane % 2)], factors.of[s / depth][s % depth]);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < paths; ++i) {
      const LowRankPath& path = p.path[i];
      FourElements kept[4] = {rows.x[0], rows.x[1], rows.x[2], rows.x[3]};
      if (!by_feature && path.threshold != 0) {
        // A draw decides on the features of two lines: each draws for two of the four tokens, and tells the other.
        FourElements drawn_here[2], drawn_there[2];
#pragma unroll
        for (int k = 0; k < 2; ++k) {
          const Philox::Counter words = draw(p, path, rows.token_id[k], own_feature);
#pragma unroll
          for (int w = 0; w < 2; ++w) {
            const std::uint32_t low = words[static_cast<std::size_t>(w)],
                                high = words[static_cast<std::size_t>(w + 2)];
            drawn_here[k].word[w] = odd ? high : low;
            drawn_there[k].word[w] = __shfl_xor_sync(full_warp, odd ? low : high, 4);
          }
        }
#pragma unroll
        for (int k = 0; k < 4; ++k) {
#pragma unroll
          for (int w = 0; w < 2; ++w) {
            kept[k].word[w] &=
                kept_bits(path, odd == (k >= 2) ? drawn_here[k % 2].word[w] : drawn_there[k % 2].word[w]);
          }
        }
      }
      std::uint32_t x[4][2];  // by tile: the first two tokens, then the others
#pragma unroll
      for (int tile = 0; tile < 4; ++tile) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          x[tile][half] = pair_of(kept[2 * half].word[tile / 2], kept[2 * half + 1].word[tile / 2], tile % 2);
        }
      }
#pragma unroll
      for (int d = 0; d < depth; ++d) {
        std::uint32_t du[4];  // transposed
        load_transposed_matrices(
            du, shared_address(
                    &memory.du[warp][i * depth + d][du_place(lane % 8 + lane / 16 * 8, lane / 8 % 2)]));
#pragma unroll
        for (int tile = 0; tile < 4; ++tile)
          multiply_accumulate(sum[i * depth + d][tile], du, x[tile][0], x[tile][1]);
      }
    }
  }

#pragma unroll
  for (int first = 0; first < Shape::steps; first += Shape::together) {
    __syncthreads();  // what is there has been read
#pragma unroll
    for (int s = 0; s < Shape::together; ++s) {
      if (first + s >= Shape::steps) continue;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float(&own)[4][4] = sum[first + s];
        store_vector(&memory.sum[warp][s][j][lane], FourSums{{own[0][j], own[1][j], own[2][j], own[3][j]}});
      }
    }
    __syncthreads();
    for (int part = warp; part < 4 * min(Shape::together, Shape::steps - first); part += warps) {
      const int s = first + part / 4, j = part % 4;
      FourSums total{};
      for (int w = 0; w < warps; ++w) {
        const auto other = load_vector<FourSums>(&memory.sum[w][part / 4][j][lane]);
#pragma unroll
        for (int t = 0; t < 4; ++t) total.value[t] += other.value[t];
      }
      const int rank = 16 * (s % depth) + line + 8 * (j / 2);
      const int feature = first_feature + 8 * quad + 4 * (j % 2);
#pragma unroll
      for (int i = 0; i < paths; ++i) {  // an index that is not constant would move the paths to memory
        const LowRankPath& path = p.path[i];
        if (i != s / depth || rank >= path.rank || feature >= p.columns) continue;
        if constexpr (by_feature) {
          float* at = path.da + static_cast<std::int64_t>(feature) * path.rank + rank;
#pragma unroll
          for (int t = 0; t < 4; ++t) at[t * path.rank] += path.scale * total.value[t];
        } else {
          float* at = path.da + static_cast<std::int64_t>(rank) * p.columns + feature;
          auto da = load_vector<FourSums>(at);
#pragma unroll
          for (int t = 0; t < 4; ++t) da.value[t] += path.scale * total.value[t];
          store_vector(at, da);
        }
      }
    }
  }
}

// ---- host

namespace {

bool is_aligned(ConstTensor x, std::uintptr_t bytes) {
  return reinterpret_cast<std::uintptr_t>(x.address()) % bytes == 0;
}

// The first mask that drops anything, or null.
template <typename Path>
const DropoutMask* dropping(std::span<const Path> paths) {
  const auto found =
      std::find_if(paths.begin(), paths.end(), [](const Path& path) { return path.mask.threshold() != 0; });
  return found == paths.end() ? nullptr : &found->mask;
}

template <typename Path>
bool fits(std::span<const Path> paths, ConstTensor x) {
  if (paths.empty() || paths.size() > most_paths || x.dtype() != DType::bf16) return false;
  if (x.dim(1) % 8 != 0 || !is_aligned(x, 16)) return false;
  const DropoutMask* mask = dropping(paths);
  return mask == nullptr ||
         (mask->first_feature % drawn == 0 && std::all_of(paths.begin(), paths.end(), [&](const Path& path) {
            return path.mask.threshold() == 0 ||
                   (path.mask.seed == mask->seed && path.mask.step == mask->step &&
                    path.mask.first_feature == mask->first_feature);
          }));
}
// Of the path's two tensors.    wide [R, I]  narrow [N, R]
bool fits(ConstTensor wide, DType wide_type, ConstTensor narrow) {
  return wide.dtype() == wide_type && narrow.dtype() == DType::bf16 && wide.dim(0) % 2 == 0 &&
         wide.dim(0) > 0 && wide.dim(0) <= deepest && is_aligned(wide, 16) && is_aligned(narrow, 4);
}

LowRankPath low_rank_path(ConstTensor wide, const DropoutMask& mask) {
  LowRankPath path{};
  path.rank = static_cast<int>(wide.dim(0));
  path.stream = mask.stream;
  path.threshold = mask.threshold() << 16;
  path.scale = mask.scale();
  return path;
}
bool is_wide(ConstTensor du, std::int64_t bytes) {
  return 2 * du.dim(1) % bytes == 0 && is_aligned(du, static_cast<std::uintptr_t>(bytes));
}

// path_of(path) for each of them.
template <typename Path, typename PathOf>
LowRankGroup low_rank_group(std::span<const Path> paths, ConstTensor x, ConstTensor token_ids,
                            const PathOf& path_of) {
  LowRankGroup group{};
  group.x = const_cast<__nv_bfloat16*>(elements<__nv_bfloat16>(x));
  group.rows = static_cast<int>(x.dim(0));
  group.columns = static_cast<int>(x.dim(1));
  if (const DropoutMask* mask = dropping(paths)) {
    group.token_ids = token_ids.data<std::int64_t>();
    group.keys = Philox::schedule(mask->seed);
    group.step = mask->step;
    group.first_draw = static_cast<std::uint32_t>(mask->first_feature / drawn);
  }
  std::transform(paths.begin(), paths.end(), group.path, path_of);
  return group;
}

// run(paths, depth) with both as constants.
template <int paths, typename Run>
void visit_depth(const LowRankGroup& group, Width<paths> count, const Run& run) {
  const bool deep =
      std::any_of(group.path, group.path + paths, [](const LowRankPath& p) { return p.rank > 16; });
  deep ? run(count, Width<2>{}) : run(count, Width<1>{});
}
template <typename Run>
void visit_shape(const LowRankGroup& group, std::size_t paths, const Run& run) {
  if (paths == 1) return visit_depth(group, Width<1>{}, run);
  if (paths == 2) return visit_depth(group, Width<2>{}, run);
  visit_depth(group, Width<3>{}, run);
}

}  // namespace

bool low_rank_down(std::span<const LowRankDown> paths, ConstTensor x, ConstTensor token_ids,
                   cudaStream_t stream) {
  if (!fits(paths, x)) return false;
  for (const LowRankDown& path : paths) {
    if (!fits(path.a, DType::bf16, path.u)) return false;
  }
  const LowRankGroup group = low_rank_group(paths, x, token_ids, [](const LowRankDown& from) {
    LowRankPath path = low_rank_path(from.a, from.mask);
    path.a = elements<__nv_bfloat16>(from.a);
    path.u = elements<__nv_bfloat16>(from.u);
    return path;
  });
  visit_shape(group, paths.size(), [&]<int count, int depth>(Width<count>, Width<depth>) {
    using Shape = DownShape<count, depth>;
    launch(low_rank_down_kernel<count, depth, false>, blocks(divide_up(group.rows, Shape::rows)),
           Shape::threads, sizeof(typename Shape::Memory), stream, group);
  });
  return true;
}

bool low_rank_input_gradient(Tensor dx, std::span<const LowRankInputGradient> paths, ConstTensor token_ids,
                             cudaStream_t stream) {
  if (!fits(paths, dx)) return false;
  for (const LowRankInputGradient& path : paths) {
    if (!fits(path.a, DType::bf16, path.du)) return false;
  }
  const LowRankGroup group = low_rank_group(paths, dx, token_ids, [](const LowRankInputGradient& from) {
    LowRankPath path = low_rank_path(from.a, from.mask);
    path.a = elements<__nv_bfloat16>(from.a);
    path.du = elements<__nv_bfloat16>(from.du);
    path.wide = is_wide(from.du, sizeof(FourElements));
    return path;
  });
  visit_shape(group, paths.size(), [&]<int count, int depth>(Width<count>, Width<depth>) {
    launch(low_rank_input_gradient_kernel<count, depth>,
           blocks(divide_up(group.columns, block_features), divide_up(group.rows, rows_per_block)),
           threads_per_block, 0, stream, group);
  });
  return true;
}

bool low_rank_factor_gradient(std::span<const LowRankFactorGradient> paths, ConstTensor x,
                              ConstTensor token_ids, cudaStream_t stream) {
  if (!fits(paths, x)) return false;
  for (const LowRankFactorGradient& path : paths) {
    if (!fits(path.da, DType::f32, path.du)) return false;
  }
  const LowRankGroup group = low_rank_group(paths, x, token_ids, [](const LowRankFactorGradient& from) {
    LowRankPath path = low_rank_path(from.da, from.mask);
    path.da = elements<float>(from.da);
    path.du = elements<__nv_bfloat16>(from.du);
    path.wide = is_wide(from.du, sizeof(EightElements));
    return path;
  });
  visit_shape(group, paths.size(), [&]<int count, int depth>(Width<count>, Width<depth>) {
    using Shape = FactorGradientShape<count, depth>;
    const std::int64_t tiles = divide_up(group.columns, Shape::features);
    const int threads = tiles < many_tiles ? Shape::threads : Shape::threads_of_many;
    launch(low_rank_factor_gradient_kernel<count, depth, false>, blocks(tiles), threads,
           sizeof(typename Shape::Memory), stream, group);
  });
  return true;
}

namespace {

// A path alone, of a layer's outputs [N, O] and a factor [O, R], without a mask.
bool fits_by_feature(ConstTensor outputs, ConstTensor factor, DType factor_type, ConstTensor narrow) {
  return outputs.dtype() == DType::bf16 && outputs.dim(1) % 8 == 0 && is_aligned(outputs, 16) &&
         factor.dtype() == factor_type && narrow.dtype() == DType::bf16 && factor.dim(1) % 2 == 0 &&
         factor.dim(1) > 0 && factor.dim(1) <= deepest && is_aligned(factor, 4) && is_aligned(narrow, 4);
}
LowRankGroup group_by_feature(ConstTensor outputs, ConstTensor factor, float scale) {
  LowRankGroup group{};
  group.x = const_cast<__nv_bfloat16*>(elements<__nv_bfloat16>(outputs));
  group.rows = static_cast<int>(outputs.dim(0));
  group.columns = static_cast<int>(outputs.dim(1));
  group.path[0].rank = static_cast<int>(factor.dim(1));
  group.path[0].scale = scale;
  return group;
}

}  // namespace

bool low_rank_output_gradient(Tensor du, ConstTensor dy, ConstTensor b, float scale, cudaStream_t stream) {
  if (!fits_by_feature(dy, b, DType::bf16, du)) return false;
  LowRankGroup group = group_by_feature(dy, b, scale);
  group.path[0].a = elements<__nv_bfloat16>(b);
  group.path[0].u = elements<__nv_bfloat16>(du);
  group.path[0].wide = is_wide(b, sizeof(EightElements));
  visit_depth(group, Width<1>{}, [&]<int depth>(Width<1>, Width<depth>) {
    using Shape = DownShape<1, depth, true>;
    launch(low_rank_down_kernel<1, depth, true>, blocks(divide_up(group.rows, Shape::rows)), Shape::threads,
           sizeof(typename Shape::Memory), stream, group);
  });
  return true;
}

bool low_rank_output_factor_gradient(Tensor db, ConstTensor dy, ConstTensor u, float scale,
                                     cudaStream_t stream) {
  if (!fits_by_feature(dy, db, DType::f32, u)) return false;
  const std::int64_t tiles = divide_up(dy.dim(1), FactorGradientShape<1, 1>::features);
  if (tiles >= many_tiles) return false;
  LowRankGroup group = group_by_feature(dy, db, scale);
  group.path[0].da = elements<float>(db);
  group.path[0].du = elements<__nv_bfloat16>(u);
  group.path[0].wide = is_wide(u, sizeof(EightElements));
  visit_depth(group, Width<1>{}, [&]<int depth>(Width<1>, Width<depth>) {
    using Shape = FactorGradientShape<1, depth>;
    launch(low_rank_factor_gradient_kernel<1, depth, true>, blocks(tiles), Shape::threads,
           sizeof(typename Shape::Memory), stream, group);
  });
  return true;
}

}  // namespace chorus::cuda
