#pragma once

#include <string_view>

namespace chorus {

// page/page.html with its style and its script in it. What these draw takes the place of REPORT_AS_JSON.
std::string_view report_page();

}  // namespace chorus
