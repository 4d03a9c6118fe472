#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace chorus {

// The most memory this process has held at any time.
std::int64_t peak_resident_bytes();

// What a reader of results needs to know of the machine and the program: written as environment.json.
nlohmann::ordered_json describe_environment();

// The file of this program. Throws DataError where the system does not tell.
std::string own_program();

}  // namespace chorus
