#pragma once

#include <cstddef>
#include <cstdint>

namespace chorus {

// Indices and extents are signed here, and containers want them unsigned.
constexpr std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

}  // namespace chorus
