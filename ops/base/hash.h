#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace chorus {

// What hashes of bytes have in common; Self has add(bytes) and value().
template <typename Self>
class HashOfBytes {
 public:
  Self& add(std::string_view text) { return self().add(std::as_bytes(std::span(text))); }
  // With their number, so that what stands in one array cannot have stood in the next. Bytes as the machine has them.
  template <std::ranges::contiguous_range Range>
  requires std::is_arithmetic_v<std::ranges::range_value_t<Range>> Self& add_array(const Range& values) {
    const std::uint64_t count = std::ranges::size(values);
    return self().add(std::as_bytes(std::span(&count, 1))).add(std::as_bytes(std::span(values)));
  }

 private:
  Self& self() { return static_cast<Self&>(*this); }
};

// Fowler, Noll and Vo 1991, the variant 1a of 64 bits: tells contents apart that nobody means to confuse.
class Fnv1a : public HashOfBytes<Fnv1a> {
 public:
  using HashOfBytes::add;
  Fnv1a& add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) hash_ = (hash_ ^ static_cast<std::uint64_t>(byte)) * 0x100000001B3U;
    return *this;
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xCBF29CE484222325U;
};

// XXH64 of Collet's xxHash, seed 0: for much data, to notice what a disk or a network has changed. The xxHash fast digest
// algorithm, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
class XxHash64 : public HashOfBytes<XxHash64> {
 public:
  using HashOfBytes::add;
  XxHash64& add(std::span<const std::byte> bytes);
  std::uint64_t value() const;

 private:
  static constexpr std::size_t stripe = 32;

  std::array<std::uint64_t, 4> lanes_{0x60EA27EEADC0B5D6U, 0xC2B2AE3D27D4EB4FU, 0, 0x61C8864E7A143579U};
  std::array<std::byte, stripe> rest_{};  // what is not a whole stripe yet
  std::uint64_t length_ = 0;
};

// How files keep a hash: "xxh64 " and 16 hexadecimal digits.
inline constexpr std::string_view hash_mark = "xxh64 ";
std::string print_hash(const XxHash64& hash);

}  // namespace chorus
