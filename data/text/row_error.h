#pragma once

#include <string>
#include <utility>

#include "ops/base/error.h"

namespace chorus {

// A row, line or turn of a corpus that cannot be taken. `reason` names the kind of defect, under which the
// ledger counts it; the message also names file, line and details.
struct RowError : DataError {
  RowError(const std::string& message, std::string reason) : DataError(message), reason(std::move(reason)) {}
  std::string reason;
};

}  // namespace chorus
