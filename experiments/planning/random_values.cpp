#include "experiments/planning/random_values.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "ops/base/random.h"
#include "ops/transfer.h"

namespace chorus {

namespace {

std::vector<float> random_block() {
  std::vector<float> block(1 << 16);
  for (std::size_t i = 0; i < block.size(); ++i) {
    block[i] = 2 * uniform(random_word(1, RandomUse::initial_value, 0, i)) - 1;
  }
  return block;
}

// Copies of the `filled` first elements until all is full.
void repeat(Backend& backend, Tensor flat, std::int64_t filled) {
  while (filled < flat.elements()) {
    const std::int64_t more = std::min(filled, flat.elements() - filled);
    backend.convert(flat.rows(filled, filled + more), flat.rows(0, more));
    filled += more;
  }
}

void fill_bytes(Backend& backend, Tensor tensor, const std::vector<std::uint8_t>& bytes) {
  const Tensor flat = tensor.reshape({tensor.elements()});
  const std::int64_t first = std::min(flat.elements(), std::ssize(bytes));
  backend.upload(flat.rows(0, first), bytes.data());
  repeat(backend, flat, first);
}

double bound_of(const ModelTensor& tensor) { return 1 / std::sqrt(static_cast<double>(tensor.shape[1])); }

}  // namespace

void fill_random(Backend& backend, Tensor tensor, double bound) {
  std::vector<float> block = random_block();
  for (float& value : block) value *= static_cast<float>(bound);
  const Tensor flat = tensor.reshape({tensor.elements()});
  const std::int64_t first = std::min(flat.elements(), std::ssize(block));
  upload_floats(backend, flat.rows(0, first), std::span(block).first(static_cast<std::size_t>(first)));
  repeat(backend, flat, first);
}

// Blocks have the mean scale, to which the middle one of the dynamic levels adds nothing.
void fill_random(Backend& backend, const QuantisedMatrix& part, double bound) {
  std::vector<std::uint8_t> codes;
  for (const float value : random_block()) codes.push_back(static_cast<std::uint8_t>(127.5F * (value + 1)));
  fill_bytes(backend, part.codes, codes);
  backend.fill(part.scales, part.kind == Quantisation::int8 ? bound / 127 : bound);
  if (part.kind == Quantisation::nf4)
    fill_bytes(backend, part.scale_codes, {QuantisedMatrix::dynamic_levels / 2 - 1});
}

void fill_weight(Backend& backend, const ModelTensor& tensor, Tensor part) {
  if (tensor.is_norm()) return backend.fill(part, 1);
  if (tensor.role == TensorRole::bias) return backend.fill(part, 0);
  fill_random(backend, part, bound_of(tensor));
}

void fill_weight(Backend& backend, const ModelTensor& tensor, const QuantisedMatrix& part) {
  fill_random(backend, part, bound_of(tensor));
}

}  // namespace chorus
