#include "data/text/text_file.h"

#include <algorithm>
#include <fstream>
#include <system_error>

#include "data/text/text.h"
#include "data/text/utf8.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

// The name by which iconv knows an encoding that is not UTF-8, told by its byte order mark or the zero bytes of its
// first two characters; "" for others.
std::string_view wide_encoding(std::string_view bytes) {
  using namespace std::string_view_literals;
  if (bytes.starts_with("\xFF\xFE\0\0"sv) || bytes.starts_with("\0\0\xFE\xFF"sv)) return "UTF-32";
  if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF")) return "UTF-16";
  if (bytes.size() < 4) return "";
  const auto zeros = [&](bool a, bool b, bool c, bool d) {
    return (bytes[0] == 0) == a && (bytes[1] == 0) == b && (bytes[2] == 0) == c && (bytes[3] == 0) == d;
  };
  if (zeros(false, true, false, true)) return "UTF-16LE";
  if (zeros(true, false, true, false)) return "UTF-16BE";
  return "";
}

}  // namespace

void refuse_git_lfs_pointer(std::string_view beginning, const std::filesystem::path& path) {
  require<DataError>(!beginning.starts_with("version https://git-lfs"), path.string(),
                     ": is a Git LFS pointer, not the file: run `git lfs pull` where it was cloned");
}

std::optional<std::size_t> invalid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    if (first == 0) return i;
    const std::size_t length = first < 0x80 ? 1 : well_formed_length(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return std::nullopt;
}

std::string describe_invalid_byte(std::string_view text, std::size_t offset) {
  const unsigned byte = static_cast<unsigned char>(text[offset]);
  if (byte == 0) return "a zero byte, which no text holds";
  return fmt::format(
      "byte 0x{:02X} is not valid UTF-8; if the file is in Windows-1252 or Latin-1, convert it "
      "(iconv -f WINDOWS-1252 -t UTF-8)",
      byte);
}

namespace {

void require_file(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  require<DataError>(!is_directory(status), path.string(), ": is a folder, not a file");
  // A pipe may have no writer, and a device no end.
  require<DataError>(error || is_regular_file(status), path.string(),
                     ": is a pipe or a device, not a file: write what it gives into a file, and name that");
}

// What stands behind a byte order mark.
std::string_view text_in(std::string_view bytes, const std::filesystem::path& path) {
  const std::string_view wide = wide_encoding(bytes);
  require<DataError>(wide.empty(), path.string(), ": is in ", wide, ", not UTF-8: convert it (iconv -f ",
                     wide, " -t UTF-8)");
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  if (bytes.starts_with(byte_order_mark)) bytes.remove_prefix(byte_order_mark.size());
  return bytes;
}

void require_utf8(const NumberedView& line, const std::filesystem::path& path) {
  if (const auto offset = invalid_utf8(line.text)) {
    throw DataError(fmt::format("{}:{}: at byte {} of the line, {}", path.string(), line.number, *offset + 1,
                                describe_invalid_byte(line.text, *offset)));
  }
}

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  require_file(path);
  std::ifstream file(path, std::ios::binary);
  require<DataError>(file.is_open(), path.string(), ": no such file, or not readable");
  std::string bytes, piece(1 << 16, '\0');
  while (file.read(piece.data(), std::ssize(piece)) || file.gcount() > 0)
    bytes.append(piece, 0, static_cast<std::size_t>(file.gcount()));
  require<DataError>(!file.bad(), path.string(), ": cannot be read to its end");
  refuse_git_lfs_pointer(bytes, path);
  return bytes;
}

std::string read_unchecked_text(const std::filesystem::path& path) {
  std::string text = read_file(path);
  text.erase(0, text.size() - text_in(text, path).size());
  return text;
}

std::string read_text_file(const std::filesystem::path& path) {
  const std::string text = read_unchecked_text(path);
  require<DataError>(!text.empty(), path.string(), ": is empty");
  LineScanner lines(text);
  while (const auto line = lines.next()) require_utf8(*line, path);
  return text;
}

MappedText::MappedText(const std::filesystem::path& path) : file_((require_file(path), path)) {
  const std::string_view bytes(reinterpret_cast<const char*>(file_.bytes().data()), file_.bytes().size());
  refuse_git_lfs_pointer(bytes, path);
  text_ = text_in(bytes, path);
}

void MappedText::read_up_to(std::string_view part) {
  constexpr std::size_t at_once = 1 << 24;
  const auto passed =
      static_cast<std::size_t>(reinterpret_cast<const std::byte*>(part.data()) - file_.bytes().data());
  if (passed < given_back_) given_back_ = 0;  // read once more
  if (passed - given_back_ < at_once) return;
  file_.give_back(file_.bytes().subspan(given_back_, passed - given_back_));
  given_back_ = passed;
}

void MappedText::require_utf8() {
  require<DataError>(!text_.empty(), path().string(), ": is empty");
  LineScanner lines(text_);
  while (const auto line = lines.next()) {
    chorus::require_utf8(*line, path());
    read_up_to(line->text);
  }
}

}  // namespace chorus
