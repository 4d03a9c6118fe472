#pragma once

#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/launch/program.h"

namespace chorus {

// Tests of one folder, which Suite::fill() fills before the first of them, and which goes with the last.
template <typename Suite>
class SharedFolderTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_.emplace();
    Suite::fill();
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static const TemporaryFolder& folder() { return *folder_; }
  static std::string at(const std::string& name) { return folder() / name; }
  // A training of an adapter of rank 2 on FOLDER/base and FOLDER/data, by one thread a rank.
  static std::vector<std::string> small_training(const std::string& output,
                                                 const std::vector<std::string>& more) {
    return joined({"train", "--base", at("base"), "--data", at("data"), "--output", at(output), "--lora-rank",
                   "2", "--threads", "1"},
                  more);
  }

 private:
  static inline std::optional<TemporaryFolder> folder_;
};

}  // namespace chorus
