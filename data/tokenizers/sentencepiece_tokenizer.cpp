#include "data/tokenizers/sentencepiece_tokenizer.h"

#include <unordered_map>

#include <sentencepiece_processor.h>

#include "ops/base/error.h"

namespace chorus {

namespace {

class SentencePieceTokenizer : public TokenizerEngine {
 public:
  SentencePieceTokenizer(const std::string& bytes, const std::filesystem::path& path) : path_(path.string()) {
    const auto status = processor_.LoadFromSerializedProto(bytes);
    require<DataError>(status.ok(), path_, ": is not a usable SentencePiece model: ", status.ToString());
    require<DataError>(processor_.bos_id() >= 0 && processor_.eos_id() >= 0, path_,
                       ": the vocabulary has no beginning or no end of a sequence (<s>, </s>)");
  }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<int> ids;
    const auto status = processor_.Encode(absl::string_view(text.data(), text.size()), &ids);
    require<DataError>(status.ok(), path_, ": cannot encode: ", status.ToString());
    return ids;
  }

  // Encode() finds no control tokens.
  std::vector<std::int32_t> encode_as_text(std::string_view text) const override { return encode(text); }

  std::string decode(std::span<const std::int32_t> ids) const override {
    std::string text;
    const auto status = processor_.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
    require<DataError>(status.ok(), path_, ": cannot decode: ", status.ToString());
    return text;
  }

  std::string token(std::int32_t id) const override { return processor_.IdToPiece(id); }
  // The library does not tell symbols that a user defined from words.
  std::optional<std::int32_t> special(std::string_view token) const override {
    const int id = processor_.PieceToId(absl::string_view(token.data(), token.size()));
    return processor_.IdToPiece(id) == token ? std::optional(id) : std::nullopt;
  }
  // As LLaMA reads texts.
  std::vector<std::int32_t> before() const override { return {processor_.bos_id()}; }
  std::vector<std::int32_t> behind() const override { return {}; }

  std::int32_t size() const override { return processor_.GetPieceSize(); }
  std::optional<std::int32_t> bos() const override { return processor_.bos_id(); }
  std::int32_t eos() const override { return processor_.eos_id(); }
  std::optional<std::int32_t> unk() const override { return processor_.unk_id(); }

 private:
  sentencepiece::SentencePieceProcessor processor_;
  std::string path_;
};

}  // namespace

// The SentencePiece library accepts any prefix of a model file that ends between two fields, and would then
// guess what is missing. The fields stand in the order of their numbers (sentencepiece_model.proto): pieces
// 1, trainer 2, normaliser 3; a file without the last two has lost its end.
bool is_sentencepiece_model(std::string_view bytes) {
  std::size_t i = 0;
  const auto varint = [&]() -> std::uint64_t {
    std::uint64_t value = 0;
    for (int shift = 0; i < bytes.size() && shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes[i++]);
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    return ~std::uint64_t{0};
  };
  std::unordered_map<std::uint64_t, std::int64_t> seen;
  while (i < bytes.size()) {
    const std::uint64_t key = varint();
    if ((key & 7) != 2) return false;  // all fields of the file are messages
    const std::uint64_t length = varint();
    if (length > bytes.size() - i) return false;
    i += length;
    ++seen[key >> 3];
  }
  return seen[1] > 0 && seen[2] == 1 && seen[3] == 1;
}

std::unique_ptr<TokenizerEngine> load_sentencepiece(const std::string& bytes,
                                                    const std::filesystem::path& path) {
  require<DataError>(is_sentencepiece_model(bytes), path.string(),
                     ": is not a SentencePiece model, or truncated (", bytes.size(), " bytes)");
  return std::make_unique<SentencePieceTokenizer>(bytes, path);
}

}  // namespace chorus
