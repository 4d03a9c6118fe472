#include "core/scoring/kept_embeddings.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "core/formats/safetensors.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr const char* vectors_name = "vectors";  // F32 [texts, D]
constexpr const char* ends_name = "text_ends";   // I64 [texts]: where each ends in the next
constexpr const char* bytes_name = "texts";      // U8 [bytes]

}  // namespace

KeptEmbeddings::KeptEmbeddings(const std::filesystem::path& folder,
                               const std::map<std::string, std::string>& maker)
    : path_(folder / fmt::format("{:016x}.safetensors", hash_of_metadata(maker))), maker_(maker) {
  if (std::filesystem::exists(path_)) read();
}

std::vector<std::string> KeptEmbeddings::missing(std::span<const std::string> texts) const {
  std::vector<std::string> without;
  for (const std::string& text : texts) {
    if (!rows_.contains(text)) without.push_back(text);
  }
  return without;
}

void KeptEmbeddings::add(std::span<const std::string> texts, std::span<const float> vectors) {
  if (texts.empty()) return;
  for (const std::string& text : texts) {
    require(rows_.emplace(text, texts_.size()).second, "the text '", text, "' has a vector");
    texts_.push_back(text);
  }
  vectors_.insert(vectors_.end(), vectors.begin(), vectors.end());
  write();
}

std::vector<float> KeptEmbeddings::of(std::span<const std::string> texts) const {
  const std::size_t width = texts_.empty() ? 0 : vectors_.size() / texts_.size();
  std::vector<float> result;
  result.reserve(texts.size() * width);
  for (const std::string& text : texts) {
    const float* row = vectors_.data() + rows_.at(text) * width;
    result.insert(result.end(), row, row + width);
  }
  return result;
}

void KeptEmbeddings::read() {
  const SafetensorsFile file(path_);
  const auto find = [&](const char* name, FileDType dtype, std::size_t dims) -> const TensorView* {
    const auto found = std::ranges::find(file.tensors(), name, &TensorView::name);
    return found != file.tensors().end() && found->dtype == dtype && found->shape.size() == dims ? &*found
                                                                                                 : nullptr;
  };
  const TensorView* vectors = find(vectors_name, FileDType::f32, 2);
  const TensorView* ends = find(ends_name, FileDType::i64, 1);
  const TensorView* bytes = find(bytes_name, FileDType::u8, 1);
  require<DataError>(file.metadata() == maker_ && file.has_hashes() && vectors != nullptr &&
                         ends != nullptr && bytes != nullptr && vectors->shape[0] == ends->shape[0],
                     path_.string(), " is no file of vectors that Chorus wrote under this name: remove it");
  file.require_undamaged();
  vectors_ = read_finite_tensor(file, vectors_name);
  const std::string_view all(reinterpret_cast<const char*>(bytes->data),
                             static_cast<std::size_t>(bytes->shape[0]));
  std::size_t begin = 0;
  for (std::int64_t i = 0; i < ends->shape[0]; ++i) {
    std::int64_t end;
    std::memcpy(&end, ends->data + i * static_cast<std::int64_t>(sizeof end), sizeof end);
    require<DataError>(static_cast<std::int64_t>(begin) <= end && end <= std::ssize(all), path_.string(),
                       ": text ", i, " ends at byte ", end, " of ", all.size());
    texts_.emplace_back(all.substr(begin, static_cast<std::size_t>(end) - begin));
    rows_.emplace(texts_.back(), texts_.size() - 1);
    begin = static_cast<std::size_t>(end);
  }
}

void KeptEmbeddings::write() const {
  std::string bytes;
  std::vector<std::int64_t> ends;
  for (const std::string& text : texts_) {
    bytes += text;
    ends.push_back(std::ssize(bytes));
  }
  const std::int64_t texts = std::ssize(texts_);
  std::filesystem::create_directories(path_.parent_path());
  write_safetensors(path_,
                    {{{vectors_name, FileDType::f32, {texts, std::ssize(vectors_) / texts}}, vectors_.data()},
                     {{ends_name, FileDType::i64, {texts}}, ends.data()},
                     {{bytes_name, FileDType::u8, {std::ssize(bytes)}}, bytes.data()}},
                    maker_);
}

}  // namespace chorus
