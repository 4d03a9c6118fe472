#include "experiments/planning/benchmark.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/formats/quantise.h"
#include "core/model/flops.h"
#include "core/planning/model_setup.h"
#include "core/training/training_step.h"
#include "experiments/planning/timed_backend.h"
#include "ops/base/clock.h"
#include "ops/transfer.h"

namespace chorus {

namespace {

// Random, so that a GPU's power and clocks are those of real work; one block over and over, so that it is made soon.
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

void fill_random(Backend& backend, Tensor tensor, double bound) {
  std::vector<float> block = random_block();
  for (float& value : block) value *= static_cast<float>(bound);
  const Tensor flat = tensor.reshape({tensor.elements()});
  const std::int64_t first = std::min(flat.elements(), std::ssize(block));
  upload_floats(backend, flat.rows(0, first), std::span(block).first(static_cast<std::size_t>(first)));
  repeat(backend, flat, first);
}

void fill_bytes(Backend& backend, Tensor tensor, const std::vector<std::uint8_t>& bytes) {
  const Tensor flat = tensor.reshape({tensor.elements()});
  const std::int64_t first = std::min(flat.elements(), std::ssize(bytes));
  backend.upload(flat.rows(0, first), bytes.data());
  repeat(backend, flat, first);
}

// All codes, and one scale for them: blocks have the mean, to which the middle one of the dynamic levels adds nothing.
void fill_quantised(Backend& backend, const QuantisedMatrix& part, double bound) {
  std::vector<std::uint8_t> codes;
  for (const float value : random_block()) codes.push_back(static_cast<std::uint8_t>(127.5F * (value + 1)));
  fill_bytes(backend, part.codes, codes);
  backend.fill(part.scales, part.kind == Quantisation::int8 ? bound / 127 : bound);
  if (part.kind == Quantisation::nf4)
    fill_bytes(backend, part.scale_codes, {QuantisedMatrix::dynamic_levels / 2 - 1});
}

double bytes_of(std::initializer_list<ConstTensor> tensors) {
  return std::accumulate(tensors.begin(), tensors.end(), 0.0, [](double sum, const ConstTensor& tensor) {
    return sum + static_cast<double>(tensor.bytes());
  });
}

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

// Dialogues of equal length whose last tokens are asked for.
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
      fill_quantised(backend_, matrix, 1);
      const Tensor out = take(shape);
      measure("dequantise", std::string(name(kind)), fmt::format("[{}, {}]", shape[0], shape[1]),
              static_cast<double>(matrix.bytes()) + bytes_of({out}), 0,
              [&] { backend_.dequantise(out, matrix); });
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

// The bound of values that keep activations near 1 through many layers.
double bound_of(const ModelTensor& tensor) { return 1 / std::sqrt(static_cast<double>(tensor.shape[1])); }

void fill_weight(Backend& backend, const ModelTensor& tensor, Tensor part) {
  if (tensor.is_norm()) return backend.fill(part, 1);
  if (tensor.role == TensorRole::bias) return backend.fill(part, 0);
  fill_random(backend, part, bound_of(tensor));
}

double steps(const CallTimes& times) { return static_cast<double>(times.runs()); }

// Of one step of those that were timed, the longest first.
void add_calls(std::vector<Measurement>& measurements, const CallTimes& times) {
  std::vector<CallTimes::Total> totals = times.totals();
  std::ranges::stable_sort(totals, std::ranges::greater(), &CallTimes::Total::seconds);
  for (const CallTimes::Total& total : totals) {
    const auto calls = static_cast<double>(total.calls);
    measurements.push_back({step_group, total.name, total.shape, total.seconds / calls, total.bytes / calls,
                            total.flops / calls, calls / steps(times)});
  }
  measurements.push_back({step_group, "between calls", "", times.seconds_between() / steps(times), 0, 0, 1});
}

std::string rate(double per_second, double unit, double ceiling) {
  if (per_second == 0) return fmt::format("{:>10}{:>7}", "", "");
  const std::string share = ceiling > 0 ? fmt::format("{:.0f}%", 100 * per_second / ceiling) : "";
  return fmt::format("{:>10.2f}{:>7}", per_second / unit, share);
}

}  // namespace

Stopwatch::Stopwatch(Backend& backend, Communicator& world, Arena& arena, double least_seconds)
    : backend_(backend), world_(world), flag_(arena.take(DType::i32, {1})), least_seconds_(least_seconds) {
  backend.fill(flag_, 0);
}

double Stopwatch::seconds_of(std::int32_t calls, const std::function<void()>& call) const {
  std::int32_t flag = 0;
  world_.barrier();
  const Clock clock;
  for (std::int32_t i = 0; i < calls; ++i) call();
  backend_.download(&flag, flag_);
  return clock.seconds();
}

std::int32_t Stopwatch::agree(std::int32_t calls) const {
  backend_.upload(flag_, &calls);
  world_.broadcast(flag_, 0);
  backend_.download(&calls, flag_);
  return calls;
}

double Stopwatch::seconds_per_call(const std::function<void()>& call) const {
  const double first = seconds_of(1, call);  // also what is made once: plans, tile lists
  if (least_seconds_ == 0) return first;
  const double warm = std::max(seconds_of(1, call), 1e-7);
  const std::int32_t calls = agree(static_cast<std::int32_t>(std::ceil(least_seconds_ / warm)));
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < 3; ++round) best = std::min(best, seconds_of(calls, call));
  return best / calls;
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

std::vector<Measurement> measure_operators(const BenchmarkShape& shape, Backend& backend, Communicator& world,
                                           Arena& arena, double least_seconds) {
  Arena::Scope scope(arena);
  return OperatorBenchmark(shape, backend, world, arena, least_seconds).run();
}

std::vector<Measurement> measure_training_step(const BenchmarkShape& shape, Backend& device, Groups given,
                                               StreamClock& clock, double least_seconds) {
  CallTimes times(clock);
  TimedBackend backend(device, times);
  CallTimingCommunicator world(given.world, times), data(given.data, times), tensor(given.tensor, times);
  const Groups groups{given.grid, world, data, tensor};
  ModelOptions options = shape.options;
  options.lora = shape.lora;
  BaseSetup base(shape.model, options, backend, groups);
  ModelSetup setup(base, options, {.tokens = shape.tokens, .training = true});
  base.llama.fill([&](const ModelTensor& tensor, Tensor part) { fill_weight(backend, tensor, part); },
                  [&](const ModelTensor& tensor, const QuantisedMatrix& part) {
                    fill_quantised(backend, part, bound_of(tensor));
                  });
  setup.model.adapters().initialise();
  TrainingStep step(setup.model, setup.optimizer, setup.activations);

  Arena agreements(backend, 1 << 10, "stopwatch");
  const Stopwatch watch(backend, world, agreements, least_seconds);
  const MicroBatch microbatch = dialogues(shape);
  const StepWork work{shape.tokens, std::ssize(microbatch.targets), microbatch.forest.attended_pairs()};
  const double flops = training_flops(shape.model, options, work) / groups.grid.tensor_size;
  const std::string what = fmt::format("{} layers, {} tokens a rank", shape.model.layers, shape.tokens);
  const auto score = [&] {
    Arena::Scope scope(setup.activations);
    const DeviceBatch batch = setup.model.upload(microbatch, setup.activations);
    setup.model.score(
        setup.activations.take(accumulator(shape.options.precision), {std::ssize(microbatch.targets)}), batch,
        setup.activations);
  };
  const auto compute = [&] { step.accumulate(microbatch, 1e-3, 0); };
  const auto update = [&] {
    step.gradient_norm();
    step.update({.learning_rate = 1e-6});
    step.begin();
  };
  std::vector<Measurement> measurements;
  const auto measure = [&](const std::string& name, double flops_of_it, const std::function<void()>& call) {
    measurements.push_back({"training step", name, what, watch.seconds_per_call(call), 0, flops_of_it});
  };
  measure("forward", 0, score);
  measure("forward and backward", flops, compute);
  measure("sum of gradients", 0, [&] { step.reduce(); });
  measure("norm and update", 0, update);
  const auto whole = [&] {
    compute();
    step.reduce();
    update();
  };
  measure("whole", flops, whole);
  const auto timed = [&] {
    times.begin();
    whole();
    times.end();
  };
  timed();
  times.forget();  // what is made once: events
  watch.seconds_per_call(timed);
  measurements.push_back(
      {"training step", "whole, each call timed", what, times.seconds() / steps(times), 0, flops});
  add_calls(measurements, times);
  return measurements;
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
