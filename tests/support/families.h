#pragma once

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

namespace chorus::test {

// The models of shared/golden/families, one of each family or kind of adapter.
inline auto golden_families() {
  return ::testing::Values("llama-linear-rope-koud", "llama-pattern", "mistral-rslora-all", "qwen2-bias-all",
                           "qwen3-qknorm-qv");
}
inline std::string family_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace chorus::test
