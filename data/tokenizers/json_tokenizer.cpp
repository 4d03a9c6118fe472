#include "data/tokenizers/json_tokenizer.h"

#include <algorithm>

#include "data/text/json.h"
#include "data/text/utf8.h"
#include "data/tokenizers/added_tokens.h"
#include "data/tokenizers/bpe_model.h"
#include "data/tokenizers/end_of_text.h"
#include "data/tokenizers/normalizer.h"
#include "data/tokenizers/pre_tokenizer.h"
#include "data/tokenizers/text_template.h"
#include "data/tokenizers/token_decoder.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

// truncation and padding are not read: who encodes says whether he wants them.
class JsonTokenizer : public TokenizerEngine {
 public:
  JsonTokenizer(const JsonFields& fields, const std::filesystem::path& path)
      : path_(path.string()),
        model_(fields.get("model"), path_ + ": model"),
        normalizer_(fields["normalizer"], path_ + ": normalizer"),
        added_(fields["added_tokens"], model_, normalizer_, path_ + ": added_tokens"),
        pre_tokenizer_(fields["pre_tokenizer"], path_ + ": pre_tokenizer"),
        template_(fields["post_processor"], path_ + ": post_processor"),
        decoder_(fields["decoder"], path_ + ": decoder") {
    list_tokens();
    require<DataError>(template_.before.size() <= 1, path_, ": post_processor: begins texts with ",
                       template_.before.size(), " tokens; one or none is supported");
    for (const auto* side : {&template_.before, &template_.behind})
      for (const std::int32_t id : *side)
        require<DataError>(id < size(), path_, ": post_processor: the token ", id,
                           " is outside the vocabulary of ", size());
    find_end(path.parent_path());
  }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    return encode(text, AddedTokens::Which::all);
  }
  std::vector<std::int32_t> encode_as_text(std::string_view text) const override {
    return encode(text, AddedTokens::Which::not_special);
  }

  std::string decode(std::span<const std::int32_t> ids) const override {
    std::vector<std::string> tokens;
    for (const std::int32_t id : ids) {
      // Between the model's tokens and those that were added may be numbers without a token.
      const std::string* token = tokens_[static_cast<std::size_t>(id)];
      if (token != nullptr) tokens.push_back(*token);
    }
    return decoder_(std::move(tokens));
  }

  std::string token(std::int32_t id) const override {
    const std::string* token = tokens_[static_cast<std::size_t>(id)];
    return token == nullptr ? "" : *token;
  }
  std::optional<std::int32_t> special(std::string_view token) const override { return added_.id(token); }
  std::vector<std::int32_t> before() const override { return template_.before; }
  std::vector<std::int32_t> behind() const override { return template_.behind; }

  std::int32_t size() const override { return static_cast<std::int32_t>(tokens_.size()); }
  std::optional<std::int32_t> bos() const override {
    return template_.before.empty() ? std::nullopt : std::optional(template_.before.front());
  }
  std::int32_t eos() const override {
    require<DataError>(
        end_.has_value(), path_,
        ": does not say which token ends a text: put the model's tokenizer_config.json, with its "
        "eos_token, beside it");
    return *end_;
  }
  std::optional<std::int32_t> unk() const override { return model_.unk(); }

 private:
  std::vector<std::int32_t> encode(std::string_view text, AddedTokens::Which which) const {
    std::vector<std::int32_t> ids;
    const std::string well_formed = replace_ill_formed(text);
    for (const AddedTokens::Stretch& stretch : added_.find(well_formed, which)) {
      if (stretch.token != nullptr) {
        ids.push_back(stretch.token->id);
      } else {
        encode_normalized(normalizer_(std::string(stretch.range.of(well_formed))), which, ids);
      }
    }
    return ids;
  }

  void encode_normalized(const std::string& text, AddedTokens::Which which,
                         std::vector<std::int32_t>& ids) const {
    for (const AddedTokens::Stretch& stretch : added_.find_normalized(text, which)) {
      if (stretch.token != nullptr) {
        ids.push_back(stretch.token->id);
      } else {
        const Pieces pieces = pre_tokenizer_(stretch.range.of(text));
        model_.encode(pieces.text, pieces.ranges, ids);
      }
    }
  }

  void list_tokens() {
    const auto set = [&](std::int32_t id, const std::string& token) {
      const auto index = static_cast<std::size_t>(id);
      if (index >= tokens_.size()) tokens_.resize(index + 1, nullptr);
      tokens_[index] = &token;
    };
    for (const auto& [token, id] : model_.vocabulary()) set(id, token);
    for (const auto& [id, token] : added_.by_id()) set(id, token.text);
    require<DataError>(!tokens_.empty(), path_, ": model.vocab: is empty");
  }

  std::optional<std::int32_t> id(const std::string& token) const {
    const auto added = added_.id(token);
    return added ? added : model_.id(token);
  }

  void find_end(const std::filesystem::path& folder) {
    end_ = find_end_of_text(folder, {[this](const std::string& token) { return id(token); }, size()});
    if (end_) return;
    // The file alone: what its template puts behind a text, or the one special token with a name that says it.
    if (template_.behind.size() == 1) {
      end_ = template_.behind.front();
      return;
    }
    std::vector<std::int32_t> known;
    for (const auto& [id, token] : added_.by_id()) {
      const bool ends =
          token.content == "</s>" || token.content == "<|endoftext|>" || token.content == "<|end_of_text|>";
      if (token.special && ends) known.push_back(id);
    }
    if (known.size() == 1) end_ = known.front();
  }

  std::string path_;
  BpeModel model_;
  Normalizer normalizer_;
  AddedTokens added_;
  PreTokenizer pre_tokenizer_;
  TextTemplate template_;
  TokenDecoder decoder_;
  std::vector<const std::string*> tokens_;  // by id; null: none
  std::optional<std::int32_t> end_;
};

}  // namespace

std::unique_ptr<TokenizerEngine> load_tokenizer_json(const std::string& bytes,
                                                     const std::filesystem::path& path) {
  const nlohmann::json json = parse_foreign_json(bytes, path.string());
  const JsonFields fields(json, path.string());
  const std::string version = fields.text("version").value_or("1.0");
  require<DataError>(version == "1.0", path.string(), ": the version ", version,
                     " of tokenizer.json is not supported; 1.0 is");
  return std::make_unique<JsonTokenizer>(fields, path);
}

}  // namespace chorus
