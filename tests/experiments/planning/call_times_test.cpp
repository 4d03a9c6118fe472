#include "experiments/planning/call_times.h"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/planning/timed_backend.h"
#include "ops/cpu/cpu_backend.h"
#include "tests/support/every_operator.h"
#include "tests/support/tensors.h"

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

// Says that 1 s passed before its first mark since the last reading, 2 s before the second, ….
class CountingClock final : public StreamClock {
 public:
  void mark() override { ++marks; }
  std::vector<double> intervals() override {
    std::vector<double> seconds(static_cast<std::size_t>(marks - 1));
    std::iota(seconds.begin(), seconds.end(), 1.0);
    marks = 0;
    return seconds;
  }
  int marks = 0;
};

TEST(CallTimes, TellsCallsFromWhatIsBetweenThem) {
  CpuBackend cpu(1);
  CountingClock clock;
  CallTimes times(clock);
  TimedBackend backend(cpu, times);
  IdleCommunicator idle;
  CallTimingCommunicator group(idle, times);
  const DeviceTensor x(cpu, random_tensor(DType::f32, {4, 6}, 1)), y(cpu, DType::f32, {4, 6}),
      square(cpu, DType::f32, {4, 4});
  backend.add(y, x, x);
  EXPECT_EQ(clock.marks, 0) << "outside of a run";
  for (int run = 0; run < 2; ++run) {
    times.begin();                                                            // 1 s
    backend.add(y, x, x);                                                     // 2, 3
    backend.matmul(square, x, y, {.transpose_b = true});                      // 4, 5
    backend.add(y, x, x);                                                     // 6, 7
    group.all_reduce(square);                                                 // 8, 9
    backend.matmul(square, x, y, {.transpose_b = true, .accumulate = true});  // 10, 11
    times.end();
  }
  ASSERT_EQ(times.totals().size(), 4U);
  const CallTimes::Total &add = times.totals()[0], &product = times.totals()[1],
                         &exchange = times.totals()[2], &adding = times.totals()[3];
  EXPECT_EQ(add.name + " " + add.shape, "add [4, 6]");
  EXPECT_EQ(product.name + " " + product.shape, "matmul NT [4, 6, 4]");
  EXPECT_EQ(exchange.name + exchange.shape, "all_reduce");
  EXPECT_EQ(adding.name, "matmul NT +=");
  EXPECT_EQ(add.calls, 4);
  EXPECT_EQ(add.seconds, 2 * (2 + 6));
  EXPECT_EQ(add.bytes, 4 * 3 * 96);
  EXPECT_EQ(add.flops, 0);
  EXPECT_EQ(product.calls, 2);
  EXPECT_EQ(product.seconds, 2 * 4);
  EXPECT_EQ(product.bytes, 2 * (96 + 96 + 64));
  EXPECT_EQ(product.flops, 2 * 2 * 4 * 6 * 4);
  EXPECT_EQ(adding.bytes, 2 * (96 + 96 + 2 * 64));
  EXPECT_EQ(exchange.seconds, 2 * 8);
  EXPECT_EQ(times.runs(), 2);
  EXPECT_EQ(times.seconds(), 2 * 66);
  EXPECT_EQ(times.seconds_between(), 2 * (1 + 3 + 5 + 7 + 9 + 11));

  times.forget();
  times.begin();
  times.end();
  EXPECT_TRUE(times.totals().empty());
  EXPECT_EQ(times.runs(), 1);
  EXPECT_EQ(times.seconds_between(), 1);
}

// Each operator is passed on and timed once, under its name.
TEST(TimedBackend, TimesEveryOperatorAndChangesNoResult) {
  CpuBackend cpu(1);
  const Forest forest = single_sequence(40);
  const std::vector<HostTensor> plain = EveryOperator(cpu, DType::bf16, forest, 8, 50).results(cpu);
  HostStreamClock clock;
  CallTimes times(clock);
  TimedBackend backend(cpu, times);
  const EveryOperator operators(cpu, DType::bf16, forest, 8, 50);
  std::size_t result = 0;
  for (const OperatorCall& call : operators.calls()) {
    times.forget();
    times.begin();
    call(backend);
    times.end();
    ASSERT_EQ(times.totals().size(), 1U) << call.name;
    EXPECT_EQ(times.totals()[0].calls, 1) << call.name;
    EXPECT_GT(times.totals()[0].bytes, 0) << call.name;
    EXPECT_GT(times.totals()[0].seconds, 0) << call.name;
    EXPECT_THAT(times.totals()[0].name, StartsWith(call.name));
    for (const Tensor& output : call.outputs) {
      HostTensor values(output.dtype(), output.shape());
      cpu.download(values.data(), output);
      EXPECT_TRUE(is_same(values, plain[result++])) << call.name;
    }
  }
}

TEST(TimedBackend, TimesCopies) {
  CpuBackend cpu(1);
  HostStreamClock clock;
  CallTimes times(clock);
  TimedBackend backend(cpu, times);
  const HostTensor values = random_tensor(DType::f32, {5}, 1);
  HostTensor back(DType::f32, {5});
  const DeviceTensor x(cpu, DType::f32, {5});
  times.begin();
  backend.upload(x, values.data());
  backend.download(back.data(), x);
  times.end();
  EXPECT_TRUE(is_same(back, values));
  std::vector<std::string> names;
  for (const CallTimes::Total& total : times.totals()) names.push_back(total.name);
  EXPECT_THAT(names, ElementsAre("upload", "download"));
}

}  // namespace
}  // namespace chorus
