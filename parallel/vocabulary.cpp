#include "parallel/vocabulary.h"

#include "ops/transfer.h"

namespace chorus {

VocabularyHead::Chunk VocabularyHead::score_chunk(Tensor log_probability, ConstTensor h, ConstTensor rows,
                                                  ConstTensor tokens, Arena& arena) const {
  const DType acc = accumulator(h.dtype());
  const std::int64_t m = h.dim(0);
  Chunk chunk{arena.take(acc, {m, part_.length()}), arena.take(acc, {m})};
  backend_.matmul(chunk.logits, h, weight.value(), {.transpose_b = true});
  const Tensor parts = arena.take(acc, {tensor_.size(), m});
  const Tensor own = parts.rows(tensor_.rank(), tensor_.rank() + 1).reshape({m});
  backend_.log_sum_exp(own, chunk.logits);
  tensor_.all_gather(parts);
  backend_.combine_log_sum_exp(chunk.lse, parts);
  backend_.target_log_probability(log_probability, chunk.logits, chunk.lse, rows, tokens, part_.begin);
  return chunk;
}

void VocabularyHead::score(Tensor log_probability, ConstTensor h, const Targets& targets,
                           Arena& arena) const {
  for (std::size_t c = 0; c + 1 < targets.offsets.size(); ++c) {
    Arena::Scope scope(arena);
    const std::int64_t first_row = static_cast<std::int64_t>(c) * rows_per_chunk;
    const std::int64_t begin = targets.offsets[c], end = targets.offsets[c + 1];
    score_chunk(log_probability.rows(begin, end),
                h.rows(first_row, std::min(targets.rows, first_row + rows_per_chunk)),
                targets.chunk_rows.rows(begin, end), targets.tokens.rows(begin, end), arena);
  }
  tensor_.all_reduce(log_probability);
}

void VocabularyHead::score_and_backward(Tensor log_probability, Tensor dh, ConstTensor h,
                                        const Targets& targets, double scale, Arena& arena) const {
  for (std::size_t c = 0; c + 1 < targets.offsets.size(); ++c) {
    Arena::Scope scope(arena);
    const std::int64_t first_row = static_cast<std::int64_t>(c) * rows_per_chunk;
    const std::int64_t last_row = std::min(targets.rows, first_row + rows_per_chunk);
    const std::int64_t begin = targets.offsets[c], end = targets.offsets[c + 1];
    const ConstTensor h_chunk = h.rows(first_row, last_row);
    const ConstTensor rows = targets.chunk_rows.rows(begin, end), tokens = targets.tokens.rows(begin, end);
    const Chunk chunk = score_chunk(log_probability.rows(begin, end), h_chunk, rows, tokens, arena);
    const Tensor dlogits = arena.take(h.dtype(), chunk.logits.shape());
    backend_.cross_entropy_backward(dlogits, chunk.logits, chunk.lse, rows, tokens,
                                    targets.weights.rows(begin, end), part_.begin, scale);
    backend_.matmul(dh.rows(first_row, last_row), dlogits, weight.value());
    if (weight.trained != nullptr) {
      backend_.matmul(weight.trained->gradient, dlogits, h_chunk, {.transpose_a = true, .accumulate = true});
    }
  }
  tensor_.all_reduce(log_probability);
  tensor_.all_reduce(dh);
}

std::vector<float> VocabularyHead::logits(ConstTensor h, Arena& arena) const {
  Arena::Scope scope(arena);
  const DType acc = accumulator(h.dtype());
  const std::int64_t rows = h.dim(0);
  const Tensor part = arena.take(acc, {rows, part_.length()});
  backend_.matmul(part, h, weight.value(), {.transpose_b = true});
  const std::vector<float> local = download_floats(backend_, part);
  if (tensor_.size() == 1) return local;
  std::vector<float> full(static_cast<std::size_t>(rows * vocabulary_), 0.0F);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(local.begin() + row * part_.length(), part_.length(),
                full.begin() + row * vocabulary_ + part_.begin);
  }
  const Tensor whole = arena.take(acc, {rows, vocabulary_});
  upload_floats(backend_, whole, full);
  tensor_.all_reduce(whole);
  return download_floats(backend_, whole);
}

void Embedding::forward(Tensor x, ConstTensor tokens) const {
  backend_.embed(x, table.value(), tokens, part_.begin);
}

void Embedding::backward(ConstTensor dx, ConstTensor tokens) const {
  if (table.trained != nullptr) backend_.embed_backward(table.trained->gradient, dx, tokens, part_.begin);
}

}  // namespace chorus
