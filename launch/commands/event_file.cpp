#include "launch/commands/event_file.h"

#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <system_error>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/host_name.h"

static_assert(std::endian::native == std::endian::little, "numbers are written without exchanging bytes");

namespace chorus {
namespace {

// Castagnoli's polynomial, bits reversed, as RFC 3720 has it.
constexpr std::array<std::uint32_t, 256> crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t remainder = i;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) * 0x82f63b78U);
    table[i] = remainder;
  }
  return table;
}();

// Masked, so that a checksum of data that hold checksums stays a good one.
std::uint32_t masked_crc32c(std::string_view bytes) {
  std::uint32_t crc = ~0U;
  for (const char byte : bytes) crc = (crc >> 8) ^ crc_table[(crc ^ static_cast<std::uint8_t>(byte)) & 0xffU];
  return std::rotr(~crc, 15) + 0xa282ead8U;
}

template <class T>
std::string bytes_of(T number) {
  std::string bytes(sizeof number, '\0');
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

// https://protobuf.dev/programming-guides/encoding
enum class WireType : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

std::string varint(std::uint64_t number) {
  std::string out;
  for (; number >= 0x80; number >>= 7) out.push_back(static_cast<char>((number & 0x7fU) | 0x80U));
  out.push_back(static_cast<char>(number));
  return out;
}

std::string key(int field, WireType type) {
  return varint(static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(type));
}

std::string integer(int field, std::int64_t value) {
  return key(field, WireType::varint) + varint(static_cast<std::uint64_t>(value));
}

// A text, or another message.
std::string part(int field, std::string_view value) {
  return key(field, WireType::bytes) + varint(value.size()) + std::string(value);
}

std::string event_at(double wall_time) { return key(1, WireType::fixed64) + bytes_of(wall_time); }

// TensorBoard looks for "tfevents" in the names.
constexpr std::string_view beginning = "events.out.tfevents.";

// A TensorBoard that runs goes on to files whose names sort behind those that it knows, so a session that begins within
// the second of another one takes the next.
std::filesystem::path new_file(const std::filesystem::path& folder) {
  create_folder(folder);
  const std::string host = host_name();
  for (auto seconds = static_cast<std::int64_t>(wall_time());; ++seconds) {
    const std::filesystem::path path = folder / fmt::format("{}{:010}.{}", beginning, seconds, host);
    if (!std::filesystem::exists(path)) return path;
  }
}

}  // namespace

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string tf_record(std::string_view payload) {
  const std::string length = bytes_of(std::uint64_t{payload.size()});
  return length + bytes_of(masked_crc32c(length)) + std::string(payload) + bytes_of(masked_crc32c(payload));
}

std::string scalar_event(double wall_time, std::int64_t step, std::span<const Scalar> scalars) {
  std::string summary;
  for (const Scalar& scalar : scalars) {
    summary += part(1, part(1, scalar.tag) + key(2, WireType::fixed32) + bytes_of(scalar.value));
  }
  return event_at(wall_time) + integer(2, step) + part(5, summary);
}

// A session log with status START (1) and a step makes TensorBoard forget that step and all later ones, from the second
// such record of a run on; so each file has one.
EventFile::EventFile(const std::filesystem::path& folder) : file_(new_file(folder)) {
  const std::string now = event_at(wall_time());
  file_.append(tf_record(now + part(3, "brain.Event:2")) +
               tf_record(now + integer(2, 0) + part(7, integer(1, 1))));
  // Emptied, not removed: a TensorBoard without its data server goes on only from files that it finds again.
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::filesystem::path& path = entry.path();
    if (path == file_.path() || !path.filename().string().starts_with(beginning)) continue;
    std::filesystem::resize_file(path, 0, error);
    require<DataError>(!error, "cannot empty ", path.string(), ": ", error.message());
  }
}

void EventFile::append(double wall_time, std::int64_t step, std::span<const Scalar> scalars) {
  file_.append(tf_record(scalar_event(wall_time, step, scalars)));
}

}  // namespace chorus
