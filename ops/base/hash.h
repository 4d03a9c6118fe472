#pragma once

#include <cstdint>
#include <ranges>
#include <span>
#include <string_view>
#include <type_traits>

namespace chorus {

// Fowler, Noll and Vo 1991, the variant 1a of 64 bits: tells contents apart that nobody means to confuse.
class Fnv1a {
 public:
  Fnv1a& add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) hash_ = (hash_ ^ static_cast<std::uint64_t>(byte)) * 0x100000001B3U;
    return *this;
  }
  Fnv1a& add(std::string_view text) { return add(std::as_bytes(std::span(text))); }
  // With their number, so that what stands in one array cannot have stood in the next. Bytes as the machine has them.
  template <std::ranges::contiguous_range Range>
  requires std::is_arithmetic_v<std::ranges::range_value_t<Range>> Fnv1a& add_array(const Range& values) {
    const std::uint64_t count = std::ranges::size(values);
    return add(std::as_bytes(std::span(&count, 1))).add(std::as_bytes(std::span(values)));
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xCBF29CE484222325U;
};

}  // namespace chorus
