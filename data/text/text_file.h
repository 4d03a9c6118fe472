#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "data/text/files.h"

namespace chorus {

// The bytes of a file. Throws DataError if it cannot be read, or is a Git LFS pointer.
std::string read_file(const std::filesystem::path& path);

// The same without a byte order mark. Throws DataError for UTF-16 and UTF-32, saying how to convert them.
std::string read_unchecked_text(const std::filesystem::path& path);

// The same, checked to be UTF-8 and not empty. DataError names line and byte.
std::string read_text_file(const std::filesystem::path& path);

// A text that is read from its beginning to its end where its file is mapped, so that it may be larger than memory. The
// file must not be written to meanwhile.
class MappedText {
 public:
  // Throws DataError for what read_unchecked_text() refuses.
  explicit MappedText(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  std::string_view text() const { return text_; }
  // Takes what stands before a part of text(), from time to time, out of this process's memory.
  void read_up_to(std::string_view part);
  // Throws DataError for what read_text_file() refuses besides.
  void require_utf8();

 private:
  MappedFile file_;
  std::string_view text_;
  std::size_t given_back_ = 0;  // bytes of the file
};

// Throws DataError if a file that begins with `beginning` is a Git LFS pointer, which stands where a download left out
// the file itself.
void refuse_git_lfs_pointer(std::string_view beginning, const std::filesystem::path& path);

// Offset of the first byte that is not part of valid UTF-8 (RFC 3629), or is zero, which no text holds.
std::optional<std::size_t> invalid_utf8(std::string_view text);

// What the message about an invalid byte says of it.
std::string describe_invalid_byte(std::string_view text, std::size_t offset);

}  // namespace chorus
