#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "ops/cpu/bf16_products.h"

namespace chorus {

// What a machine tells of itself, as one process sees it. Sizes in bytes.
struct SystemFacts {
  static constexpr std::int64_t unlimited = -1;

  std::string host, processor;
  int online_cores = 1, allowed_cores = 1;  // of the machine; that the launcher left to this process
  double busy_cores = 0;                    // of the latter: what other programs and guests of a host take
  int ranks_here = 1;
  bool avx2 = false, avx512 = false, avx512_bf16 = false, amx_bf16 = false;
  Bf16Products bf16_products = Bf16Products::through_f32;
  std::int64_t memory = 0, free_memory = 0;
  std::int64_t memory_limit = unlimited;  // of the control group
  std::string huge_pages;                 // transparent: "always", "madvise", "never"; "unknown"
  std::int64_t locked_limit = unlimited, file_limit = unlimited;
  std::int64_t free_shared_memory = 0;  // /dev/shm
  int ptrace_scope = 0;                 // of the Yama module; 0 also without it
  std::string output;                   // folder that was asked about, or what exists of its path
  bool output_writable = false;
  std::int64_t output_free = 0;
};

std::string processor_name();  // "unknown" where the system does not tell it

// Takes 200 ms, in which this process sleeps to see what others do.
SystemFacts read_system(const std::filesystem::path& output, int ranks_here);

// How many of the cores in `allowed` (their numbers) were busy between two readings of /proc/stat.
double busy_between(const std::string& before, const std::string& after, const std::set<int>& allowed);

// One line of what `chorus doctor` says. `advice` is empty where nothing is to be changed.
struct Finding {
  enum class Level { fine, advice, stop };  // stop: a run would fail
  std::string what, value;
  Level level = Level::fine;
  std::string advice = {};
  bool operator==(const Finding&) const = default;
};

// What the run needs that is meant to follow.
struct IntendedRun {
  bool gpu = false;
  int threads = 0;  // per rank on a CPU; 0: its share of the cores
};
std::vector<Finding> examine(const SystemFacts& facts, const IntendedRun& run);

// Of an all-reduce of 16 MiB: bytes per second that the slowest link carried.
Finding examine_all_reduce(double bytes_per_second, double small_seconds, int ranks);

// Lines of text that parse_findings() reads, to be sent to other ranks.
std::string print_findings(const std::vector<Finding>& findings);
std::vector<Finding> parse_findings(const std::string& text);

}  // namespace chorus
