#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/support/message_of.h"
#include "tests/support/source_folder.h"

namespace chorus::test {

// An empty folder of its own for each test, removed with all it holds at the end.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "chorus-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder " + name);
    path_ = name;
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// The same, with paths as texts, as words of a command line are.
class TemporaryFolder : public ScratchFolder {
 public:
  std::string path() const { return ScratchFolder::path().string(); }
  std::string operator/(std::string_view name) const { return (ScratchFolder::path() / name).string(); }

  // A file of it, and the folders that it lies in.
  std::string write(std::string_view name, std::string_view bytes) const {
    const std::filesystem::path file = ScratchFolder::path() / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
    return file.string();
  }
};

inline void write_bytes(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A file or folder of the reference material that lies beside the checkout or where CHORUS_SHARED says.
// Nothing where it is not there: the test must then skip with missing_shared().
inline std::optional<std::filesystem::path> shared_path(std::string_view name) {
  const char* variable = std::getenv("CHORUS_SHARED");
  const auto root =
      variable != nullptr ? std::filesystem::path(variable) : source_folder().parent_path() / "shared";
  if (!std::filesystem::exists(root / name)) return std::nullopt;
  return root / name;
}

inline std::string missing_shared(std::string_view name) {
  return "NOT TESTED: the reference material " + std::string(name) +
         " is not there; set CHORUS_SHARED to the folder that holds it";
}

// For messages: succeeds if `text` holds `part`.
inline testing::AssertionResult holds(const std::string& text, std::string_view part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << text << "\" does not hold \"" << part << "\"";
}

}  // namespace chorus::test
