#include "core/formats/base_model.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/formats/weight_files.h"
#include "data/prompts/tokenizer.h"
#include "data/text/json.h"
#include "ops/base/error.h"
#include "ops/base/hash.h"

namespace chorus {
namespace {

constexpr std::string_view embedding_name = "model.embed_tokens.weight", head_name = "lm_head.weight";
constexpr std::size_t most_listed = 5;

// "3 tensors are …:" and at most five of them, one a line.
void require_none(const std::vector<std::string>& offenders, const std::string& where,
                  std::string_view what) {
  if (offenders.empty()) return;
  const auto listed = std::span(offenders).first(std::min(offenders.size(), most_listed));
  std::string text =
      fmt::format("{}: {} {}:\n  {}", where, offenders.size(), what, fmt::join(listed, "\n  "));
  if (listed.size() < offenders.size())
    text += fmt::format("\n  and {} more", offenders.size() - listed.size());
  throw DataError(text);
}

// Buffers that old versions of transformers saved; they follow from config.json.
bool is_rotary_buffer(std::string_view name) {
  return name.starts_with("model.") && name.ends_with("rotary_emb.inv_freq");
}

std::map<std::string, std::string> read_index(const std::filesystem::path& path) {
  const nlohmann::json content = read_json_file(path);
  const JsonFields fields(content, path.string());
  const auto& weights = fields["weight_map"];
  require<DataError>(weights.is_object() && !weights.empty(), path.string(), " has no weight_map");
  std::map<std::string, std::string> file_of;
  for (const auto& [name, file] : weights.items()) {
    const std::string text = file.is_string() ? file.get<std::string>() : "";
    const bool plain = !text.empty() && std::filesystem::path(text).filename() == text;
    require<DataError>(plain, path.string(), ": the tensor ", name, " is said to be in ", file.dump(),
                       ", which is no file name");
    file_of[name] = text;
  }
  return file_of;
}

}  // namespace

bool has_weights(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / single_weights_file) ||
         std::filesystem::exists(folder / weights_index_file);
}

BaseModel::BaseModel(std::filesystem::path folder)
    : folder_(std::move(folder)), config_(read_model_config(folder_)) {
  require<DataError>(
      has_weights(folder_), folder_.string(),
      " has neither model.safetensors nor model.safetensors.index.json; weights in other formats must "
      "be saved again by transformers with safe_serialization=True");
  if (const auto single = folder_ / single_weights_file; std::filesystem::exists(single)) {
    add_file(single);
  } else {
    open_shards();
  }
  require_all_tensors();
}

void BaseModel::add_file(const std::filesystem::path& path) {
  files_.emplace_back(path);
  for (const auto& tensor : files_.back().tensors()) {
    const auto [place, is_new] = file_of_.try_emplace(tensor.name, files_.size() - 1);
    require<DataError>(is_new, "the tensor ", tensor.name,
                       " stands in two files: ", files_[place->second].path().string(), " and ",
                       path.string());
  }
}

void BaseModel::open_shards() {
  const auto index_path = folder_ / weights_index_file;
  const auto index = read_index(index_path);
  std::set<std::string> file_names;
  for (const auto& [name, file] : index) file_names.insert(file);
  for (const auto& file : file_names) {
    require<DataError>(std::filesystem::exists(folder_ / file), index_path.string(), " names the file ", file,
                       ", which is not in the folder");
    add_file(folder_ / file);
  }

  std::vector<std::string> misplaced, unlisted;
  for (const auto& [name, file] : index) {
    const auto found = file_of_.find(name);
    if (found == file_of_.end() || files_[found->second].path().filename() != file) {
      misplaced.push_back(fmt::format("{} in {}", name, file));
    }
  }
  for (const auto& [name, file] : file_of_) {
    if (!index.contains(name))
      unlisted.push_back(fmt::format("{} in {}", name, files_[file].path().filename().string()));
  }
  require_none(misplaced, index_path.string(), "tensors are not where the index says");
  require_none(unlisted, index_path.string(), "tensors of the files are not in the index");
}

void BaseModel::require_all_tensors() const {
  std::vector<ModelTensor> expected = model_tensors(config_);
  if (config_.tied_head && file_of_.contains(head_name)) {
    expected.push_back({std::string(head_name), expected.front().shape, TensorRole::head});
  }
  std::vector<std::string> missing, misshapen, unknown;
  std::set<std::string_view> names;
  for (const ModelTensor& wanted : expected) {
    names.insert(wanted.name);
    if (!file_of_.contains(wanted.name)) {
      missing.push_back(fmt::format("{} {}", wanted.name, to_string(wanted.shape)));
    } else if (const auto& found = tensor(wanted.name).shape; found != wanted.shape) {
      misshapen.push_back(
          fmt::format("{} is {}, not {}", wanted.name, to_string(found), to_string(wanted.shape)));
    }
  }
  for (const auto& [name, file] : file_of_) {
    if (!names.contains(name) && !is_rotary_buffer(name)) unknown.push_back(name);
  }
  require_none(missing, folder_.string(), "tensors of the model that config.json describes are missing");
  require_none(misshapen, folder_.string(), "tensors have another shape than config.json describes");
  if (config_.tied_head && file_of_.contains(head_name)) require_tied_head();
  require_none(unknown, folder_.string(),
               fmt::format("tensors are unknown to {}, and leaving them out would change the model",
                           architecture(config_.family)));
}

// Libraries differ on which of two that are not alike would count.
void BaseModel::require_tied_head() const {
  const TensorView &head = tensor(head_name), &embedding = tensor(embedding_name);
  const bool equal = head.dtype == embedding.dtype && std::ranges::equal(head.bytes(), embedding.bytes());
  head.file->give_back(head.bytes());
  require<DataError>(equal, folder_.string(), ": config.json has tie_word_embeddings true, but ", head_name,
                     " is not ", embedding_name, ": set it to false, or remove ", head_name);
}

const TensorView& BaseModel::tensor(std::string_view name) const {
  const auto found = file_of_.find(name);
  require<DataError>(found != file_of_.end(), folder_.string(), " has no tensor ", name);
  return files_[found->second].tensor(name);
}

std::uint64_t BaseModel::content_hash() const {
  std::vector<TensorView> tensors;
  for (const ModelTensor& expected : model_tensors(config_)) tensors.push_back(tensor(expected.name));
  const std::uint64_t of_tensors = chorus::content_hash(std::move(tensors));
  return Fnv1a().add_array(std::span(&of_tensors, 1)).add(to_json(config_, "").dump()).value();
}

void BaseModel::require_undamaged() const {
  for (const SafetensorsFile& file : files_) file.require_undamaged();
}

std::filesystem::path BaseModel::tokenizer_path() const {
  const auto path = tokenizer_file(folder_);
  require<DataError>(path.has_value(), folder_.string(), " has no tokenizer.model and no tokenizer.json");
  return *path;
}

std::int64_t BaseModel::check_tokenizer_size(std::int64_t pieces) const {
  const std::int64_t vocabulary = config_.vocabulary_size;
  require<DataError>(pieces <= vocabulary, "the tokenizer has ", pieces, " pieces, and the base model ",
                     folder_.string(), " has a vocabulary of only ", vocabulary,
                     "; they do not belong together");
  return vocabulary - pieces;
}

}  // namespace chorus
