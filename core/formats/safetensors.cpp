#include "core/formats/safetensors.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/formats/finite.h"
#include "core/formats/safetensors_header.h"
#include "ops/base/error.h"
#include "ops/base/hash.h"

namespace chorus {
namespace {

constexpr std::size_t hash_digits = 16;

// "xxh64 0123456789abcdef …": of one length, whatever the hashes are.
std::string print_hashes(const std::vector<std::uint64_t>& hashes) {
  return fmt::format("{}{:016x}", hash_mark, fmt::join(hashes, " "));
}

std::uint64_t hash_of_tensor(const std::string& name, FileDType dtype, std::span<const std::int64_t> shape,
                             std::span<const std::byte> bytes) {
  return XxHash64().add_array(name).add_array(chorus::name(dtype)).add_array(shape).add(bytes).value();
}

std::map<std::string, std::string> with_hashes(std::map<std::string, std::string> metadata,
                                               const std::vector<std::uint64_t>& hashes) {
  metadata[std::string(hashes_key)] = print_hashes(hashes);
  return metadata;
}

std::int64_t total_bytes(const std::vector<TensorDescription>& tensors) {
  std::int64_t bytes = 0;
  for (const auto& tensor : tensors) bytes += checked_bytes(tensor.dtype, tensor.shape);
  return bytes;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(std::make_shared<const MappedFile>(path)) {
  SafetensorsHeader header = read_safetensors_header(*file_);
  metadata_ = std::move(header.metadata);
  tensors_ = std::move(header.tensors);
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    index_[tensors_[i].name] = i;
    tensors_[i].file = file_;
  }
  // Either the key or what the value begins with tells, so that damage to one of them does not make the file another
  // program's.
  const auto found = std::ranges::find_if(metadata_, [](const auto& entry) {
    return entry.first == hashes_key || entry.second.starts_with(hash_mark);
  });
  if (found == metadata_.end()) return;
  hashes_ = *found;
  metadata_.erase(found);
}

void SafetensorsFile::require_undamaged() const {
  if (!hashes_) return;
  const std::string& written = hashes_->second;
  const bool has_key = hashes_->first == hashes_key;
  std::vector<std::uint64_t> hashes;
  const auto require_next = [&](std::uint64_t hash, const std::string& what) {
    const std::size_t place = hash_mark.size() + hashes.size() * (hash_digits + 1);
    const bool same = has_key && place < written.size() &&
                      written.compare(place, hash_digits, fmt::format("{:016x}", hash)) == 0;
    require<DataError>(
        same, path().string(), ": ", what,
        " is damaged: it is not what was written; take another copy of the file (or, if a program "
        "changed it on purpose, let it leave out ",
        hashes_key, " of the metadata)");
    hashes.push_back(hash);
  };
  require_next(hash_of_metadata(metadata_), "the header");
  for (const TensorView& tensor : tensors_) {
    require_next(hash_of_tensor(tensor.name, tensor.dtype, tensor.shape, tensor.bytes()),
                 "the tensor " + tensor.name);
    file_->give_back(tensor.bytes());
  }
  require<DataError>(written == print_hashes(hashes), path().string(), ": ", hashes_key,
                     " of the header is damaged");
}

const TensorView& SafetensorsFile::tensor(std::string_view name) const {
  const auto found = index_.find(name);
  require<DataError>(found != index_.end(), path().string(), " has no tensor ", name);
  const auto& view = tensors_[found->second];
  require<DataError>(is_readable(view.dtype), path().string(), ": the tensor ", name, " is of type ",
                     chorus::name(view.dtype), "; F32, F16 and BF16 can be read");
  return view;
}

std::vector<float> read_finite_tensor(const SafetensorsFile& file, std::string_view name) {
  std::vector<float> values = read_tensor(file.tensor(name));
  require<DataError>(all_finite(values), file.path().string(), ": the tensor ", name,
                     " holds numbers that are not finite");
  return values;
}

std::uint64_t hash_of_metadata(const std::map<std::string, std::string>& metadata) {
  XxHash64 hash;
  for (const auto& [key, value] : metadata) hash.add_array(key).add_array(value);
  return hash.value();
}

std::uint64_t content_hash(std::vector<TensorView> tensors) {
  std::ranges::sort(tensors, {}, &TensorView::name);
  Fnv1a hash;
  for (const TensorView& tensor : tensors) {
    hash.add_array(tensor.name).add_array(name(tensor.dtype)).add_array(tensor.shape);
    // Evenly spread pieces, from the first byte to the last: training changes all of a tensor.
    constexpr std::size_t pieces = 4, piece = 1024;
    const std::span<const std::byte> bytes = tensor.bytes();
    const std::size_t length = std::min(piece, bytes.size());
    for (std::size_t i = 0; i < pieces; ++i)
      hash.add(bytes.subspan((bytes.size() - length) * i / (pieces - 1), length));
    // The system maps more than is read; what a run copies it keeps no second time.
    if (tensor.file != nullptr) tensor.file->give_back(bytes);
  }
  return hash.value();
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::vector<TensorDescription> tensors,
                                     std::map<std::string, std::string> metadata)
    : tensors_(in_file_order(std::move(tensors))),
      hashes_{hash_of_metadata(metadata)},
      header_(safetensors_header(
          tensors_, with_hashes(std::move(metadata), std::vector<std::uint64_t>(tensors_.size() + 1)))),
      file_(path, static_cast<std::int64_t>(header_.size()) + total_bytes(tensors_)) {
  file_.write(std::as_bytes(std::span(header_)));
}

void SafetensorsWriter::append(std::span<const std::byte> bytes) {
  const std::size_t appended = hashes_.size() - 1;
  require(appended < tensors_.size(), "more tensors are written than were announced");
  const auto& tensor = tensors_[appended];
  const std::int64_t needed = checked_bytes(tensor.dtype, tensor.shape);
  require(static_cast<std::int64_t>(bytes.size()) == needed, "the tensor ", tensor.name, " ",
          to_string(tensor.shape), " takes ", needed, " bytes and is given ", bytes.size());
  hashes_.push_back(hash_of_tensor(tensor.name, tensor.dtype, tensor.shape, bytes));
  file_.write(bytes);
}

void SafetensorsWriter::finish() {
  require(hashes_.size() == tensors_.size() + 1, hashes_.size() - 1, " of ", tensors_.size(),
          " tensors were written");
  // Known only now, and of the length that the header has for them.
  const std::string hashes = print_hashes(hashes_);
  const std::size_t place = header_.find(print_hashes(std::vector<std::uint64_t>(hashes_.size())));
  file_.rewrite(static_cast<std::int64_t>(place), std::as_bytes(std::span(hashes)));
  file_.publish();
}

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::map<std::string_view, const TensorToWrite*> by_name;
  for (const auto& tensor : tensors) by_name[tensor.name] = &tensor;
  SafetensorsWriter writer(path, {tensors.begin(), tensors.end()}, metadata);
  for (const auto& tensor : writer.order()) {
    const auto bytes = static_cast<std::size_t>(checked_bytes(tensor.dtype, tensor.shape));
    writer.append({static_cast<const std::byte*>(by_name.at(tensor.name)->data), bytes});
  }
  writer.finish();
}

}  // namespace chorus
