#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/planning/benchmark.h"

namespace chorus {

// What `chorus bench --output` writes: one run, to be held against another.
struct BenchmarkRun {
  std::string name;     // for tables: "now", or the file
  std::string version;  // of Chorus; "" where an old file does not say
  std::string machine;  // the line that a run begins with; "" likewise
  Ceilings ceilings;
  std::vector<Measurement> measurements;
};

void write_benchmark(const std::filesystem::path& path, const BenchmarkRun& run);
// Throws DataError with the file and the field.
BenchmarkRun read_benchmark(const std::filesystem::path& path);

// Lines that both runs have, side by side, and how many times as fast the second is; then what only one of them has. Says
// where machine or sizes differ.
std::string comparison_table(const BenchmarkRun& first, const BenchmarkRun& second);

}  // namespace chorus
