#pragma once

#include <string>

namespace chorus {

std::string host_name();  // of this machine; "unknown" where the system does not tell

}  // namespace chorus
