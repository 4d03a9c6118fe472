#pragma once

#include <string_view>

namespace chorus {

// The style and the script of the page, from experiments/report_page.
std::string_view report_style();
std::string_view report_script();

}  // namespace chorus
