// Holds CONTRIBUTING's list of the places of an operator against the code.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include <gmock/gmock.h>

#include "ops/cpu/cpu_backend.h"
#include "tests/support/every_operator.h"
#include "tests/support/source_folder.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& file) {
  std::ifstream stream(file);
  return (std::stringstream() << stream.rdbuf()).str();
}

// The first groups of all matches.
std::vector<std::string> found_in(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> found;
  for (auto match = std::sregex_iterator(text.begin(), text.end(), regex); match != std::sregex_iterator();
       ++match)
    found.push_back((*match)[1]);
  return found;
}

// Those that ops/backend.h declares behind what it says of memory.
std::vector<std::string> operators() {
  const std::string header = text_of(source_folder() / "ops/backend.h");
  return found_in(header.substr(header.find("--- element-wise")), R"(virtual void (\w+)\()");
}

std::vector<std::string> places() {
  const std::string text = text_of(source_folder() / "CONTRIBUTING.md");
  const std::size_t begin = text.find("A new operator stands"), list = text.find("\n", begin);
  return found_in(text.substr(list, text.find("Besides", list) - list), "`([^`]+)`");
}

bool mentions(const std::string& text, const std::string& name) {
  return std::regex_search(text, std::regex("\\b" + name + "\\("));
}

// All that its sources say, if `place` is a folder.
std::string text_at(const std::string& place) {
  if (!place.ends_with('/')) return text_of(source_folder() / place);
  std::string text;
  for (const auto& entry : fs::directory_iterator(source_folder() / place)) {
    const std::string extension = entry.path().extension();
    if (extension == ".cpp" || extension == ".cu") text += text_of(entry.path());
  }
  return text;
}

TEST(OperatorPlaces, EveryOperatorStandsInAll) {
  const std::vector<std::string> names = operators();
  EXPECT_GT(names.size(), 20U);
  EXPECT_GT(places().size(), 10U);
  for (const std::string& place : places()) {
    const std::string text = text_at(place);
    for (const std::string& name : names) EXPECT_TRUE(mentions(text, name)) << place << " lacks " << name;
  }
}

TEST(OperatorPlaces, NoOtherFileListsAllOperators) {
  const std::vector<std::string> names = operators(), known = places();
  for (const char* room : {"ops", "parallel", "core", "experiments", "launch", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(source_folder() / room)) {
      if (!entry.is_regular_file()) continue;
      const std::string file = fs::relative(entry.path(), source_folder()).generic_string();
      const std::string text = text_of(entry.path());
      const bool lists_all =
          std::ranges::all_of(names, [&](const auto& name) { return mentions(text, name); });
      EXPECT_EQ(lists_all, std::ranges::count(known, file) == 1) << file;
    }
  }
}

TEST(OperatorPlaces, EveryOperatorIsCalledByTheTestsOfAll) {
  CpuBackend backend(1);
  const EveryOperator every(backend, DType::f32, single_sequence(40), 8, 50);
  std::vector<std::string> called;
  for (const OperatorCall& call : every.calls()) called.push_back(call.name);
  called.erase(std::unique(called.begin(), called.end()), called.end());
  EXPECT_EQ(called, operators());
}

}  // namespace
}  // namespace chorus
