#pragma once

#include <string>
#include <string_view>

namespace chorus {

std::string_view version();  // "0.1.0", of the project in CMakeLists.txt

// Lines for people: commit, compiler, and what the program was built with.
std::string build_description();

}  // namespace chorus
