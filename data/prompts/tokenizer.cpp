#include "data/prompts/tokenizer.h"

#include "data/text/files.h"
#include "data/text/text_file.h"
#include "data/tokenizers/json_tokenizer.h"
#include "data/tokenizers/sentencepiece_tokenizer.h"
#include "ops/base/error.h"
#include "ops/base/hash.h"

namespace chorus {

namespace {

namespace fs = std::filesystem;

constexpr const char *model_name = "tokenizer.model", *json_name = "tokenizer.json";

bool looks_like_json(std::string_view bytes) {
  if (is_sentencepiece_model(bytes)) return false;
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  const std::size_t first = bytes.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && bytes[first] == '{';
}

bool can_be_read(const fs::path& model) {
  try {
    load_sentencepiece(read_file(model), model);
    return true;
  } catch (const DataError&) {
    return false;
  }
}

}  // namespace

std::optional<fs::path> tokenizer_file(const fs::path& path) {
  if (!fs::is_directory(path)) return path;
  const fs::path model = path / model_name, json = path / json_name;
  if (!fs::exists(json)) return fs::exists(model) ? std::optional(model) : std::nullopt;
  return fs::exists(model) && can_be_read(model) ? model : json;
}

void copy_tokenizer(const fs::path& tokenizer, const fs::path& folder) {
  const fs::path file = tokenizer_file(tokenizer).value_or(tokenizer);
  const std::string bytes = read_file(file);
  const bool is_json = looks_like_json(bytes);
  write_file_atomically(folder / (is_json ? json_name : model_name), bytes);
  if (!is_json) return;
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const fs::path beside = file.parent_path() / name;
    if (fs::exists(beside)) write_file_atomically(folder / name, read_file(beside));
  }
}

Tokenizer::Tokenizer(std::unique_ptr<const TokenizerEngine> engine, std::uint64_t hash, std::string path)
    : engine_(std::move(engine)), hash_(hash), path_(std::move(path)) {}

Tokenizer Tokenizer::load(const fs::path& path) {
  const auto file = tokenizer_file(path);
  require<DataError>(file.has_value(), path.string(), " has no ", model_name, " and no ", json_name);
  const std::string bytes = read_file(*file);
  auto engine = looks_like_json(bytes) ? load_tokenizer_json(bytes, *file) : load_sentencepiece(bytes, *file);
  return Tokenizer(std::move(engine), Fnv1a().add(bytes).value(), file->string());
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const { return engine_->encode(text); }

std::vector<std::int32_t> Tokenizer::encode_as_text(std::string_view text) const {
  return engine_->encode_as_text(text);
}

std::vector<std::int32_t> Tokenizer::encode_with_special(std::string_view text) const {
  std::vector<std::int32_t> ids = engine_->before();
  for (const auto& more : {engine_->encode(text), engine_->behind()})
    ids.insert(ids.end(), more.begin(), more.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  for (const std::int32_t id : ids) {
    require<DataError>(id >= 0 && id < size(), path_, ": token ", id, " is outside the vocabulary of ",
                       size());
  }
  return engine_->decode(ids);
}

std::string Tokenizer::token(std::int32_t id) const { return engine_->token(id); }

std::optional<std::int32_t> Tokenizer::special(std::string_view token) const {
  return engine_->special(token);
}

std::int32_t Tokenizer::size() const { return engine_->size(); }
std::optional<std::int32_t> Tokenizer::bos() const { return engine_->bos(); }
std::int32_t Tokenizer::eos() const { return engine_->eos(); }
std::optional<std::int32_t> Tokenizer::unk() const { return engine_->unk(); }

std::vector<std::int32_t> Tokenizer::beginning() const {
  const std::optional<std::int32_t> token = bos();
  return token ? std::vector{*token} : std::vector<std::int32_t>{};
}

}  // namespace chorus
