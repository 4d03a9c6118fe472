// Holds the house plan's walls: which folder may include which, that no includes go in a circle, and where third-party
// headers may be seen.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
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

// The delimiter and the name of what a line includes, as groups 1 and 2.
const std::regex include(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"].*)");

// What is wrong with line `text` of `file`, whose path counts from the root; empty: nothing.
std::string fault(const std::string& file, const std::string& text) {
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

// The units that each one includes. A unit is a header and the source beside it: a path without its extension.
using Arrows = std::map<std::string, std::set<std::string>>;

std::string unit_of(const std::string& file) { return file.substr(0, file.rfind('.')); }

void add_arrow(Arrows& arrows, const std::string& file, const std::string& text) {
  std::smatch match;
  if (!std::regex_match(text, match, include) || match[1] == "<") return;
  if (unit_of(match[2]) != unit_of(file)) arrows[unit_of(file)].insert(unit_of(match[2]));
}

// The first circle of includes that is found from `unit`, which stands at both its ends; empty: none. `way` leads to
// `unit`, and `done` holds units that are on no circle.
std::vector<std::string> circle_from(const std::string& unit, const Arrows& arrows,
                                     std::vector<std::string> way, std::set<std::string>& done) {
  way.push_back(unit);
  const auto met = std::find(way.begin(), way.end(), unit);
  if (met != way.end() - 1) return {met, way.end()};
  const auto included = arrows.find(unit);
  if (included == arrows.end() || done.contains(unit)) return {};
  for (const std::string& next : included->second) {
    const std::vector<std::string> circle = circle_from(next, arrows, way, done);
    if (!circle.empty()) return circle;
  }
  done.insert(unit);
  return {};
}

std::vector<std::string> circle_in(const Arrows& arrows) {
  std::set<std::string> done;
  for (const auto& [unit, included] : arrows) {
    const std::vector<std::string> circle = circle_from(unit, arrows, {}, done);
    if (!circle.empty()) return circle;
  }
  return {};
}

struct Tree {
  std::vector<std::string> faults;  // "file:line: fault"
  Arrows arrows;
  int files = 0;
};

Tree read_tree(const fs::path& root) {
  Tree tree;
  for (const std::string& room : rooms) {
    if (!fs::exists(root / room)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
      if (!entry.is_regular_file() || !is_source(entry.path())) continue;
      ++tree.files;
      const std::string file = fs::relative(entry.path(), root).generic_string();
      std::ifstream lines(entry.path());
      std::string line;
      for (int number = 1; std::getline(lines, line); ++number) {
        const std::string wrong = fault(file, line);
        if (!wrong.empty()) tree.faults.push_back(fmt::format("{}:{}: {}", file, number, wrong));
        add_arrow(tree.arrows, file, line);
      }
    }
  }
  return tree;
}

TEST(Layering, HoldsInTheWholeTree) {
  const Tree tree = read_tree(CHORUS_SOURCE_DIR);
  EXPECT_GT(tree.files, 30) << "read from " << CHORUS_SOURCE_DIR;
  for (const std::string& wrong : tree.faults) ADD_FAILURE() << wrong;
  EXPECT_EQ(circle_in(tree.arrows), std::vector<std::string>{}) << "includes that come back";
}

TEST(Layering, SeesCirclesOfHeadersWithTheirSources) {
  Arrows arrows;
  add_arrow(arrows, "ops/memory.cpp", "#include \"ops/memory.h\"");
  add_arrow(arrows, "ops/memory.cpp", "#include \"ops/backend.h\"");
  add_arrow(arrows, "ops/backend.h", "#include \"ops/tensor.h\"");
  add_arrow(arrows, "ops/backend.h", "#include <ops/memory.h>");
  EXPECT_EQ(circle_in(arrows), std::vector<std::string>{});
  add_arrow(arrows, "ops/tensor.h", "#include \"ops/memory.h\"");
  EXPECT_EQ(circle_in(arrows),
            (std::vector<std::string>{"ops/backend", "ops/tensor", "ops/memory", "ops/backend"}));
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
