#pragma once

#include <memory>

#include "core/formats/base_model.h"
#include "core/formats/new_base.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"

namespace chorus::test {

// A base of tiny_config() on disk, with a file in the place of its tokenizer.
inline std::unique_ptr<BaseModel> write_tiny_base(const ScratchFolder& folder) {
  write_bytes(folder / "tokenizer.model", "only copied, never read");
  write_new_base(folder / "base", tiny_config(), folder / "tokenizer.model", 1);
  return std::make_unique<BaseModel>(folder / "base");
}

}  // namespace chorus::test
