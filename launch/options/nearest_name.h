#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace chorus {

// The one of `known` that is meant by `name`, for a suggestion: reached by the fewest edits (data/text/text.h), if these
// are at most a third of its letters, or two of five. That it contains `name`, as "lora-rank" does "rank", counts like
// one edit; case, dashes in front and the difference between - and _ do not count. "" if none is near.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

// The one of `known` that does what an option called `name` does in other trainers; "" if none does.
std::string name_elsewhere(std::string_view name, const std::vector<std::string>& known);

// "; did you mean '--lora-rank'?" around the suggestion, or "" without one.
std::string suggestion(std::string_view before, std::string_view name, std::string_view after);

}  // namespace chorus
