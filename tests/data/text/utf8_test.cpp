#include "data/text/utf8.h"

#include <gtest/gtest.h>

namespace chorus {
namespace {

TEST(Utf8, ReplacesWhatIsIllFormed) {
  const std::string good = std::string("a\0", 2) + "\u00E9\u20AC\U0001F600\U0010FFFF";
  EXPECT_EQ(replace_ill_formed(good), good);
  EXPECT_EQ(replace_ill_formed("a\xFF\xFE"
                               "b"),
            "a\uFFFD\uFFFD"
            "b");
  EXPECT_EQ(replace_ill_formed("\xC3"), "\uFFFD");
  EXPECT_EQ(replace_ill_formed("\xC0\xAF"), "\uFFFD\uFFFD") << "overlong";
  EXPECT_EQ(replace_ill_formed("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD") << "a surrogate";
  EXPECT_EQ(replace_ill_formed("\xF0\x9F\x98"
                               "x"),
            "\uFFFDx")
      << "a truncated one is one";
  EXPECT_EQ(replace_ill_formed("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD") << "beyond the last one";
  EXPECT_EQ(replace_ill_formed("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
                               "A"),
            "\uFFFD\uFFFD\uFFFD\uFFFD"
            "A");
}

TEST(Utf8, CharactersAreReadAndWritten) {
  for (const char32_t character :
       {U'\0', U'a', U'\u00E9', U'\u20AC', U'\uFFFD', U'\U0001F600', U'\U0010FFFF'}) {
    std::string text;
    append_character(text, character);
    EXPECT_EQ(first_character(text), character);
    EXPECT_EQ(character_length(text[0]), text.size());
    EXPECT_EQ(last_character("\u00E9" + text), text);
    EXPECT_EQ(is_ascii(text), character < 0x80);
  }
}

}  // namespace
}  // namespace chorus
