#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace chorus {

// Fowler, Noll and Vo 1991, the variant 1a of 64 bits: tells contents apart that nobody means to confuse.
class Fnv1a {
 public:
  Fnv1a& add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) hash_ = (hash_ ^ static_cast<std::uint64_t>(byte)) * 0x100000001B3U;
    return *this;
  }
  Fnv1a& add(std::string_view text) { return add(std::as_bytes(std::span(text))); }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xCBF29CE484222325U;
};

}  // namespace chorus
