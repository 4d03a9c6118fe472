#include "data/tokenizers/normalizer.h"

#include "data/tokenizers/unicode.h"

namespace chorus {

Normalizer::Normalizer(const nlohmann::json& json, const std::string& where) {
  for (const TokenizerPart& part : parts_of(json, where, "normalizers")) {
    if (part.type == "NFC") {
      steps_.emplace_back(FormC{});
    } else if (part.type == "Prepend") {
      steps_.emplace_back(Prepend{part.fields.required_text("prepend")});
    } else if (part.type == "Replace") {
      steps_.emplace_back(Replace{part.pattern(), part.fields.required_text("content")});
    } else {
      refuse(part, "NFC, Prepend, Replace and Sequence");
    }
  }
}

std::string Normalizer::operator()(std::string text) const {
  for (const auto& step : steps_) {
    text = std::visit([&](const auto& kind) { return apply(kind, std::move(text)); }, step);
  }
  return text;
}

std::string Normalizer::apply(const FormC&, std::string text) const { return normalization_form_c(text); }

std::string Normalizer::apply(const Prepend& step, std::string text) const {
  return text.empty() ? text : step.beginning + text;
}

std::string Normalizer::apply(const Replace& step, std::string text) const {
  return replace_matches(step.pattern, step.content, text);
}

std::string replace_matches(const RegularExpression& pattern, const std::string& content,
                            const std::string& text) {
  if (text.empty()) return text;  // where an expression may match nothing, it is not asked
  std::vector<Range> matches;
  pattern.find_all(text, matches);
  std::string result;
  std::size_t end = 0;
  for (const Range& match : matches) {
    result.append(text, end, match.begin - end);
    result += content;
    end = match.end;
  }
  return result.append(text, end);
}

}  // namespace chorus
