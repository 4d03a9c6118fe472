#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/formats/model_tensors.h"
#include "core/formats/safetensors.h"

namespace chorus {

// Whether the folder has model.safetensors or the index of its shards.
bool has_weights(const std::filesystem::path& folder);

// A Hugging Face folder: config.json and model.safetensors, or shards with model.safetensors.index.json. The
// weights stay in their files, mapped read-only; copies share them.
class BaseModel {
 public:
  // Throws DataError unless the files hold exactly the tensors of a model of this configuration, in F32, F16
  // or BF16. Stored rotary frequencies are passed over as Hugging Face does, and an lm_head beside a tied one if it
  // has the bits of the embedding.
  explicit BaseModel(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  const ModelConfig& config() const { return config_; }

  // As the weights are cut, with what is passed over.
  const std::vector<SafetensorsFile>& files() const { return files_; }

  // One of model_tensors(). Throws DataError for any other name. Its file stays mapped as long as a copy of it lives.
  const TensorView& tensor(std::string_view name) const;

  // Of what config.json means and of the tensors, by content_hash(): not of the folder's name, or of how they are cut
  // into files.
  std::uint64_t content_hash() const;

  // Of its files that Chorus wrote; reads all of them. Throws DataError with file and tensor.
  void require_undamaged() const;

  // The file of tokenizer_file(). Throws DataError if the folder has none.
  std::filesystem::path tokenizer_path() const;
  // Returns how many rows of the embedding no piece of the tokenizer uses, of tokens that were added to it or of
  // padding. Throws DataError if it has more pieces than there are rows.
  std::int64_t check_tokenizer_size(std::int64_t pieces) const;

 private:
  void open_shards();
  void add_file(const std::filesystem::path& path);
  void require_all_tensors() const;
  void require_tied_head() const;

  std::filesystem::path folder_;
  ModelConfig config_;
  std::vector<SafetensorsFile> files_;
  // Which of files_ holds a tensor.
  std::map<std::string, std::size_t, std::less<>> file_of_;
};

}  // namespace chorus
