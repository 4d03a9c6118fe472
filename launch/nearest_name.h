#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace chorus {

// The one of `known` that is reached from `name` by the fewest edits (data/words.h). That it contains
// `name`, as "lora-rank" does "rank", counts like one edit; case and the difference between - and _ do not
// count. `known` must not be empty.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

}  // namespace chorus
