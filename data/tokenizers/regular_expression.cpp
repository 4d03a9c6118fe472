#include "data/tokenizers/regular_expression.h"

#include <array>
#include <mutex>
#include <utility>

#include <oniguruma.h>

#include "data/text/utf8.h"
#include "data/tokenizers/unicode.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

const OnigUChar* bytes(const char* text) { return reinterpret_cast<const OnigUChar*>(text); }

std::string describe(int code, OnigErrorInfo* information) {
  OnigUChar text[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int length = information == nullptr ? onig_error_code_to_str(text, code)
                                            : onig_error_code_to_str(text, code, information);
  return {reinterpret_cast<const char*>(text), static_cast<std::size_t>(length)};
}

// Oniguruma's own tables are of the Unicode of its release, 14.0 on Debian 12: others take their place, by the same names.
struct Properties {
  Properties() {
    OnigEncoding encoding = ONIG_ENCODING_UTF8;
    onig_initialize(&encoding, 1);
    for (auto& [name, ranges] : ranges_of) ranges.push_back(0);  // their number
    for (char32_t character = 0; character <= 0x10FFFF; ++character) {
      const std::string_view category = general_category(character);
      for (auto& [name, ranges] : ranges_of)
        if (category.starts_with(name)) add(ranges, static_cast<OnigCodePoint>(character));
    }
    for (auto& [name, ranges] : ranges_of) {
      const int code = onig_unicode_define_user_property(name.c_str(), ranges.data());
      require(code == ONIG_NORMAL, "Oniguruma takes no property ", name, ", error ", code);
    }
  }

  static void add(std::vector<OnigCodePoint>& ranges, OnigCodePoint character) {
    if (ranges.size() > 1 && ranges.back() + 1 == character) {
      ++ranges.back();
    } else {
      ranges.insert(ranges.end(), {character, character});
      ++ranges.front();
    }
  }

  // As Oniguruma reads them, as long as the program runs.
  std::array<std::pair<std::string, std::vector<OnigCodePoint>>, 13> ranges_of{{{"L", {}},
                                                                                {"Lu", {}},
                                                                                {"Ll", {}},
                                                                                {"Lt", {}},
                                                                                {"Lm", {}},
                                                                                {"Lo", {}},
                                                                                {"M", {}},
                                                                                {"Mn", {}},
                                                                                {"Mc", {}},
                                                                                {"N", {}},
                                                                                {"Nd", {}},
                                                                                {"Nl", {}},
                                                                                {"No", {}}}};
};

}  // namespace

struct RegularExpression::Compiled {
  explicit Compiled(std::string where) : where(std::move(where)) {}
  ~Compiled() { onig_free(expression); }
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;

  OnigRegex expression = nullptr;
  std::string where;
};

RegularExpression::RegularExpression(std::string_view expression, std::string where) {
  static std::mutex compiling;  // of Oniguruma's tables
  const std::lock_guard lock(compiling);
  static const Properties properties;
  auto compiled = std::make_shared<Compiled>(std::move(where));
  OnigErrorInfo information{};
  const char* begin = expression.data();
  const int code = onig_new(&compiled->expression, bytes(begin), bytes(begin + expression.size()),
                            ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, OnigDefaultSyntax, &information);
  require<DataError>(code == ONIG_NORMAL, compiled->where, ": the regular expression '", expression,
                     "' cannot be compiled: ", code == ONIG_NORMAL ? "" : describe(code, &information));
  compiled_ = std::move(compiled);
}

RegularExpression RegularExpression::literal(std::string_view characters, std::string where) {
  std::string expression;
  for (const char c : characters) {
    if (std::string_view(R"(\.+*?()|[]{}^$#&-~)").find(c) != std::string_view::npos) expression += '\\';
    expression += c;
  }
  return RegularExpression(expression, std::move(where));
}

void RegularExpression::find_all(std::string_view text, std::vector<Range>& matches) const {
  matches.clear();
  const std::unique_ptr<OnigRegion, void (*)(OnigRegion*)> region(
      onig_region_new(), [](OnigRegion* unused) { onig_region_free(unused, 1); });
  const OnigUChar *begin = bytes(text.data()), *end = begin + text.size();
  for (std::size_t from = 0; from <= text.size();) {
    const int found =
        onig_search(compiled_->expression, begin, end, begin + from, end, region.get(), ONIG_OPTION_NONE);
    if (found == ONIG_MISMATCH) break;
    require<DataError>(found >= 0, compiled_->where, ": the regular expression fails on a text of ",
                       text.size(), " bytes: ", found >= 0 ? "" : describe(found, nullptr));
    const Range match{static_cast<std::size_t>(region->beg[0]), static_cast<std::size_t>(region->end[0])};
    // \K in what must stand before puts the beginning where the search was already, and it would find the same for ever.
    require<DataError>(from <= match.begin && match.begin <= match.end, compiled_->where,
                       ": what the regular expression finds begins at byte ", match.begin,
                       ", before the search for it at byte ", from);
    const bool follows = match.empty() && !matches.empty() && matches.back().end == match.end;
    if (follows) {
      from += from < text.size() ? character_length(text[from]) : 1;
    } else {
      matches.push_back(match);
      from = match.end;
    }
  }
}

}  // namespace chorus
