#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "core/model/llama.h"
#include "data/sets/batch.h"
#include "ops/stream_clock.h"
#include "parallel/communicator.h"

namespace chorus {

// One line of the benchmark.
struct Measurement {
  std::string group, name, shape;
  double seconds = 0;  // of one call
  double bytes = 0;    // that the call must read and write at least; 0: not counted
  double flops = 0;    // 0: not counted
  double calls = 0;    // in one step, of the lines of `step_group`; 0 in others
};

// What a call that reads or writes each of these once must move.
double bytes_of(std::initializer_list<ConstTensor> tensors);

// The lines that together are one training step: `calls` times `seconds` of each.
inline constexpr const char* step_group = "operators of the step";

// What the device reaches at best, measured by its own plainest work.
struct Ceilings {
  double copy_bytes_per_second = 0;    // of reading and writing
  double matmul_flops_per_second = 0;  // of a large square product in the precision of the benchmark
};

struct BenchmarkShape {
  ModelConfig model;
  ModelOptions options;
  LoraConfig lora;
  std::int64_t tokens = 512;               // N of a micro-batch
  std::int64_t sequence_length = 256;      // of its dialogues
  std::int64_t targets_per_sequence = 16;  // the last tokens of each
};

// Dialogues of equal length whose last tokens are asked for.
MicroBatch dialogues(const BenchmarkShape& shape);

// The models that the papers tune, and smaller ones for laptops: "tiny", "15m", "110m", "1b", "7b", "13b". Throws
// ConfigurationError.
ModelConfig benchmark_model(const std::string& name);

Ceilings measure_ceilings(Backend& backend, Communicator& world, Arena& arena, DType precision,
                          std::int64_t matrix, double least_seconds);
// Every operator of a training step at the sizes of one rank of a model that is not split.
std::vector<Measurement> measure_operators(const BenchmarkShape& shape, Backend& backend, Communicator& world,
                                           Arena& arena, double least_seconds);
// Forward, backward and update of `tokens` on every rank, with random weights, and its parts; then, by `clock`, the calls
// of which a step consists, and the time between them.
std::vector<Measurement> measure_training_step(const BenchmarkShape& shape, Backend& backend, Groups groups,
                                               StreamClock& clock, double least_seconds);
// Sums over all ranks, by size. `bytes` is what the slowest link must carry: 2 (n - 1) / n of the array.
std::vector<Measurement> measure_all_reduce(Backend& backend, Communicator& world, Arena& arena,
                                            double least_seconds);

std::string print_time(double seconds);  // "191.0 us", "4.12 ms", "1.205 s"
// Of its step, the share of a line of `step_group`; "" of other lines.
std::string share_of_step(const Measurement& line, const std::vector<Measurement>& measurements);
std::string to_table(const std::vector<Measurement>& measurements, const Ceilings& ceilings);

}  // namespace chorus
