#pragma once

#include <cstdint>
#include <functional>

namespace chorus {

// Told done and total by whatever takes time.
using Progress = std::function<void(std::int64_t done, std::int64_t total)>;

}  // namespace chorus
