#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

enum class JobKind { prepare, train, evaluate };

// One run of a command, as part of many. Its output folder is `folder`/output; beside it stand the log, and a record
// once the job has ended.
struct Job {
  JobKind kind = JobKind::prepare;
  std::string name;                    // for people
  std::vector<std::string> arguments;  // of chorus; the command comes first
  std::filesystem::path folder;
  std::vector<std::size_t> after;  // jobs, by index, that must have succeeded; all of them stand earlier
  bool on_ranks = true;            // whether it can run as several
};

inline std::filesystem::path output_of(const Job& job) { return job.folder / "output"; }

// The options of add_computation() (launch/commands/model_setup.h), which every command that runs a model has.
inline constexpr std::array<std::string_view, 6> options_of_computation{
    "base-precision", "device", "hang-limit", "precision", "tensor-parallel", "threads"};

// Jobs run again from any folder, so that every path in their arguments is absolute.
std::string absolute_path(const std::string& path);

// The words as a shell reads them, in quotes where they need some.
std::string shell_line(std::span<const std::string> words);

}  // namespace chorus
