#pragma once

#include <string>
#include <string_view>

namespace chorus {

// Normalization Form C of well-formed UTF-8 (UAX #15) by Unicode 9.0, as Hugging Face's library has it: what was added later
// stays as it is.
std::string normalization_form_c(std::string_view text);

// The two letters of its general category, "Lu" for example, by Unicode 16.0 for letters, marks and numbers.
std::string_view general_category(char32_t character);

// Whether its category is Nd, Nl or No.
bool is_number(char32_t character);

// The property White_Space.
bool is_white_space(char32_t character);

}  // namespace chorus
