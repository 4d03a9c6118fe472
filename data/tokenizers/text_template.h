#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/text/json.h"

namespace chorus {

// What stands around one text, <|begin_of_text|> for example: the "post_processor" of a tokenizer.json.
struct TextTemplate {
  TextTemplate() = default;
  // Throws DataError for a part that is not supported, and a template that does not hold one text.
  TextTemplate(const nlohmann::json& json, const std::string& where);

  std::vector<std::int32_t> before, behind;
};

}  // namespace chorus
