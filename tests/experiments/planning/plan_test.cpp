#include "experiments/planning/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/planning/benchmark.h"
#include "tests/support/message_of.h"
#include "tests/support/tiny_model.h"

namespace chorus {
namespace {

using testing::HasSubstr;

constexpr const char* machine_text = R"({
  "name": "test", "memory_gib": 80, "reserved_gib": 1, "communicator_mib": 100,
  "peak_tflops": {"bf16": 100, "f32": 10}, "peak_share": 0.5, "attention_share": 0.25,
  "memory_gb_per_second": 1000, "memory_share": 0.8, "call_us": 0, "gpus_per_node": 4,
  "node_link": {"gb_per_second": 100, "hop_us": 1}, "network": {"gb_per_second": 10, "hop_us": 5}})";

std::string with(const std::string& from, const std::string& to) {
  std::string text = machine_text;
  const std::size_t place = text.find(from);
  return text.replace(place, from.size(), to);
}

TEST(Machines, AreReadWithTheirUnits) {
  const Machine machine = parse_machine(machine_text, "file");
  EXPECT_DOUBLE_EQ(machine.memory_bytes, 80.0 * (1 << 30));
  EXPECT_DOUBLE_EQ(machine.peak_flops(DType::bf16), 1e14);
  EXPECT_DOUBLE_EQ(machine.peak_flops(DType::f32), 1e13);
  EXPECT_DOUBLE_EQ(machine.network.bytes_per_second, 1e10);
  EXPECT_DOUBLE_EQ(machine.network.hop_seconds, 5e-6);
}

TEST(Machines, ShippedOnesCanBeRead) {
  for (const ShippedMachine& shipped : shipped_machines())
    EXPECT_GT(load_machine(shipped.name).bf16_flops, 1e14);
  const std::string message = test::message_of<ConfigurationError>([] { load_machine("a100"); });
  EXPECT_THAT(message, HasSubstr("a100-40"));
}

// Only what is called exactly so: a PCIe card of the same chip has another peak.
TEST(Machines, AreFoundByTheNameOfTheirDevice) {
  const auto peak = [](const char* device) {
    const std::optional<Machine> machine = shipped_machine_of(device);
    return machine ? machine->peak_flops(DType::bf16) : 0;
  };
  EXPECT_EQ(peak("NVIDIA A100-SXM4-40GB"), 312e12);
  EXPECT_EQ(peak("NVIDIA A100-SXM4-80GB"), 312e12);
  EXPECT_EQ(peak("NVIDIA H100 80GB HBM3"), 989e12);
  EXPECT_EQ(peak("NVIDIA H200"), 989e12);
  EXPECT_EQ(peak("NVIDIA L40S"), 362e12);
  for (const char* unknown :
       {"", "NVIDIA H100 PCIe", "NVIDIA H200 NVL", "NVIDIA A100-PCIE-40GB", "NVIDIA H100"})
    EXPECT_EQ(peak(unknown), 0) << unknown;
}

TEST(Machines, MistakesAreNamed) {
  const auto message = [](const std::string& from, const std::string& to) {
    return test::message_of<DataError>([&] { parse_machine(with(from, to), "my.json"); });
  };
  EXPECT_THAT(message("peak_share", "peak_shar"),
              HasSubstr("my.json: unknown field 'peak_shar'; did you mean 'peak_share'?"));
  EXPECT_THAT(message("\"hop_us\": 5", "\"hops\": 5"),
              HasSubstr("my.json: network: unknown field 'hops'; did you mean 'hop_us'?"));
  EXPECT_THAT(message("\"peak_share\": 0.5,", ""), HasSubstr("'peak_share' is missing"));
  EXPECT_THAT(message("\"peak_share\": 0.5", "\"peak_share\": 1.5"),
              HasSubstr("is 1.5, it must be from 0.01 to 1"));
  EXPECT_THAT(message("\"gpus_per_node\": 4", "\"gpus_per_node\": \"4\""),
              HasSubstr("must be a number, is string"));
  EXPECT_THAT(message("\"gpus_per_node\": 4", "\"gpus_per_node\": 2.5"), HasSubstr("must be a whole number"));
}

TEST(AllReduce, TakesARingInTheNodeAndOneAcrossNodes) {
  const Machine machine = parse_machine(machine_text, "file");
  EXPECT_DOUBLE_EQ(all_reduce_seconds(machine, {1, 1}, 1e9), 0);
  EXPECT_DOUBLE_EQ(all_reduce_seconds(machine, {4, 1}, 1e9), 1.5 * 1e9 / 1e11 + 4e-6);
  EXPECT_DOUBLE_EQ(all_reduce_seconds(machine, {1, 2}, 1e9), 1e9 / 1e10 + 10e-6);
  EXPECT_DOUBLE_EQ(all_reduce_seconds(machine, {4, 2}, 1e9), 0.015 + 0.25e9 / 1e10 + 4e-6 + 10e-6);
}

TEST(AllReduce, RanksOfAGridLieOnNodes) {
  const GridPlaces places = places_of({8, 2, 0}, 4);  // 16 ranks on 4 nodes
  EXPECT_EQ(places.tensor.per_node, 2);
  EXPECT_EQ(places.tensor.nodes, 1);
  EXPECT_EQ(places.data.per_node, 2);
  EXPECT_EQ(places.data.nodes, 4);
  EXPECT_EQ(places.world.per_node, 4);
  EXPECT_EQ(places.world.nodes, 4);
}

TEST(PricedBackend, TakesTheLongerOfArithmeticAndTraffic) {
  const Machine machine = parse_machine(machine_text, "file");
  Price price;
  PricedBackend backend(machine, price);
  const Tensor square(DType::bf16, {4096, 4096}, nullptr), thin(DType::bf16, {4096, 16}, nullptr);
  backend.matmul(square, square, square);
  EXPECT_DOUBLE_EQ(price.product_seconds, 2.0 * 4096 * 4096 * 4096 / 5e13);
  price = {};
  backend.matmul(thin, square, thin);
  EXPECT_DOUBLE_EQ(price.memory_seconds, 2.0 * (4096 * 4096 + 2 * 4096 * 16) / 8e11);
  EXPECT_EQ(price.product_seconds, 0);
  EXPECT_EQ(price.calls, 1);
}

TEST(PricedCommunicator, SumsBesideProductsCostWhatIsLeft) {
  const Machine machine = parse_machine(machine_text, "file");
  Price price;
  PricedCommunicator group(machine, price, PricedCommunicator::Use::tensor, {2, 1}, 0, 2);
  const Tensor x(DType::f32, {1 << 20}, nullptr);
  const double alone = all_reduce_seconds(machine, {2, 1}, 1 << 22);
  group.begin_all_reduce(x);
  price.seconds += alone / 4;
  group.finish();
  EXPECT_DOUBLE_EQ(price.seconds, alone);
  EXPECT_DOUBLE_EQ(price.tensor_seconds, 0.75 * alone);
  EXPECT_DOUBLE_EQ(price.tensor_bytes, 1 << 22);
}

PlanRequest request_7b() {
  PlanRequest request;
  request.model = benchmark_model("7b");
  request.train.model.precision = DType::bf16;
  request.train.batches.batch_size = 16;
  request.train.batches.tokens_per_microbatch = 4096;
  request.train.epochs = 1;
  request.machine = load_machine("h100");
  request.ranks = {1};
  return request;
}

// docs/gpu.md adds the same up by hand: 212 ms, 509 TFLOP/s.
TEST(Plan, AgreesWithTheTableOfOperators) {
  const PlanRequest request = request_7b();
  const Plan plan = make_plan(request, even_dataset(16, 256, 16, 32000));
  ASSERT_EQ(plan.grids.size(), 1);
  const GridPlan& grid = plan.grids[0];
  EXPECT_EQ(grid.step_tokens, 4096);
  EXPECT_NEAR(grid.step_seconds, 0.212, 0.1 * 0.212);
  EXPECT_NEAR(static_cast<double>(grid.memory.total()) / (1 << 30), 29.7, 0.1);
  EXPECT_TRUE(grid.fits);
  EXPECT_EQ(plan.cheapest, 0);
}

// Two sums of [N, D] a block and direction, two of the embedding and the head, and what docs/parallelism.md says of
// gradients.
TEST(Plan, CountsWhatRanksSend) {
  PlanRequest request = request_7b();
  request.ranks = {4};
  request.tensor_parallel = 2;
  const Plan plan = make_plan(request, even_dataset(16, 256, 16, 32000));
  const GridPlan& grid = plan.grids.at(0);
  EXPECT_EQ(grid.data, 2);
  EXPECT_EQ(grid.beside.communicators, 3 * 250.0 * (1 << 20)) << "of all ranks, of data and of tensor ranks";
  EXPECT_THAT(to_table(plan),
              HasSubstr("beside: buffers of NCCL (assumed, not measured)                  750.0 MiB"));
  const double tokens = 2048, width = 4096;             // of each of two data ranks
  const double expected = 32 * 4 * tokens * width * 2;  // 2 (P - 1) / P = 1
  EXPECT_NEAR(grid.microbatches.tensor_bytes, expected, 0.01 * expected);
  // r 16: factors over the whole grid are A of q, k, v, gate, up and B of o, down; the others are halved and summed
  // over the data group.
  const double over_all = 32 * 16.0 * (5 * 4096 + 2 * 4096),
               over_data = 32 * 16.0 * (4 * 4096 + 3 * 11008) / 2;
  EXPECT_NEAR(grid.update.gradient_bytes, 4 * (1.5 * over_all + over_data), 0.01 * 4 * over_all);
}

TEST(Plan, RecomputeAndDividedRanksTakeLessMemory) {
  PlanRequest request = request_7b();
  request.machine = load_machine("a100-40");
  request.train.batches.tokens_per_microbatch = 8192;
  const Dataset data = even_dataset(32, 256, 16, 32000);
  const Plan plain = make_plan(request, data);
  EXPECT_FALSE(plain.cheapest) << "46 GiB do not fit";
  EXPECT_THAT(to_table(plain), HasSubstr("nothing fits into"));
  request.train.model.recompute = Recompute::all;
  const Plan again = make_plan(request, data);
  EXPECT_TRUE(again.cheapest);
  EXPECT_GT(again.grids[0].step_seconds, 1.2 * plain.grids[0].step_seconds);
  request.train.model.recompute = Recompute::some;
  const Plan some = make_plan(request, data);
  EXPECT_TRUE(some.cheapest);
  EXPECT_GT(some.grids[0].step_seconds, 1.005 * plain.grids[0].step_seconds);
  EXPECT_LT(some.grids[0].step_seconds, 1.03 * plain.grids[0].step_seconds);
}

TEST(Plan, LooksAtTheRealShards) {
  PlanRequest request;
  request.model = test::tiny_config();
  request.machine = parse_machine(machine_text, "file");
  request.train.batches.batch_size = 7;
  request.train.batches.tokens_per_microbatch = 64;
  request.train.epochs = 2;
  request.train.lora.rank = 3;
  request.ranks = {1, 2, 8};
  request.tensor_parallel = 1;
  const Dataset data = test::random_dataset(20, 37, 5);
  const Plan plan = make_plan(request, data);
  EXPECT_EQ(plan.unshared.tokens, static_cast<double>(data.unshared_tokens()));
  EXPECT_LT(plan.shared.tokens, plan.unshared.tokens);
  EXPECT_LT(plan.shared.flops, plan.unshared.flops);
  EXPECT_EQ(plan.shared.steps, static_cast<double>((std::ssize(data.samples) + 6) / 7));
  EXPECT_EQ(plan.epochs, 2);
  ASSERT_EQ(plan.grids.size(), 3);
  EXPECT_EQ(plan.grids[0].idle_seconds, 0);
  EXPECT_GT(plan.grids[2].idle_seconds, 0) << "seven samples do not busy eight ranks alike";
  EXPECT_LT(plan.grids[1].microbatches.seconds, plan.grids[0].microbatches.seconds);
  EXPECT_THAT(to_table(plan), HasSubstr("separate prompts"));

  // Of two epochs the first takes half of the dialogues.
  request.train.batches.curriculum = 2;
  const Plan shorter = make_plan(request, data);
  EXPECT_EQ(shorter.shared.tokens, plan.shared.tokens);
  const auto steps = static_cast<double>(Batches(data, request.train.batches).epochs().begin(2));
  EXPECT_LT(steps, 2 * plan.shared.steps);
  EXPECT_EQ(shorter.epochs, steps / plan.shared.steps);
}

TEST(Plan, RefusesWhatCannotRun) {
  PlanRequest request = request_7b();
  const auto message = [&](const Dataset& data) {
    return test::message_of<ConfigurationError>([&] { make_plan(request, data); });
  };
  EXPECT_THAT(message(even_dataset(1, 256, 16, 40000)), HasSubstr("40000 tokens"));
  EXPECT_THAT(message(even_dataset(1, 5000, 16, 32000)), HasSubstr("4096 positions"));
  request.tensor_parallel = 3;
  EXPECT_THAT(message(even_dataset(1, 256, 16, 32000)), HasSubstr("--tensor-parallel"));
}

}  // namespace
}  // namespace chorus
