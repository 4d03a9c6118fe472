#include "data/tokenizers/unicode.h"

#include <cstdlib>
#include <memory>

#include <utf8proc.h>

#include "data/text/utf8.h"
#include "ops/base/error.h"

namespace chorus {

std::string normalization_form_c(std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t length = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
      &result, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  require<DataError>(length >= 0, "a text of ", text.size(),
                     " bytes has no Normalization Form C: ", utf8proc_errmsg(length));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owned(result, std::free);
  return {reinterpret_cast<const char*>(result), static_cast<std::size_t>(length)};
}

bool is_number(char32_t character) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(character))) {
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return false;
  }
}

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

}  // namespace chorus
