#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "ops/memory.h"
#include "parallel/process_grid.h"

namespace chorus {

// The 16 levels of nf4, ascending: quantiles of the normal distribution, 0 among them (QLoRA, section 3 and appendix E).
std::span<const float, QuantisedMatrix::normal_levels> normal_levels();
// The 256 levels of an 8-bit dynamic float with sign, ascending, from -0.993 to 1 (Dettmers 2016, section 2).
std::vector<float> dynamic_levels();
// Both, as QuantisedMatrix::levels wants them.
Tensor upload_levels(Backend& backend, Arena& arena);

// A rank's part of a matrix: [begin, end) of `whole` along `dim`.
struct MatrixPart {
  std::string name;
  Shape whole;  // [O, I]
  int dim = 0;
  Shard range;
};

// Memory for a part. Throws ConfigurationError where its columns do not come in whole blocks.
QuantisedMatrix take_quantised(Arena& arena, Quantisation kind, const MatrixPart& part, Tensor levels);

// Rows [begin, end) of the whole matrix, row-major.
using MatrixRows = std::function<std::vector<float>(std::int64_t begin, std::int64_t end)>;
// Sets a part. Its codes are those that it has in the whole, on any number of ranks; the host holds a few MiB of it at a
// time. Throws DataError where an element is not finite.
void quantise(Backend& backend, const QuantisedMatrix& to, const MatrixPart& part, const MatrixRows& rows);

}  // namespace chorus
