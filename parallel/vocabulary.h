#pragma once

#include <span>

#include "ops/memory.h"
#include "parallel/communicator.h"
#include "parallel/parameters.h"

namespace chorus {

// What is asked of M rows: T targets, in ascending order of their row.
struct Targets {
  std::int64_t rows = 0;                  // M
  ConstTensor chunk_rows;                 // i32 [T] row of each target, counted from the start of its chunk
  ConstTensor tokens;                     // i32 [T]
  ConstTensor weights;                    // acc [T] in the loss
  std::span<const std::int64_t> offsets;  // [chunks + 1] first target of each chunk of rows
};

// The output projection with its loss, vocabulary rows split over tensor ranks. It runs over chunks of rows, so that
// the [M, V] logits never exist at once.
class VocabularyHead {
 public:
  static constexpr std::int64_t rows_per_chunk = 512;

  VocabularyHead(Backend& backend, Communicator& tensor, std::int64_t vocabulary_size)
      : backend_(backend),
        tensor_(tensor),
        vocabulary_(vocabulary_size),
        part_(shard(vocabulary_size, tensor.rank(), tensor.size())) {}

  Weight weight;  // local part [V/P, D]

  // log_probability[t] = log p(target t | its row)           h [M, D]  log_probability acc [T]
  void score(Tensor log_probability, ConstTensor h, const Targets& targets, Arena& arena) const;
  // The same, and dh = gradient of - scale · sum of weight · log_probability, complete on every rank; adds dW.
  void score_and_backward(Tensor log_probability, Tensor dh, ConstTensor h, const Targets& targets,
                          double scale, Arena& arena) const;
  // All logits [M, V] of a few rows on the host, on every tensor rank. Collective.
  std::vector<float> logits(ConstTensor h, Arena& arena) const;

 private:
  // logits and lse over the whole vocabulary of one chunk, and the log probabilities of its targets.
  struct Chunk {
    Tensor logits;  // acc [m, V/P]
    Tensor lse;     // acc [m]
  };
  Chunk score_chunk(Tensor log_probability, ConstTensor h, ConstTensor rows, ConstTensor tokens,
                    Arena& arena) const;

  Backend& backend_;
  Communicator& tensor_;
  std::int64_t vocabulary_;
  Shard part_;
};

// The token embedding, vocabulary rows split over tensor ranks.
class Embedding {
 public:
  Embedding(Backend& backend, const Communicator& tensor, std::int64_t vocabulary_size)
      : backend_(backend), part_(shard(vocabulary_size, tensor.rank(), tensor.size())) {}

  Weight table;  // local part [V/P, D]

  // x[n] = table[tokens[n]] of the rank that holds it, 0 on the others: the caller sums over tensor ranks. Tokens
  // below 0 are 0 on all.                                    x [N, D]  tokens i32 [N]
  void forward(Tensor x, ConstTensor tokens) const;
  // Adds to the table's gradient where it is trained. dx [N, D]
  void backward(ConstTensor dx, ConstTensor tokens) const;

 private:
  Backend& backend_;
  Shard part_;
};

}  // namespace chorus
