#pragma once

#include <filesystem>

namespace chorus {

// The checkout. Compilers know it as well, but a compiler's cache may have made their paths relative.
std::filesystem::path source_folder();

}  // namespace chorus
