#include "ops/base/hash.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

static_assert(std::endian::native == std::endian::little, "the hash reads little-endian words");

namespace chorus {

namespace {

constexpr std::uint64_t prime_1 = 0x9E3779B185EBCA87U, prime_2 = 0xC2B2AE3D27D4EB4FU,
                        prime_3 = 0x165667B19E3779F9U, prime_4 = 0x85EBCA77C2B2AE63U,
                        prime_5 = 0x27D4EB2F165667C5U;

template <typename Word>
Word word_at(const std::byte* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

std::uint64_t mixed(std::uint64_t lane, std::uint64_t word) {
  return std::rotl(lane + word * prime_2, 31) * prime_1;
}

void mix_stripe(std::array<std::uint64_t, 4>& lanes, const std::byte* bytes) {
  for (std::size_t i = 0; i < lanes.size(); ++i)
    lanes[i] = mixed(lanes[i], word_at<std::uint64_t>(bytes + 8 * i));
}

}  // namespace

XxHash64& XxHash64::add(std::span<const std::byte> bytes) {
  const std::size_t waiting = length_ % stripe;
  length_ += bytes.size();
  if (waiting > 0) {
    const std::size_t taken = std::min(bytes.size(), stripe - waiting);
    std::copy_n(bytes.begin(), taken, rest_.begin() + static_cast<std::ptrdiff_t>(waiting));
    bytes = bytes.subspan(taken);
    if (waiting + taken < stripe) return *this;
    mix_stripe(lanes_, rest_.data());
  }
  std::array<std::uint64_t, 4> lanes = lanes_;  // in registers
  for (; bytes.size() >= stripe; bytes = bytes.subspan(stripe)) mix_stripe(lanes, bytes.data());
  lanes_ = lanes;
  std::copy(bytes.begin(), bytes.end(), rest_.begin());
  return *this;
}

std::uint64_t XxHash64::value() const {
  std::uint64_t hash = prime_5;
  if (length_ >= stripe) {
    hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
           std::rotl(lanes_[3], 18);
    for (const std::uint64_t lane : lanes_) hash = (hash ^ mixed(0, lane)) * prime_1 + prime_4;
  }
  hash += length_;
  const std::byte* byte = rest_.data();
  const std::byte* const end = byte + length_ % stripe;
  for (; end - byte >= 8; byte += 8)
    hash = std::rotl(hash ^ mixed(0, word_at<std::uint64_t>(byte)), 27) * prime_1 + prime_4;
  for (; end - byte >= 4; byte += 4)
    hash = std::rotl(hash ^ (word_at<std::uint32_t>(byte) * prime_1), 23) * prime_2 + prime_3;
  for (; byte < end; ++byte)
    hash = std::rotl(hash ^ (static_cast<std::uint64_t>(*byte) * prime_5), 11) * prime_1;
  hash = (hash ^ (hash >> 33)) * prime_2;
  hash = (hash ^ (hash >> 29)) * prime_3;
  return hash ^ (hash >> 32);
}

std::string print_hash(const XxHash64& hash) { return fmt::format("{}{:016x}", hash_mark, hash.value()); }

}  // namespace chorus
