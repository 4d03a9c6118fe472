#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "data/tokenizers/tokenizer_engine.h"

namespace chorus {

// A tokenizer.json of Hugging Face's tokenizers, byte-level BPE as of Llama 3, Qwen2 and SmolLM2. bos() is what its template
// puts before a text, if anything; how texts end is read from the files beside it (end_of_text.h). Throws DataError for a
// file that is malformed, and that names what is not supported.
std::unique_ptr<TokenizerEngine> load_tokenizer_json(const std::string& bytes,
                                                     const std::filesystem::path& path);

}  // namespace chorus
