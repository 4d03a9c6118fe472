#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace chorus {

// The bytes of a file. Throws DataError if it cannot be read.
std::string read_file(const std::filesystem::path& path);

// The same without a byte order mark, checked to be UTF-8 and not empty. DataError names line and byte.
std::string read_text_file(const std::filesystem::path& path);

// Writes a new file; throws ConfigurationError if it exists.
void write_new_file(const std::filesystem::path& path, std::string_view bytes);

// The mark that some programs put before UTF-8 says nothing.
void remove_byte_order_mark(std::string& text);

// Offset of the first byte that is not part of valid UTF-8 (RFC 3629), if any.
std::optional<std::size_t> invalid_utf8(std::string_view text);

// What the message about an invalid byte says of it.
std::string describe_invalid_byte(std::string_view text, std::size_t offset);

}  // namespace chorus
