#include "launch/process/system_facts.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "data/text/text.h"

namespace chorus {

namespace {

constexpr std::int64_t mebi = 1 << 20, gibi = 1 << 30;

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string whole_file(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Busy and all ticks of each core since the machine was started; what the host of a virtual machine took (steal) is busy.
std::map<int, std::pair<std::int64_t, std::int64_t>> ticks_of_cores(const std::string& stat) {
  std::map<int, std::pair<std::int64_t, std::int64_t>> ticks;
  for (const std::string& line : split_lines(stat)) {
    if (!line.starts_with("cpu") || line.starts_with("cpu ")) continue;
    std::istringstream words(line.substr(3));
    int core = 0;
    std::int64_t user = 0, nice = 0, system = 0, idle = 0, waiting = 0, interrupts = 0, soft = 0, steal = 0;
    if (words >> core >> user >> nice >> system >> idle >> waiting >> interrupts >> soft >> steal) {
      const std::int64_t busy = user + nice + system + interrupts + soft + steal;
      ticks[core] = {busy, busy + idle + waiting};
    }
  }
  return ticks;
}

// The value behind "KEY :" in files of /proc.
std::string field(const std::filesystem::path& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (!line.starts_with(key) || colon == std::string::npos) continue;
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

std::int64_t number_or(const std::string& text, std::int64_t otherwise) {
  std::istringstream in(text);
  std::int64_t value = 0;
  return in >> value ? value : otherwise;
}

std::int64_t limit_of(decltype(RLIMIT_NOFILE) which) {
  rlimit limit{};
  if (getrlimit(which, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return SystemFacts::unlimited;
  return static_cast<std::int64_t>(limit.rlim_cur);
}

std::int64_t free_on(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(path, error);
  return error ? 0 : static_cast<std::int64_t>(space.available);
}

// "always [madvise] never"
std::string chosen_word(const std::string& words) {
  const std::size_t open = words.find('['), close = words.find(']');
  if (open == std::string::npos || close == std::string::npos) return "unknown";
  return words.substr(open + 1, close - open - 1);
}

void read_processor(SystemFacts& facts) {
  facts.processor = processor_name();
  const std::string flags = fmt::format(" {} ", field("/proc/cpuinfo", "flags"));
  const auto has = [&](std::string_view flag) {
    return flags.find(fmt::format(" {} ", flag)) != std::string::npos;
  };
  facts.avx2 = has("avx2");
  facts.avx512 = has("avx512f");
  facts.avx512_bf16 = has("avx512_bf16");
  facts.amx_bf16 = has("amx_bf16");
  facts.bf16_products = fastest_bf16_products();
  facts.online_cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::set<int> cores;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &allowed)) cores.insert(core);
    }
  }
  facts.allowed_cores = cores.empty() ? facts.online_cores : static_cast<int>(cores.size());
  const std::string before = whole_file("/proc/stat");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  facts.busy_cores = busy_between(before, whole_file("/proc/stat"), cores);
}

std::string gib(std::int64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / static_cast<double>(gibi));
}
std::string limit_text(std::int64_t bytes) {
  return bytes == SystemFacts::unlimited ? "unlimited" : fmt::format("{} KiB", bytes / 1024);
}

Finding cores(const SystemFacts& facts, const IntendedRun& run) {
  Finding finding{"cores", fmt::format("{}, {} for this rank, {} ranks here, {:.1f} busy", facts.online_cores,
                                       facts.allowed_cores, facts.ranks_here, facts.busy_cores)};
  const bool bound = facts.allowed_cores < facts.online_cores;
  const int share = bound ? facts.allowed_cores : facts.online_cores / facts.ranks_here;
  if (run.threads > 0 && share < run.threads) {
    finding.level = Finding::Level::advice;
    finding.advice = fmt::format("--threads {} is more than the {} cores of a rank: {}", run.threads, share,
                                 bound ? "give mpirun --bind-to none" : "start fewer ranks or threads");
  } else if (facts.ranks_here > facts.online_cores) {
    finding.level = Finding::Level::advice;
    finding.advice = "waiting ranks keep a core busy: start at most one per core";
  } else if (bound && facts.allowed_cores * facts.ranks_here < facts.online_cores && !run.gpu) {
    finding.level = Finding::Level::advice;
    finding.advice =
        fmt::format("{} cores stay idle: give mpirun --bind-to none (Open MPI ties a rank to one core)",
                    facts.online_cores - facts.allowed_cores * facts.ranks_here);
  } else if (facts.busy_cores >= 0.5 && !run.gpu) {
    const int wanted =
        std::min((run.threads > 0 ? run.threads : std::max(1, share)) * (bound ? 1 : facts.ranks_here),
                 facts.allowed_cores);
    if (wanted + facts.busy_cores >= facts.allowed_cores + 0.5) {
      finding.level = Finding::Level::advice;
      finding.advice = fmt::format(
          "other programs keep {:.1f} of {} cores busy, and a step waits for the slowest thread: end them, "
          "or "
          "leave them their cores (--threads)",
          facts.busy_cores, facts.allowed_cores);
    }
  }
  return finding;
}

Finding instructions(const SystemFacts& facts, const IntendedRun& run) {
  std::string have;
  const auto say = [&](bool there, const char* name) {
    if (there) have += fmt::format("{}{}", have.empty() ? "" : ", ", name);
  };
  say(facts.avx2, "AVX2");
  say(facts.avx512, "AVX-512");
  say(facts.avx512_bf16, "AVX-512 bf16");
  say(facts.amx_bf16, "AMX bf16");
  Finding finding{"instructions",
                  fmt::format("{}; bf16 products by {}", have.empty() ? "none of AVX2, AVX-512, AMX" : have,
                              name(facts.bf16_products))};
  if (!run.gpu && !facts.avx2) {
    finding.level = Finding::Level::advice;
    finding.advice = "a run on this CPU will be slow: choose a machine with AVX2 or AVX-512";
  }
  return finding;
}

std::vector<Finding> memory(const SystemFacts& facts) {
  Finding free{"memory", fmt::format("{} free of {}", gib(facts.free_memory), gib(facts.memory))};
  if (facts.free_memory < gibi) {
    free.level = Finding::Level::advice;
    free.advice = "less than 1 GiB is free: end other programs, or see what `chorus plan` says of the run";
  }
  std::vector<Finding> findings{free};
  if (facts.memory_limit != SystemFacts::unlimited && facts.memory_limit < facts.memory) {
    findings.push_back({"memory limit", gib(facts.memory_limit), Finding::Level::advice,
                        "the job's control group ends it above that: ask the scheduler for more (--mem)"});
  }
  Finding pages{"huge pages", facts.huge_pages};
  if (facts.huge_pages == "never") {
    pages.level = Finding::Level::advice;
    pages.advice = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled lets memory-bound work gain";
  }
  findings.push_back(pages);
  return findings;
}

std::vector<Finding> limits(const SystemFacts& facts, const IntendedRun& run) {
  Finding locked{"locked memory", limit_text(facts.locked_limit)};
  if (run.gpu && facts.locked_limit != SystemFacts::unlimited && facts.locked_limit < 64 * mebi) {
    locked.level = Finding::Level::advice;
    locked.advice =
        "InfiniBand needs more: ulimit -l unlimited (in Slurm: PropagateResourceLimitsExcept=MEMLOCK)";
  }
  Finding files{"open files", facts.file_limit == SystemFacts::unlimited
                                  ? "unlimited"
                                  : fmt::format("{}", facts.file_limit)};
  if (facts.file_limit != SystemFacts::unlimited && facts.file_limit < 1024) {
    files.level = facts.file_limit < 128 ? Finding::Level::stop : Finding::Level::advice;
    files.advice = "ulimit -n 4096: weights, data and each rank's connections are open files";
  }
  Finding shared{"/dev/shm", gib(facts.free_shared_memory) + " free"};
  if (facts.ranks_here > 1 && facts.free_shared_memory < facts.ranks_here * 64 * mebi) {
    shared.level = Finding::Level::advice;
    shared.advice = fmt::format(
        "ranks of a machine exchange through it, {} MiB are wanted: mount it larger, or give "
        "the container --shm-size",
        facts.ranks_here * 64);
  }
  Finding ptrace{"ptrace scope", fmt::format("{}", facts.ptrace_scope)};
  if (facts.ranks_here > 1 && facts.ptrace_scope > 0) {
    ptrace.level = Finding::Level::advice;
    ptrace.advice =
        "ranks cannot read each other's memory, large sums copy twice: sysctl kernel.yama.ptrace_scope=0";
  }
  return {locked, files, shared, ptrace};
}

Finding output(const SystemFacts& facts) {
  Finding finding{"output " + facts.output, gib(facts.output_free) + " free"};
  if (!facts.output_writable) {
    finding.level = Finding::Level::stop;
    finding.advice = "this user may not write there: choose another --output";
  } else if (facts.output_free < 64 * mebi) {
    finding.level = Finding::Level::stop;
    finding.advice = "too little for one checkpoint: free some, or choose another --output";
  } else if (facts.output_free < 4 * gibi) {
    finding.level = Finding::Level::advice;
    finding.advice = "an r 16 checkpoint of 7B takes half a GiB: lower --save-total-limit, or free some";
  }
  return finding;
}

}  // namespace

std::string processor_name() {
  const std::string name = field("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown" : name;
}

SystemFacts read_system(const std::filesystem::path& output, int ranks_here) {
  SystemFacts facts;
  utsname system{};
  uname(&system);
  facts.host = system.nodename;
  facts.ranks_here = ranks_here;
  read_processor(facts);
  facts.memory = 1024 * number_or(field("/proc/meminfo", "MemTotal"), 0);
  facts.free_memory = 1024 * number_or(field("/proc/meminfo", "MemAvailable"), 0);
  for (const char* file : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    if (facts.memory_limit == SystemFacts::unlimited)
      facts.memory_limit = number_or(first_line(file), SystemFacts::unlimited);
  }
  facts.huge_pages = chosen_word(first_line("/sys/kernel/mm/transparent_hugepage/enabled"));
  facts.locked_limit = limit_of(RLIMIT_MEMLOCK);
  facts.file_limit = limit_of(RLIMIT_NOFILE);
  facts.free_shared_memory = free_on("/dev/shm");
  facts.ptrace_scope = static_cast<int>(number_or(first_line("/proc/sys/kernel/yama/ptrace_scope"), 0));
  // A folder that is to be made counts as the first above it that there is.
  std::filesystem::path existing = std::filesystem::absolute(output);
  while (!std::filesystem::exists(existing) && existing.has_relative_path())
    existing = existing.parent_path();
  facts.output = existing.string();
  facts.output_writable = std::filesystem::is_directory(existing) && access(existing.c_str(), W_OK) == 0;
  facts.output_free = free_on(existing);
  return facts;
}

double busy_between(const std::string& before, const std::string& after, const std::set<int>& allowed) {
  const auto start = ticks_of_cores(before);
  double busy = 0;
  for (const auto& [core, now] : ticks_of_cores(after)) {
    const auto then = start.find(core);
    if (then == start.end() || !allowed.contains(core)) continue;
    const std::int64_t all = now.second - then->second.second;
    if (all > 0) busy += static_cast<double>(now.first - then->second.first) / static_cast<double>(all);
  }
  return busy;
}

std::vector<Finding> examine(const SystemFacts& facts, const IntendedRun& run) {
  std::vector<Finding> findings{
      {"machine", facts.host + ", " + facts.processor}, cores(facts, run), instructions(facts, run)};
  for (const std::vector<Finding>& more : {memory(facts), limits(facts, run)})
    findings.insert(findings.end(), more.begin(), more.end());
  findings.push_back(output(facts));
  return findings;
}

Finding examine_all_reduce(double bytes_per_second, double small_seconds, int ranks) {
  Finding finding{"all-reduce", fmt::format("{} ranks: {:.2f} GB/s at 16 MiB, {:.0f} us at 4 KiB", ranks,
                                            bytes_per_second / 1e9, small_seconds * 1e6)};
  if (bytes_per_second < 0.5e9) {
    finding.level = Finding::Level::advice;
    finding.advice =
        "slower than 10 Gb/s Ethernet can be: keep tensor groups within a machine, and see which "
        "interface MPI takes (--mca btl_tcp_if_include)";
  } else if (small_seconds > 1e-3) {
    finding.level = Finding::Level::advice;
    finding.advice = "small sums wait long: more ranks than free cores, or other programs on them";
  }
  return finding;
}

std::string print_findings(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& f : findings)
    text += fmt::format("{}\t{}\t{}\t{}\n", static_cast<int>(f.level), f.what, f.value, f.advice);
  return text;
}

std::vector<Finding> parse_findings(const std::string& text) {
  std::vector<Finding> findings;
  for (const std::string& line : split_lines(text)) {
    std::istringstream parts(line);
    std::string level;
    Finding& finding = findings.emplace_back();
    std::getline(parts, level, '\t');
    std::getline(parts, finding.what, '\t');
    std::getline(parts, finding.value, '\t');
    std::getline(parts, finding.advice, '\t');
    finding.level = static_cast<Finding::Level>(number_or(level, 0));
  }
  return findings;
}

}  // namespace chorus
