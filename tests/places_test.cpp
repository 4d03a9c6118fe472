// Holds the table "Where do I add …" of CONTRIBUTING.md against the code.

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace chorus {
namespace {

namespace fs = std::filesystem;

const fs::path root = CHORUS_SOURCE_DIR;

std::string text_of(const fs::path& file) {
  std::ifstream stream(file);
  return (std::stringstream() << stream.rdbuf()).str();
}

// In small letters, with "_" for "-", as options are written in code.
std::string comparable(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return c == '-' ? '_' : static_cast<char>(std::tolower(c)); });
  return text;
}

std::vector<std::string> quoted_in(const std::string& text) {
  const std::regex quoted("`([^`]+)`");
  std::vector<std::string> found;
  for (auto match = std::sregex_iterator(text.begin(), text.end(), quoted); match != std::sregex_iterator();
       ++match)
    found.push_back((*match)[1]);
  return found;
}

struct Row {
  std::string example;
  std::vector<std::string> files;  // that name the example
  std::vector<std::string> more;   // behind ";", where the example needed nothing
};

std::vector<Row> rows() {
  std::istringstream lines(text_of(root / "CONTRIBUTING.md"));
  std::vector<Row> found;
  bool within = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("## ")) within = line.starts_with("## Where do I add");
    if (!within || !line.starts_with("| a")) continue;
    const std::size_t end = std::min(line.find(';'), line.size());
    std::vector<std::string> names = quoted_in(line.substr(0, end));
    if (names.empty()) continue;
    found.push_back({names.front(), {names.begin() + 1, names.end()}, quoted_in(line.substr(end))});
  }
  return found;
}

TEST(Places, WhereToAddIsWhereTheExampleStands) {
  const std::vector<Row> found = rows();
  ASSERT_GE(found.size(), 7U);
  for (const Row& row : found) {
    EXPECT_GE(row.files.size(), 3U) << row.example;
    for (const std::string& file : row.files) {
      const std::string text = comparable(file + text_of(root / file));
      EXPECT_TRUE(fs::is_regular_file(root / file)) << file;
      EXPECT_NE(text.find(comparable(row.example)), std::string::npos)
          << file << " does not name " << row.example;
    }
    for (const std::string& file : row.more) EXPECT_TRUE(fs::is_regular_file(root / file)) << file;
  }
}

}  // namespace
}  // namespace chorus
