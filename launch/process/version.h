#pragma once

#include <string_view>

namespace chorus {

std::string_view version();  // "0.1.0", of the project in CMakeLists.txt

}  // namespace chorus
