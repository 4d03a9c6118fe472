#pragma once

#include <string>
#include <string_view>

namespace chorus {

// Normalization Form C of well-formed UTF-8 (UAX #15).
std::string normalization_form_c(std::string_view text);

// The general categories Nd, Nl and No.
bool is_number(char32_t character);

// The property White_Space.
bool is_white_space(char32_t character);

}  // namespace chorus
