#include "launch/nearest_name.h"

#include <algorithm>
#include <cctype>
#include <cstdint>

#include "data/words.h"
#include "ops/error.h"

namespace chorus {
namespace {

std::string comparable(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    plain += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return plain;
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  require(!known.empty(), "no names to compare '", name, "' with");
  const std::string wanted = comparable(name);
  const auto distance = [&](const std::string& candidate) -> std::int64_t {
    const std::string other = comparable(candidate);
    const bool part = wanted.size() >= 3 && other != wanted && other.find(wanted) != std::string::npos;
    return part ? 1 : edit_distance(wanted, other);
  };
  return *std::min_element(known.begin(), known.end(),
                           [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
}

}  // namespace chorus
