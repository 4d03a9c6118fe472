#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/formats/file_tensor.h"
#include "data/text/files.h"

namespace chorus {

// A memory-mapped safetensors file. Opening reads only the header and checks it completely: everything that
// does not describe exactly the bytes of the file is refused by a DataError with the file, the tensor and the
// numbers.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_->path(); }
  // Without hashes.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Whether Chorus wrote it, so that the next can tell.
  bool has_hashes() const { return hashes_.has_value(); }
  // Reads all of the file. Throws DataError with file and tensor where Chorus wrote it and it is not any more what was
  // written; files of other programs have no hashes.
  void require_undamaged() const;
  // Of every type, in the order of their bytes.
  const std::vector<TensorView>& tensors() const { return tensors_; }

  bool contains(std::string_view name) const { return index_.contains(name); }
  // Throws DataError if there is none, or if it is none of F32, F16, BF16.
  const TensorView& tensor(std::string_view name) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, std::string> metadata_;
  std::optional<std::pair<std::string, std::string>>
      hashes_;  // what the metadata say, where Chorus wrote the file
  std::vector<TensorView> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

// All elements of a trained tensor. Throws DataError with file and name where an element is not finite.
std::vector<float> read_finite_tensor(const SafetensorsFile& file, std::string_view name);

// Of names, types, shapes and a sample of the bytes, in whatever order and files the tensors stand. Reads 4 KiB of each,
// so that it is quick for models of any size.
std::uint64_t content_hash(std::vector<TensorView> tensors);

// Of all keys and values, as a file keeps it of its metadata.
std::uint64_t hash_of_metadata(const std::map<std::string, std::string>& metadata);

// Writes a safetensors file tensor by tensor, so that no more than one must be in memory at a time. The file appears when
// it is complete. Throws DataError if the disk does not take it. Its metadata hold hashes of all that is in it, by this
// key: of the other metadata, then of each tensor in the order of the file (name, type, shape and bytes, so that another
// layout of the header changes nothing).
inline constexpr std::string_view hashes_key = "chorus_hashes";
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorDescription> tensors,
                    std::map<std::string, std::string> metadata = {{"format", "pt"}});

  // The order in which append() wants the tensors: in_file_order().
  const std::vector<TensorDescription>& order() const { return tensors_; }
  void append(std::span<const std::byte> bytes);
  void finish();

 private:
  std::vector<TensorDescription> tensors_;
  std::vector<std::uint64_t> hashes_;  // of the metadata, of tensors
  std::string header_;                 // with the eight bytes of its length
  AtomicFile file_;
};

struct TensorToWrite : TensorDescription {
  const void* data = nullptr;
};

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace chorus
