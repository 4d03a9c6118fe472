#include "data/tokenizers/text_template.h"

#include "data/tokenizers/tokenizer_part.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

std::vector<std::int32_t> ids_of(const JsonFields& special_tokens, const std::string& name) {
  const JsonFields token(special_tokens.get(name), fmt::format("{}: {}", special_tokens.where(), name));
  std::vector<std::int32_t> ids;
  for (const nlohmann::json& id : token.list("ids")) {
    const bool fits = id.is_number_unsigned() && id.get<std::uint64_t>() < 1U << 31;
    require<DataError>(fits, token.where(), ": ", id.dump(), " is no id");
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

}  // namespace

TextTemplate::TextTemplate(const nlohmann::json& json, const std::string& where) {
  bool is_read = false;
  for (const TokenizerPart& part : parts_of(json, where, "processors")) {
    if (part.type == "ByteLevel") continue;  // only moves offsets, which nobody asks for here
    if (part.type != "TemplateProcessing") refuse(part, "TemplateProcessing, ByteLevel and Sequence");
    require<DataError>(!is_read, part.fields.where(), ": a second TemplateProcessing is not supported");
    is_read = true;
    bool text_is_there = false;
    for (const nlohmann::json& piece : part.fields.list("single")) {
      const JsonFields fields(piece, part.fields.where() + ".single");
      if (fields.has("SpecialToken")) {
        const JsonFields special(fields.get("SpecialToken"), fields.where() + ": SpecialToken");
        const JsonFields all(part.fields.get("special_tokens"), part.fields.where() + ".special_tokens");
        const std::vector<std::int32_t> ids = ids_of(all, special.required_text("id"));
        std::vector<std::int32_t>& side = text_is_there ? behind : before;
        side.insert(side.end(), ids.begin(), ids.end());
        continue;
      }
      const JsonFields text(fields.get("Sequence"), fields.where() + ": Sequence");
      require<DataError>(text.required_text("id") == "A" && !text_is_there, fields.where(),
                         ": must hold one text, the Sequence A, once");
      text_is_there = true;
    }
    require<DataError>(text_is_there, part.fields.where(), ".single: holds no text, the Sequence A");
  }
}

}  // namespace chorus
