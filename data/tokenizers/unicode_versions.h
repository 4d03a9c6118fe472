#pragma once

#include <array>
#include <string_view>

namespace chorus {

// What libraries of different age disagree about: Hugging Face's is built with an Oniguruma of Unicode 16.0, and normalizes by
// Unicode 9.0.

struct CategoryRange {
  char32_t first, last;
  std::string_view category;  // the two letters of the general category
};

// Letters, marks and numbers that Unicode 15.1 and 16.0 added.
inline constexpr std::array newer_categories{
    CategoryRange{0x897, 0x897, "Mn"},     CategoryRange{0x1C89, 0x1C89, "Lu"},
    CategoryRange{0x1C8A, 0x1C8A, "Ll"},   CategoryRange{0xA7CB, 0xA7CC, "Lu"},
    CategoryRange{0xA7CD, 0xA7CD, "Ll"},   CategoryRange{0xA7DA, 0xA7DA, "Lu"},
    CategoryRange{0xA7DB, 0xA7DB, "Ll"},   CategoryRange{0xA7DC, 0xA7DC, "Lu"},
    CategoryRange{0x105C0, 0x105F3, "Lo"}, CategoryRange{0x10D40, 0x10D49, "Nd"},
    CategoryRange{0x10D4A, 0x10D4D, "Lo"}, CategoryRange{0x10D4E, 0x10D4E, "Lm"},
    CategoryRange{0x10D4F, 0x10D4F, "Lo"}, CategoryRange{0x10D50, 0x10D65, "Lu"},
    CategoryRange{0x10D69, 0x10D6D, "Mn"}, CategoryRange{0x10D6F, 0x10D6F, "Lm"},
    CategoryRange{0x10D70, 0x10D85, "Ll"}, CategoryRange{0x10EC2, 0x10EC4, "Lo"},
    CategoryRange{0x10EFC, 0x10EFC, "Mn"}, CategoryRange{0x11380, 0x11389, "Lo"},
    CategoryRange{0x1138B, 0x1138B, "Lo"}, CategoryRange{0x1138E, 0x1138E, "Lo"},
    CategoryRange{0x11390, 0x113B5, "Lo"}, CategoryRange{0x113B7, 0x113B7, "Lo"},
    CategoryRange{0x113B8, 0x113BA, "Mc"}, CategoryRange{0x113BB, 0x113C0, "Mn"},
    CategoryRange{0x113C2, 0x113C2, "Mc"}, CategoryRange{0x113C5, 0x113C5, "Mc"},
    CategoryRange{0x113C7, 0x113CA, "Mc"}, CategoryRange{0x113CC, 0x113CD, "Mc"},
    CategoryRange{0x113CE, 0x113CE, "Mn"}, CategoryRange{0x113CF, 0x113CF, "Mc"},
    CategoryRange{0x113D0, 0x113D0, "Mn"}, CategoryRange{0x113D1, 0x113D1, "Lo"},
    CategoryRange{0x113D2, 0x113D2, "Mn"}, CategoryRange{0x113D3, 0x113D3, "Lo"},
    CategoryRange{0x113E1, 0x113E2, "Mn"}, CategoryRange{0x116D0, 0x116E3, "Nd"},
    CategoryRange{0x11BC0, 0x11BE0, "Lo"}, CategoryRange{0x11BF0, 0x11BF9, "Nd"},
    CategoryRange{0x11F5A, 0x11F5A, "Mn"}, CategoryRange{0x13460, 0x143FA, "Lo"},
    CategoryRange{0x16100, 0x1611D, "Lo"}, CategoryRange{0x1611E, 0x16129, "Mn"},
    CategoryRange{0x1612A, 0x1612C, "Mc"}, CategoryRange{0x1612D, 0x1612F, "Mn"},
    CategoryRange{0x16130, 0x16139, "Nd"}, CategoryRange{0x16D40, 0x16D42, "Lm"},
    CategoryRange{0x16D43, 0x16D6A, "Lo"}, CategoryRange{0x16D6B, 0x16D6C, "Lm"},
    CategoryRange{0x16D70, 0x16D79, "Nd"}, CategoryRange{0x18CFF, 0x18CFF, "Lo"},
    CategoryRange{0x1CCF0, 0x1CCF9, "Nd"}, CategoryRange{0x1E5D0, 0x1E5ED, "Lo"},
    CategoryRange{0x1E5EE, 0x1E5EF, "Mn"}, CategoryRange{0x1E5F0, 0x1E5F0, "Lo"},
    CategoryRange{0x1E5F1, 0x1E5FA, "Nd"}, CategoryRange{0x2EBF0, 0x2EE5D, "Lo"},
};

struct CharacterRange {
  char32_t first, last;
};

// What came after Unicode 9.0 and would be reordered, composed or decomposed by the versions up to 16.0; of four scripts of
// 16.0 that have such characters, the whole block.
inline constexpr std::array normalized_since_unicode_10{
    CharacterRange{0x7FD, 0x7FD},     CharacterRange{0x897, 0x89F},     CharacterRange{0x8CA, 0x8D3},
    CharacterRange{0x9FE, 0x9FE},     CharacterRange{0xC3C, 0xC3C},     CharacterRange{0xD3B, 0xD3C},
    CharacterRange{0xEBA, 0xEBA},     CharacterRange{0x1715, 0x1715},   CharacterRange{0x1ABF, 0x1ACE},
    CharacterRange{0x1DF6, 0x1DFA},   CharacterRange{0xA82C, 0xA82C},   CharacterRange{0x105C0, 0x105F3},
    CharacterRange{0x10D24, 0x10D27}, CharacterRange{0x10D69, 0x10D6D}, CharacterRange{0x10EAB, 0x10EAC},
    CharacterRange{0x10EFC, 0x10EFF}, CharacterRange{0x10F46, 0x10F50}, CharacterRange{0x10F82, 0x10F85},
    CharacterRange{0x11070, 0x11070}, CharacterRange{0x1133B, 0x1133B}, CharacterRange{0x11380, 0x113E3},
    CharacterRange{0x1145E, 0x1145E}, CharacterRange{0x11839, 0x1183A}, CharacterRange{0x11930, 0x11930},
    CharacterRange{0x11935, 0x11935}, CharacterRange{0x11938, 0x11938}, CharacterRange{0x1193D, 0x1193E},
    CharacterRange{0x11943, 0x11943}, CharacterRange{0x119E0, 0x119E0}, CharacterRange{0x11A34, 0x11A34},
    CharacterRange{0x11A47, 0x11A47}, CharacterRange{0x11A99, 0x11A99}, CharacterRange{0x11D42, 0x11D42},
    CharacterRange{0x11D44, 0x11D45}, CharacterRange{0x11D97, 0x11D97}, CharacterRange{0x11F41, 0x11F42},
    CharacterRange{0x11F5A, 0x11F5A}, CharacterRange{0x16100, 0x16139}, CharacterRange{0x16D40, 0x16D79},
    CharacterRange{0x16FF0, 0x16FF1}, CharacterRange{0x1E08F, 0x1E08F}, CharacterRange{0x1E130, 0x1E136},
    CharacterRange{0x1E2AE, 0x1E2AE}, CharacterRange{0x1E2EC, 0x1E2EF}, CharacterRange{0x1E4EC, 0x1E4EF},
    CharacterRange{0x1E5EE, 0x1E5EF},
};

}  // namespace chorus
