#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "data/tokenizers/tokenizer_engine.h"

namespace chorus {

// Whether the bytes are those of a whole SentencePiece model.
bool is_sentencepiece_model(std::string_view bytes);

// A SentencePiece model, BPE or unigram. Throws DataError for bytes that are none, or that have no <s> and </s>.
std::unique_ptr<TokenizerEngine> load_sentencepiece(const std::string& bytes,
                                                    const std::filesystem::path& path);

}  // namespace chorus
