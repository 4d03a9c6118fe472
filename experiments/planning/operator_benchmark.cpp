#include <numeric>

#include "core/formats/quantise.h"
#include "experiments/planning/benchmark.h"
#include "experiments/planning/random_values.h"
#include "experiments/planning/stopwatch.h"
#include "ops/transfer.h"

namespace chorus {

namespace {

// Measures operators one after another; each takes its tensors and gives them back.
class OperatorBenchmark {
 public:
  OperatorBenchmark(const BenchmarkShape& shape, Backend& backend, Communicator& world, Arena& arena,
                    double least_seconds)
      : shape_(shape),
        model_(shape.model),
        backend_(backend),
        arena_(arena),
        watch_(backend, world, arena, least_seconds) {}

  std::vector<Measurement> run() {
    products();
    weights_in_few_bits();
    low_rank_paths();
    attention();
    element_wise();
    rows();
    loss();
    optimizer();
    return std::move(measurements_);
  }

 private:
  DType acc() const { return accumulator(shape_.options.precision); }
  Tensor take(const Shape& shape) { return take(shape_.options.precision, shape); }
  Tensor take(DType dtype, const Shape& shape) {
    const Tensor tensor = arena_.take(dtype, shape);
    fill_random(backend_, tensor, 1);
    return tensor;
  }
  void measure(const std::string& group, const std::string& name, const std::string& shape, double bytes,
               double flops, const std::function<void()>& call) {
    measurements_.push_back({group, name, shape, watch_.seconds_per_call(call), bytes, flops});
  }

  // out [m, n] = a [m, k] bᵀ, and the like
  void product(const std::string& name, std::int64_t m, std::int64_t n, std::int64_t k,
               MatmulOptions options) {
    Arena::Scope scope(arena_);
    const Tensor a = take(options.transpose_a ? Shape{k, m} : Shape{m, k});
    const Tensor b = take(options.transpose_b ? Shape{n, k} : Shape{k, n});
    const Tensor out = take(options.transpose_a ? acc() : shape_.options.precision, {m, n});
    const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
    measure("matmul", name, fmt::format("[{}, {}] x [{}, {}]", m, k, k, n), bytes_of({a, b, out}), flops,
            [&] { backend_.matmul(out, a, b, options); });
  }

  void products() {
    const std::int64_t n = shape_.tokens, d = model_.hidden_size, f = model_.intermediate_size,
                       r = shape_.lora.rank;
    product("q, k, v, o", n, d, d, {.transpose_b = true});
    product("gate, up", n, f, d, {.transpose_b = true});
    product("down", n, d, f, {.transpose_b = true});
    product("dx of gate, up", n, d, f, {});
    product("adapter u B", n, d, r, {.transpose_b = true, .accumulate = true, .scale = 2});
    product("adapter dy B", n, r, d, {});
    product("adapter dB", d, r, n, {.transpose_a = true, .accumulate = true});
    product("head", std::min<std::int64_t>(n, VocabularyHead::rows_per_chunk), model_.vocabulary_size, d,
            {.transpose_b = true});
  }

  // The weight of down is read back before each product with it.
  void weights_in_few_bits() {
    for (const Quantisation kind : {Quantisation::int8, Quantisation::nf4}) {
      Arena::Scope scope(arena_);
      const Shape shape{model_.hidden_size, model_.intermediate_size};
      const QuantisedMatrix matrix =
          take_quantised(arena_, kind, {"down", shape, 0, {0, shape[0]}}, upload_levels(backend_, arena_));
      fill_random(backend_, matrix, 1);
      const Tensor out = take(shape);
      measure("dequantise", std::string(name(kind)), fmt::format("[{}, {}]", shape[0], shape[1]),
              static_cast<double>(matrix.bytes()) + bytes_of({out}), 0,
              [&] { backend_.dequantise(out, matrix); });
      const Tensor row = take({1, shape[1]}), product = take({1, shape[0]});
      measure("dequantise", std::string(name(kind)) + ", product of a row",
              fmt::format("1 x {} x {}", shape[1], shape[0]), static_cast<double>(matrix.bytes()),
              2 * static_cast<double>(shape.elements()),
              [&] { backend_.matmul_quantised(product, row, matrix, out); });
    }
  }

  // What adapters do with the input of q, k, v; of gate, up; of o; of down.
  void low_rank_paths() {
    const std::int64_t d = model_.hidden_size, f = model_.intermediate_size;
    low_rank_paths_of(d, 3, 0);
    low_rank_paths_of(d, 2, 0);
    low_rank_paths_of(d, 1, 0);
    low_rank_paths_of(f, 1, 0);
    low_rank_paths_of(d, 3, 0.1F);
    low_rank_paths_of(f, 1, 0.1F);
  }

  void low_rank_paths_of(std::int64_t inputs, int count, float dropout) {
    Arena::Scope scope(arena_);
    const std::int64_t n = shape_.tokens, r = shape_.lora.rank;
    const Tensor x = take({n, inputs}), scratch = take({n, inputs});
    std::vector<std::int64_t> ids(static_cast<std::size_t>(n));
    std::iota(ids.begin(), ids.end(), 0);
    const Tensor token_ids = upload_integers(backend_, arena_, ids);
    std::vector<LowRankDown> down;
    std::vector<LowRankInputGradient> input;
    std::vector<LowRankFactorGradient> factor;
    for (int i = 0; i < count; ++i) {
      const DropoutMask mask{.probability = dropout, .seed = 1, .stream = static_cast<std::uint32_t>(i)};
      const Tensor a = take({r, inputs}), u = take({n, r}), da = take(acc(), {r, inputs});
      down.push_back({u, a, mask});
      input.push_back({u, a, mask});
      factor.push_back({da, u, mask});
    }
    const std::string group = dropout > 0 ? "low-rank paths, dropout" : "low-rank paths";
    const std::string shape = fmt::format("[{}, {}], {} of {}", n, inputs, count, r);
    const double flops = 2.0 * count * static_cast<double>(n * inputs * r);
    measure(group, "x A", shape, bytes_of({x}), flops,
            [&] { backend_.low_rank_down(down, x, token_ids, scratch); });
    measure(group, "dx += du A", shape, bytes_of({x, x}), flops,
            [&] { backend_.low_rank_input_gradient(x, input, token_ids, scratch); });
    measure(group, "dA", shape, bytes_of({x}), flops,
            [&] { backend_.low_rank_factor_gradient(factor, x, token_ids, scratch); });
  }

  void attention() {
    attention_over("one sequence", single_sequence(static_cast<std::int32_t>(shape_.tokens)));
    attention_over(fmt::format("sequences of {}", shape_.sequence_length), dialogues(shape_).forest);
    Arena::Scope scope(arena_);
    const std::int64_t sequences = 32, cached = std::min<std::int64_t>(shape_.tokens, 1024);
    const Tensor q = take({sequences, model_.query_heads, model_.head_width}), out = take(q.shape());
    const Tensor k = take({sequences, cached, model_.key_value_heads, model_.head_width}),
                 v = take(k.shape());
    const Tensor lengths = upload_integers(
        backend_, arena_,
        std::vector<std::int32_t>(static_cast<std::size_t>(sequences), static_cast<std::int32_t>(cached)));
    measure("attention", "cached, one token", fmt::format("{} sequences of {}", sequences, cached),
            bytes_of({q, k, v, out}), 4.0 * static_cast<double>(q.elements() * cached),
            [&] { backend_.cached_attention(out, q, k, v, lengths); });
  }

  void attention_over(const std::string& what, const Forest& forest) {
    Arena::Scope scope(arena_);
    const Shape queries{shape_.tokens, model_.query_heads, model_.head_width};
    const Shape keys{shape_.tokens, model_.key_value_heads, model_.head_width};
    const Tensor q = take(queries), k = take(keys), v = take(keys), out = take(queries), dout = take(queries);
    const Tensor dq = take(queries), dk = take(keys), dv = take(keys);
    const Tensor lse = take(acc(), {shape_.tokens, model_.query_heads});
    const double flops =
        4.0 * static_cast<double>(model_.query_heads * model_.head_width * forest.attended_pairs());
    measure("attention", "forward", what, bytes_of({q, k, v, out, lse}), flops,
            [&] { backend_.attention(out, lse, q, k, v, forest); });
    measure("attention", "backward", what, bytes_of({q, k, v, out, dout, lse, dq, dk, dv}), 2.5 * flops,
            [&] { backend_.attention_backward(dq, dk, dv, dout, out, lse, q, k, v, forest); });
  }

  void element_wise() {
    Arena::Scope scope(arena_);
    const std::int64_t n = shape_.tokens, d = model_.hidden_size, f = model_.intermediate_size;
    const std::string residual = fmt::format("[{}, {}]", n, d), wide = fmt::format("[{}, {}]", n, f);
    const Tensor x = take({n, d}), y = take({n, d}), z = take({n, d}), weight = take({d});
    const Tensor rstd = take(acc(), {n}), full = take(acc(), {n, d});
    measure("element-wise", "add", residual, bytes_of({x, y, z}), 0, [&] { backend_.add(z, x, y); });
    measure("element-wise", "add_bias", residual, bytes_of({z, z}), 0, [&] { backend_.add_bias(z, weight); });
    measure("element-wise", "convert from f32", residual, bytes_of({full, x}), 0,
            [&] { backend_.convert(x, full); });
    measure("element-wise", "rms_norm", residual, bytes_of({x, y, rstd}), 0,
            [&] { backend_.rms_norm(y, rstd, x, weight, 1e-5); });
    measure("element-wise", "rms_norm backward", residual, bytes_of({x, y, z, z}), 0,
            [&] { backend_.rms_norm_backward(z, y, x, weight, rstd); });
    std::vector<std::int64_t> ids(static_cast<std::size_t>(n));
    std::iota(ids.begin(), ids.end(), 0);
    const Tensor token_ids = upload_integers(backend_, arena_, ids);
    const DropoutMask mask{.probability = 0.1F, .seed = 1};
    measure("element-wise", "dropout", residual, bytes_of({x, y}), 0,
            [&] { backend_.dropout(y, x, token_ids, mask); });
    const Tensor gate = take({n, f}), up = take({n, f}), out = take({n, f});
    measure("element-wise", "swiglu", wide, bytes_of({gate, up, out}), 0,
            [&] { backend_.swiglu(out, gate, up); });
    measure("element-wise", "swiglu backward", wide, bytes_of({gate, up, out, gate, up}), 0,
            [&] { backend_.swiglu_backward(gate, up, out, gate, up); });
    const Tensor heads = take({n, model_.query_heads, model_.head_width});
    const Tensor table = arena_.take(acc(), {n, model_.head_width});
    fill_random(backend_, table, 0.5);
    std::vector<std::int32_t> places(ids.begin(), ids.end());
    const Tensor positions = upload_integers(backend_, arena_, places);
    measure("element-wise", "rope", fmt::format("[{}, {}, {}]", n, model_.query_heads, model_.head_width),
            bytes_of({heads, heads}), 0, [&] { backend_.rope(heads, positions, table, Rotation::forward); });
  }

  void rows() {
    Arena::Scope scope(arena_);
    const std::int64_t n = shape_.tokens, d = model_.hidden_size;
    const std::string shape = fmt::format("[{}, {}]", n, d);
    const Tensor x = take({n, d}), y = take({n, d}), table = take({model_.vocabulary_size, d});
    std::vector<std::int32_t> order(static_cast<std::size_t>(n)), words(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      order[i] = static_cast<std::int32_t>(order.size() - 1 - i);
      words[i] = static_cast<std::int32_t>(i * 7919 % static_cast<std::size_t>(model_.vocabulary_size));
    }
    const Tensor reversed = upload_integers(backend_, arena_, order),
                 tokens = upload_integers(backend_, arena_, words);
    measure("rows", "gather", shape, bytes_of({x, y}), 0, [&] { backend_.gather_rows(y, x, reversed); });
    measure("rows", "scatter", shape, bytes_of({x, y}), 0, [&] { backend_.scatter_rows(y, x, reversed); });
    measure("rows", "embed", shape, bytes_of({x, y}), 0, [&] { backend_.embed(y, table, tokens, 0); });
  }

  void loss() {
    Arena::Scope scope(arena_);
    const std::int64_t m = std::min<std::int64_t>(shape_.tokens, VocabularyHead::rows_per_chunk);
    const std::string shape = fmt::format("[{}, {}]", m, model_.vocabulary_size);
    const Tensor logits = take(acc(), {m, model_.vocabulary_size}), lse = take(acc(), {m});
    const Tensor dlogits = take({m, model_.vocabulary_size});
    std::vector<std::int32_t> targets(static_cast<std::size_t>(m));
    std::iota(targets.begin(), targets.end(), 0);
    const Tensor rows = upload_integers(backend_, arena_, targets),
                 tokens = upload_integers(backend_, arena_, targets), weights = take(acc(), {m});
    backend_.fill(weights, 1);
    measure("loss", "log_sum_exp", shape, bytes_of({logits}), 0, [&] { backend_.log_sum_exp(lse, logits); });
    measure("loss", "cross entropy backward", shape, bytes_of({logits, dlogits}), 0,
            [&] { backend_.cross_entropy_backward(dlogits, logits, lse, rows, tokens, weights, 0, 1); });
  }

  void optimizer() {
    Arena::Scope scope(arena_);
    // The adapters of all projections have so many parameters.
    const std::int64_t count =
        model_.layers * shape_.lora.rank * (11 * model_.hidden_size + 3 * model_.intermediate_size);
    const std::string shape = fmt::format("[{}]", count);
    const Tensor value = take(acc(), {count}), m = take(acc(), {count}), v = take(acc(), {count});
    const Tensor gradient = take(acc(), {count}), sum = take(acc(), {1});
    backend_.fill(v, 1);
    measure("optimizer", "sum of squares", shape, bytes_of({gradient}), 0,
            [&] { backend_.sum_of_squares(sum, gradient); });
    measure("optimizer", "AdamW", shape, bytes_of({value, value, m, m, v, v, gradient}), 0,
            [&] { backend_.adamw(value, m, v, gradient, {.learning_rate = 1e-6}); });
  }

  const BenchmarkShape& shape_;
  const ModelConfig& model_;
  Backend& backend_;
  Arena& arena_;
  Stopwatch watch_;
  std::vector<Measurement> measurements_;
};

}  // namespace

std::vector<Measurement> measure_operators(const BenchmarkShape& shape, Backend& backend, Communicator& world,
                                           Arena& arena, double least_seconds) {
  Arena::Scope scope(arena);
  return OperatorBenchmark(shape, backend, world, arena, least_seconds).run();
}

}  // namespace chorus
