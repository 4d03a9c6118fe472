#pragma once

#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"

namespace chorus {

// What `read` returns, which takes values out of JSON: where one is missing or of another kind, DataError that begins
// with `origin`.
template <typename Read>
auto read_values(const std::string& origin, const Read& read) {
  try {
    return read();
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{}: a value is not what belongs there: {}", origin, error.what()));
  }
}

}  // namespace chorus
