#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/formats/safetensors.h"

namespace chorus {

// Bytes of tensors in one file, as Hugging Face cuts them.
inline constexpr std::int64_t largest_shard = 5'000'000'000;

// The tensors in the order in which they are written: cut in their own order into shards of at most `most_bytes`, or
// of one tensor that is larger; within each as in a safetensors file.
std::vector<std::vector<TensorDescription>> cut_into_shards(const std::vector<TensorDescription>& tensors,
                                                            std::int64_t most_bytes = largest_shard);

// Writes the weights of a Hugging Face folder tensor by tensor: model.safetensors, or where there are several shards
// model-00001-of-0000N.safetensors and, last, model.safetensors.index.json. Each file appears when it is complete; in
// the end the weights of the other form, which would be read instead or beside them, are removed.
class ModelWriter {
 public:
  ModelWriter(std::filesystem::path folder, std::vector<std::vector<TensorDescription>> shards);

  // F32 values of the next tensor; stored in the type that was described, F32, F16 or BF16.
  void append(std::span<const float> values);
  void finish();

 private:
  std::filesystem::path shard_path(std::size_t shard) const;

  std::filesystem::path folder_;
  std::vector<std::vector<TensorDescription>> shards_;
  std::optional<SafetensorsWriter> file_;  // of shard_
  std::size_t shard_ = 0, appended_ = 0;   // tensors of it
};

// As in torch_dtype of config.json: "float32" or "bfloat16".
std::string_view torch_name(FileDType dtype);

// Copies what belongs to the tokenizer and to generation from one Hugging Face folder to another.
void copy_tokenizer_files(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace chorus
