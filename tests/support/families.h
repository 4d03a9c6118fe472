#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include <gtest/gtest.h>

namespace chorus::test {

// The models of shared/golden/families, one of each family or kind of adapter.
inline auto golden_families() {
  return ::testing::Values("llama-linear-rope-koud", "llama-pattern", "mistral-rslora-all", "qwen2-bias-all",
                           "qwen3-qknorm-qv");
}

// SmolLM2-135M-Instruct, whose weights are too large to be reference material: where CHORUS_SMOLLM2 says.
inline std::optional<std::filesystem::path> smollm2() {
  const char* folder = std::getenv("CHORUS_SMOLLM2");
  if (folder == nullptr) return std::nullopt;
  return folder;
}
inline std::string missing_smollm2() {
  return "NOT TESTED: set CHORUS_SMOLLM2 to a Hugging Face folder of SmolLM2-135M-Instruct";
}

inline std::string family_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace chorus::test
