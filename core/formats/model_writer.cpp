#include "core/formats/model_writer.h"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/formats/weight_files.h"
#include "data/text/files.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

std::int64_t bytes_in_file(const TensorDescription& tensor) {
  std::int64_t bytes = bytes_per_element(tensor.dtype);
  for (const std::int64_t extent : tensor.shape) bytes *= extent;
  return bytes;
}

std::string shard_name(std::size_t shard, std::size_t shards) {
  return shards == 1 ? single_weights_file
                     : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards);
}

bool is_shard(const std::string& name) {
  return name.starts_with("model-") && name.ends_with(".safetensors") &&
         name.size() == shard_name(0, 2).size();
}

}  // namespace

std::vector<std::vector<TensorDescription>> cut_into_shards(const std::vector<TensorDescription>& tensors,
                                                            std::int64_t most_bytes) {
  std::vector<std::vector<TensorDescription>> shards(1);
  std::int64_t bytes = 0;
  for (const TensorDescription& tensor : tensors) {
    if (!shards.back().empty() && bytes + bytes_in_file(tensor) > most_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    bytes += bytes_in_file(tensor);
    shards.back().push_back(tensor);
  }
  for (auto& shard : shards) shard = in_file_order(std::move(shard));
  return shards;
}

ModelWriter::ModelWriter(std::filesystem::path folder, std::vector<std::vector<TensorDescription>> shards)
    : folder_(std::move(folder)), shards_(std::move(shards)) {
  file_.emplace(shard_path(0), shards_[0]);
}

std::filesystem::path ModelWriter::shard_path(std::size_t shard) const {
  return folder_ / shard_name(shard, shards_.size());
}

void ModelWriter::append(std::span<const float> values) {
  if (appended_ == shards_[shard_].size()) {
    file_->finish();
    require(++shard_ < shards_.size(), "more tensors are written than were announced");
    appended_ = 0;
    file_.emplace(shard_path(shard_), shards_[shard_]);
  }
  const TensorDescription& tensor = shards_[shard_][appended_++];
  if (tensor.dtype == FileDType::f32) return file_->append(std::as_bytes(values));
  file_->append(stored_as(tensor.dtype, values));
}

void ModelWriter::finish() {
  require(shard_ + 1 == shards_.size(), shard_ + 1, " of ", shards_.size(), " shards were written");
  file_->finish();
  nlohmann::json map = nlohmann::json::object();
  std::int64_t bytes = 0;
  for (std::size_t shard = 0; shard < shards_.size(); ++shard) {
    for (const TensorDescription& tensor : shards_[shard]) {
      map[tensor.name] = shard_name(shard, shards_.size());
      bytes += bytes_in_file(tensor);
    }
  }
  const bool single = shards_.size() == 1;
  if (!single) {
    const nlohmann::json index{{"metadata", {{"total_size", bytes}}}, {"weight_map", map}};
    write_file_atomically(folder_ / weights_index_file, index.dump(2) + "\n");
  }
  std::vector<std::filesystem::path> former{folder_ / (single ? weights_index_file : single_weights_file)};
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    bool written = false;
    for (std::size_t shard = 0; shard < shards_.size(); ++shard)
      written = written || name == shard_name(shard, shards_.size());
    if (is_shard(name) && !written) former.push_back(entry.path());
  }
  for (const std::filesystem::path& file : former) std::filesystem::remove(file);
}

std::string_view torch_name(FileDType dtype) {
  require(dtype == FileDType::f32 || dtype == FileDType::bf16, "models are not written as ", name(dtype));
  return dtype == FileDType::f32 ? "float32" : "bfloat16";
}

void copy_tokenizer_files(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const char* name : {"tokenizer.model", "tokenizer.json", "tokenizer_config.json",
                           "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
                           "chat_template.jinja", "chat_template.json", "generation_config.json"}) {
    if (std::filesystem::exists(from / name))
      write_file_atomically(to / name, MappedFile(from / name).bytes());
  }
}

}  // namespace chorus
