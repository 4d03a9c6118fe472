// Holds the house plan's walls: which folder may include which, and where third-party headers may be seen.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

namespace chorus {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> rooms{"ops", "parallel", "data", "core", "experiments", "launch"};

// The folders a room may include from, or single headers of a folder.
const std::map<std::string, std::vector<std::string>> allowed{
    {"ops", {"ops/"}},
    {"parallel", {"parallel/", "ops/"}},
    {"data", {"data/", "ops/base/"}},
    {"core", {"core/", "data/", "parallel/", "ops/"}},
    {"experiments", {"experiments/", "core/", "data/", "parallel/", "ops/"}},
    {"launch", {"launch/", "experiments/", "core/", "data/", "parallel/", "ops/"}},
};

// The floors of a room, lowest first, above all of them the files of the room itself: nothing includes from a higher one.
const std::map<std::string, std::vector<std::string>> floors{
    {"ops", {"ops/base/"}},
    {"data", {"data/text/", "data/corpora/", "data/sets/", "data/tokenizers/", "data/prompts/"}},
    {"core", {"core/formats/", "core/model/", "core/scoring/", "core/training/", "core/planning/"}},
    {"experiments", {"experiments/planning/", "experiments/studies/", "experiments/report/"}},
    {"launch", {"launch/options/", "launch/process/", "launch/commands/"}},
};

// Headers that begin so may only be included by files whose path begins with one of these.
struct Reserved {
  std::string header;
  std::vector<std::string> files;
};
const std::vector<Reserved> reserved{
    {"mpi.h", {"parallel/mpi_"}},
    {"hdf5", {"data/sets/hdf5_file."}},
    {"H5", {"data/sets/hdf5_file."}},
    {"sentencepiece", {"data/tokenizers/sentencepiece_"}},
    {"oniguruma", {"data/tokenizers/regular_expression.cpp"}},
    {"utf8proc", {"data/tokenizers/unicode.cpp"}},
    {"dnnl", {"ops/cpu/"}},
    {"oneapi/dnnl", {"ops/cpu/"}},
    {"boost/program_options", {"launch/options/options.cpp"}},
    {"boost/", {"launch/options/options.cpp"}},
    {"cuda", {"ops/cuda/", "parallel/nccl_"}},
    {"cublas", {"ops/cuda/"}},
    {"nccl", {"parallel/nccl_"}},
    {"omp.h", {"ops/cpu/"}},
    {"immintrin.h", {"ops/cpu/"}},
    {"ops/cpu/", {"ops/cpu/", "launch/process/cpu_device.cpp", "launch/process/system_facts.h"}},
    {"ops/cuda/", {"ops/cuda/", "parallel/nccl_", "launch/process/cuda_device.cpp"}},
};

bool begins_with_one_of(const std::string& text, const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](const std::string& beginning) { return text.starts_with(beginning); });
}

std::ptrdiff_t floor_of(const std::string& file, const std::vector<std::string>& floors_of_room) {
  return std::find_if(floors_of_room.begin(), floors_of_room.end(),
                      [&](const std::string& floor) { return file.starts_with(floor); }) -
         floors_of_room.begin();
}

bool climbs(const std::string& room, const std::string& file, const std::string& header) {
  const auto found = floors.find(room);
  if (found == floors.end() || !header.starts_with(room + "/")) return false;
  return floor_of(header, found->second) > floor_of(file, found->second);
}

bool is_source(const fs::path& path) {
  const std::string extension = path.extension();
  return extension == ".h" || extension == ".cpp" || extension == ".cu" || extension == ".cuh";
}

// What is wrong with line `text` of `file`, whose path counts from the root; empty: nothing.
std::string fault(const std::string& file, const std::string& text) {
  static const std::regex include(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"].*)");
  static const std::regex conditional(R"(^\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b.*)");
  const bool is_cuda = file.ends_with(".cu") || file.ends_with(".cuh");
  if (!is_cuda && std::regex_match(text, conditional)) return "conditional compilation; let CMake pick files";
  std::smatch match;
  if (!std::regex_match(text, match, include)) return "";
  const std::string header = match[2];
  for (const Reserved& kind : reserved) {
    if (header.starts_with(kind.header) && !begins_with_one_of(file, kind.files)) {
      return fmt::format("{} belongs into {}", header, fmt::join(kind.files, ", "));
    }
  }
  if (match[1] == "<") return "";
  const std::string room = file.substr(0, file.find('/'));
  const bool own =
      begins_with_one_of(header, {"ops/", "parallel/", "data/", "core/", "experiments/", "launch/"});
  if (!own)
    return header.starts_with("tests/") ? "released code includes a test"
                                        : header + " is not named from the root";
  if (climbs(room, file, header)) return header + " is on a higher floor";
  if (begins_with_one_of(header, allowed.at(room))) return "";
  return fmt::format("{} may include {} only", room, fmt::join(allowed.at(room), ", "));
}

// "file:line: fault" of all that is wrong below `root`, and the number of files read.
std::pair<std::vector<std::string>, int> faults_below(const fs::path& root) {
  std::vector<std::string> faults;
  int files = 0;
  for (const std::string& room : rooms) {
    if (!fs::exists(root / room)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
      if (!entry.is_regular_file() || !is_source(entry.path())) continue;
      ++files;
      const std::string file = fs::relative(entry.path(), root).generic_string();
      std::ifstream lines(entry.path());
      std::string line;
      for (int number = 1; std::getline(lines, line); ++number) {
        const std::string wrong = fault(file, line);
        if (!wrong.empty()) faults.push_back(fmt::format("{}:{}: {}", file, number, wrong));
      }
    }
  }
  return {faults, files};
}

TEST(Layering, HoldsInTheWholeTree) {
  const auto [faults, files] = faults_below(CHORUS_SOURCE_DIR);
  EXPECT_GT(files, 30) << "read from " << CHORUS_SOURCE_DIR;
  for (const std::string& wrong : faults) ADD_FAILURE() << wrong;
}

TEST(Layering, SeesEveryKindOfFault) {
  EXPECT_EQ(fault("ops/tensor.h", "#include \"core/model/llama.h\""), "ops may include ops/ only");
  EXPECT_NE(fault("data/sets/dataset.h", "#include \"ops/tensor.h\""), "");
  EXPECT_NE(fault("data/sets/dataset.h", "#include \"parallel/linear.h\""), "");
  EXPECT_NE(fault("parallel/linear.cpp", "  #  include \"data/sets/batch.h\"  // why"), "");
  EXPECT_NE(fault("core/model/llama.cpp", "#include \"launch/options/options.h\""), "");
  EXPECT_NE(fault("core/model/llama.cpp", "#include \"llama.h\""), "");
  EXPECT_NE(fault("core/model/llama.cpp", "#include \"tests/support/tensors.h\""), "");
  EXPECT_NE(fault("core/training/trainer.cpp", "#include <mpi.h>"), "");
  EXPECT_NE(fault("data/sets/dataset.cpp", "#include <hdf5.h>"), "");
  EXPECT_NE(fault("data/prepare.cpp", "#include <sentencepiece_processor.h>"), "");
  EXPECT_NE(fault("ops/checked_backend.cpp", "#include <dnnl.hpp>"), "");
  EXPECT_NE(fault("launch/main.cpp", "#include <boost/program_options.hpp>"), "");
  EXPECT_NE(fault("core/model/llama.h", "#include <cuda_runtime.h>"), "");
  EXPECT_NE(fault("core/model/llama.h", "#ifdef CHORUS_CUDA"), "");
  EXPECT_NE(fault("core/model/llama.h", "# if 1"), "");
  EXPECT_EQ(fault("core/model/llama.h", "#include \"core/training/trainer.h\""),
            "core/training/trainer.h is on a higher floor");
  EXPECT_NE(fault("ops/base/error.h", "#include \"ops/tensor.h\""), "");
  EXPECT_NE(fault("data/sets/dataset.h", "#include \"data/prepare.h\""), "");
  EXPECT_EQ(fault("experiments/planning/plan.cpp", "#include \"ops/cuda/gpu.h\""),
            "ops/cuda/gpu.h belongs into ops/cuda/, parallel/nccl_, launch/process/cuda_device.cpp");
  EXPECT_NE(fault("ops/transfer.cpp", "#include \"ops/cpu/cpu_backend.h\""), "");
}

TEST(Layering, AllowsWhatThePlanAllows) {
  EXPECT_EQ(fault("data/sets/dataset.h", "#include \"ops/base/forest.h\""), "");
  EXPECT_EQ(fault("core/model/llama.cpp", "#include \"parallel/linear.h\""), "");
  EXPECT_EQ(fault("launch/commands/train.cpp", "#include \"data/prepare.h\""), "");
  EXPECT_EQ(fault("parallel/mpi_session.cpp", "#include <mpi.h>"), "");
  EXPECT_EQ(fault("data/sets/hdf5_file.cpp", "#include <hdf5.h>"), "");
  EXPECT_EQ(fault("ops/cpu/matmul.cpp", "#include <dnnl.hpp>"), "");
  EXPECT_EQ(fault("launch/process/cuda_device.cpp", "#include \"ops/cuda/gpu.h\""), "");
  EXPECT_EQ(fault("parallel/nccl_communicator.cpp", "#include <cuda_runtime.h>"), "");
  EXPECT_EQ(fault("core/model/llama.cpp", "#include <vector>"), "");
  EXPECT_EQ(fault("core/model/llama.cpp", "// #include \"launch/options/options.h\""), "");
  EXPECT_EQ(fault("core/model/llama.cpp", "#pragma once"), "");
}

}  // namespace
}  // namespace chorus
