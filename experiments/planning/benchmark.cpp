#include "experiments/planning/benchmark.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "experiments/planning/random_values.h"
#include "experiments/planning/stopwatch.h"

namespace chorus {

namespace {

ModelConfig model_of(std::int64_t width, std::int64_t mlp, std::int64_t heads, std::int64_t key_heads,
                     std::int64_t layers, std::int64_t vocabulary) {
  ModelConfig config;
  config.vocabulary_size = vocabulary;
  config.hidden_size = width;
  config.intermediate_size = mlp;
  config.query_heads = heads;
  config.key_value_heads = key_heads;
  config.head_width = width / heads;
  config.layers = layers;
  config.max_positions = 4096;
  return config;
}

std::string rate(double per_second, double unit, double ceiling) {
  if (per_second == 0) return fmt::format("{:>10}{:>7}", "", "");
  const std::string share = ceiling > 0 ? fmt::format("{:.0f}%", 100 * per_second / ceiling) : "";
  return fmt::format("{:>10.2f}{:>7}", per_second / unit, share);
}

}  // namespace

double bytes_of(std::initializer_list<ConstTensor> tensors) {
  return std::accumulate(tensors.begin(), tensors.end(), 0.0, [](double sum, const ConstTensor& tensor) {
    return sum + static_cast<double>(tensor.bytes());
  });
}

MicroBatch dialogues(const BenchmarkShape& shape) {
  const std::int64_t tokens = shape.tokens, vocabulary = shape.model.vocabulary_size;
  MicroBatch batch;
  for (std::int64_t t = 0; t < tokens; ++t) {
    batch.tokens.push_back(static_cast<std::int32_t>(t * 7919 % vocabulary));
    batch.token_ids.push_back(t);
  }
  batch.weights = {1};
  batch.forest.tokens = static_cast<std::int32_t>(tokens);
  for (std::int64_t first = 0; first < tokens; first += shape.sequence_length) {
    const std::int64_t length = std::min(shape.sequence_length, tokens - first);
    batch.forest.segments.push_back(
        {static_cast<std::int32_t>(first), static_cast<std::int32_t>(length), -1, 0});
    for (std::int64_t t = std::max<std::int64_t>(0, length - shape.targets_per_sequence); t < length; ++t) {
      batch.targets.push_back(
          {static_cast<std::int32_t>(first + t), batch.tokens[static_cast<std::size_t>(first + t)], 0});
    }
  }
  return batch;
}

ModelConfig benchmark_model(const std::string& name) {
  if (name == "tiny") return model_of(256, 704, 4, 4, 4, 4096);
  if (name == "15m") return model_of(288, 768, 6, 6, 6, 32000);
  if (name == "110m") return model_of(768, 2048, 12, 12, 12, 32000);
  if (name == "1b") return model_of(2048, 5632, 32, 4, 22, 32000);
  if (name == "7b") return model_of(4096, 11008, 32, 32, 32, 32000);
  if (name == "13b") return model_of(5120, 13824, 40, 40, 40, 32000);
  throw ConfigurationError("--model " + name + ": there are tiny, 15m, 110m, 1b, 7b and 13b");
}

Ceilings measure_ceilings(Backend& backend, Communicator& world, Arena& arena, DType precision,
                          std::int64_t matrix, double least_seconds) {
  Arena::Scope scope(arena);
  const Stopwatch watch(backend, world, arena, least_seconds);
  Ceilings ceilings;
  {
    // Larger than any cache.
    Arena::Scope copy_scope(arena);
    const std::int64_t elements = std::int64_t{32} << 20;
    const Tensor from = arena.take(DType::f32, {elements}), to = arena.take(DType::f32, {elements});
    fill_random(backend, from, 1);
    const double seconds = watch.seconds_per_call([&] { backend.convert(to, from); });
    ceilings.copy_bytes_per_second = bytes_of({from, to}) / seconds;
  }
  const Shape square{matrix, matrix};
  const Tensor a = arena.take(precision, square), b = arena.take(precision, square),
               out = arena.take(precision, square);
  fill_random(backend, a, 1);
  fill_random(backend, b, 1);
  const double seconds = watch.seconds_per_call([&] { backend.matmul(out, a, b, {.transpose_b = true}); });
  ceilings.matmul_flops_per_second = 2 * std::pow(static_cast<double>(matrix), 3) / seconds;
  return ceilings;
}

std::vector<Measurement> measure_all_reduce(Backend& backend, Communicator& world, Arena& arena,
                                            double least_seconds) {
  std::vector<Measurement> measurements;
  Arena::Scope scope(arena);
  const Stopwatch watch(backend, world, arena, least_seconds);
  const std::int64_t largest = std::int64_t{1} << 26;
  const Tensor x = arena.take(DType::f32, {largest / 4});
  backend.fill(x, 0);
  const double links = 2.0 * (world.size() - 1) / world.size();
  for (std::int64_t bytes = 1 << 12; bytes <= largest; bytes <<= 2) {
    const Tensor part = x.rows(0, bytes / 4);
    measurements.push_back(
        {"all-reduce", fmt::format("{} ranks", world.size()), fmt::format("{} KiB", bytes >> 10),
         watch.seconds_per_call([&] { world.all_reduce(part); }), links * static_cast<double>(bytes), 0});
  }
  return measurements;
}

std::string print_time(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.1f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.2f} ms", seconds * 1e3);
  return fmt::format("{:.3f} s", seconds);
}

std::string share_of_step(const Measurement& line, const std::vector<Measurement>& measurements) {
  double step = 0;
  for (const Measurement& m : measurements) step += m.calls * m.seconds;
  return line.calls > 0 ? fmt::format("{:.1f}%", 100 * line.calls * line.seconds / step) : "";
}

std::string to_table(const std::vector<Measurement>& measurements, const Ceilings& ceilings) {
  std::string table = fmt::format("{:<32}{:<28}{:>12}{:>10}{:>7}{:>10}{:>7}{:>8}{:>9}\n", "", "shape", "time",
                                  "GB/s", "", "TFLOP/s", "", "calls", "of step");
  std::string group;
  for (const Measurement& m : measurements) {
    if (m.group != group) table += fmt::format("{}{}\n", group.empty() ? "" : "\n", m.group);
    group = m.group;
    const double copy = m.group == "all-reduce" ? 0 : ceilings.copy_bytes_per_second;
    table += fmt::format("  {:<30}{:<28}{:>12}{}{}{:>8}{:>9}\n", m.name, m.shape, print_time(m.seconds),
                         rate(m.bytes / m.seconds, 1e9, copy),
                         rate(m.flops / m.seconds, 1e12, ceilings.matmul_flops_per_second),
                         m.calls > 0 ? fmt::format("{:.6g}", m.calls) : "", share_of_step(m, measurements));
  }
  return table;
}

}  // namespace chorus
