#include <algorithm>

#include "experiments/planning/stopwatch.h"
#include "launch/commands/commands.h"
#include "launch/commands/model_setup.h"
#include "launch/process/gpu_report.h"
#include "launch/process/system_facts.h"
#include "launch/process/version.h"
#include "parallel/host_values.h"
#include "parallel/mpi_library.h"
#include "parallel/mpi_session.h"

namespace chorus::command {

namespace {

struct Options {
  std::string output = ".";
  double least_seconds = 0.05;
  RuntimeOptions runtime;
};

// How many ranks share this one's machine.
int ranks_here(Communicator& world, const std::string& host) {
  const std::vector<std::string> hosts = gather_texts(world, host);
  return static_cast<int>(std::count(hosts.begin(), hosts.end(), host));
}

std::vector<Finding> examine_gpus(const GpuReport& report, DeviceKind wanted) {
  std::string gpus;
  for (const std::string& gpu : report.gpus) gpus += fmt::format("{}{}", gpus.empty() ? "" : "; ", gpu);
  Finding finding{"GPUs", gpus.empty() ? "none" : gpus};
  if (!report.problem.empty()) {
    finding.level = wanted == DeviceKind::cuda ? Finding::Level::stop : Finding::Level::fine;
    (wanted == DeviceKind::cuda || !report.gpus.empty() ? finding.advice : finding.value) = report.problem;
  }
  return {finding, {"CUDA", report.versions}};
}

std::vector<Finding> examine_mpi(int ranks) {
  std::string transport;
  if (started_by_mpi()) {
    for (const auto& [name, value] : mpi_transport())
      transport += fmt::format(", {} {}", name, value.empty() ? "any" : value);
  }
  return {{"MPI", mpi_library_version()},
          {"ranks", started_by_mpi() ? fmt::format("{}{}", ranks, transport) : "1, without a launcher"}};
}

// Times of sums over all ranks, of 4 KiB and of 16 MiB.
Finding measure_sums(Runtime& runtime, double least_seconds) {
  Communicator& world = runtime.groups().groups().world;
  double small = 0, large = 0;
  const auto measure = [&](Backend& backend, Communicator& ranks, Arena& arena, double seconds) {
    const Stopwatch watch(backend, ranks, arena, seconds);
    const Tensor x = arena.take(DType::f32, {std::int64_t{1} << 22});
    backend.fill(x, 0);
    small = watch.seconds_per_call([&] { ranks.all_reduce(x.rows(0, 1024)); });
    large = watch.seconds_per_call([&] { ranks.all_reduce(x); });
  };
  Arena arena(runtime.backend(), memory_of(measure, world.size()), "measuring");
  measure(runtime.backend(), world, arena, least_seconds);
  const double carried = 2.0 * (world.size() - 1) / world.size() * (1 << 24);
  return examine_all_reduce(carried / large, small, world.size());
}

std::string line(const Finding& finding) {
  const char* mark = finding.level == Finding::Level::stop     ? "STOP"
                     : finding.level == Finding::Level::advice ? "!"
                                                               : "";
  return fmt::format("{:<5}{:<15} {}{}\n", mark, finding.what, finding.value,
                     finding.advice.empty() ? "" : fmt::format(" -> {}", finding.advice));
}

// What the first rank found, and of the others only what is wrong there and not with it.
std::string to_text(const std::vector<std::vector<Finding>>& ranks) {
  std::string text;
  for (const Finding& finding : ranks[0]) text += line(finding);
  for (std::size_t rank = 1; rank < ranks.size(); ++rank) {
    for (const Finding& finding : ranks[rank]) {
      const bool known = std::any_of(ranks[0].begin(), ranks[0].end(), [&](const Finding& first) {
        return first.what == finding.what && first.advice == finding.advice;
      });
      if (finding.level != Finding::Level::fine && !known)
        text += fmt::format("rank {}: {}", rank, line(finding));
    }
  }
  return text;
}

ExitCode run(const Options& options, const MakeRuntime& make_runtime) {
  RuntimeOptions on_cpu = options.runtime;
  on_cpu.device = DeviceKind::cpu;
  std::unique_ptr<Runtime> runtime = make_runtime(on_cpu, {});
  Communicator& world = runtime->groups().groups().world;
  const GpuReport gpus = report_gpus();
  const bool use_gpus = options.runtime.device != DeviceKind::cpu && gpus.problem.empty();

  SystemFacts facts = read_system(options.output, 1);
  facts.ranks_here = ranks_here(world, facts.host);
  std::vector<Finding> findings = examine(facts, {.gpu = use_gpus, .threads = options.runtime.threads});
  for (const std::vector<Finding>& more :
       {examine_gpus(gpus, options.runtime.device), examine_mpi(world.size())})
    findings.insert(findings.end(), more.begin(), more.end());

  std::vector<std::vector<Finding>> ranks;
  for (const std::string& text : gather_texts(world, print_findings(findings)))
    ranks.push_back(parse_findings(text));
  // The GPUs are only taken where every rank can have one, so that none waits for another.
  const std::vector<std::string> with_gpu = gather_texts(world, use_gpus ? "GPU" : "");
  if (std::count(with_gpu.begin(), with_gpu.end(), "GPU") == world.size())
    runtime = make_runtime(options.runtime, {});
  if (runtime->groups().grid().size() > 1) ranks[0].push_back(measure_sums(*runtime, options.least_seconds));

  const auto count = [&](Finding::Level level) {
    std::ptrdiff_t sum = 0;
    for (const std::vector<Finding>& rank : ranks) {
      sum += std::count_if(rank.begin(), rank.end(), [&](const Finding& f) { return f.level == level; });
    }
    return sum;
  };
  const bool stops = count(Finding::Level::stop) > 0;
  runtime->console().print(fmt::format("chorus {}\n{}{}", version(), to_text(ranks),
                                       stops ? "a run would stop: change what is marked STOP\n"
                                       : count(Finding::Level::advice) > 0
                                           ? "a run would work; what is marked ! could be better\n"
                                           : "nothing is wrong\n"));
  return stops ? ExitCode::configuration : ExitCode::done;
}

}  // namespace

ExitCode doctor(const Arguments& arguments) {
  return run_on_ranks("chorus doctor", [&](const MakeRuntime& make_runtime) {
    Options options;
    OptionTable table("doctor",
                      "says what this machine and its ranks have, and what would stop or slow a run");
    table.add("output", options.output, "folder that a run would write to").shown_as("DIR");
    table.add("seconds", options.least_seconds, "for which a sum over the ranks is repeated, three times")
        .more_than(0);
    add_ranks(table, options.runtime);
    if (!table.parse(arguments)) return ExitCode::done;
    return run(options, make_runtime);
  });
}

}  // namespace chorus::command
