#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/formats/file_tensor.h"

// The format: 8 bytes little-endian length H, H bytes of JSON {name: {dtype, shape, data_offsets: [begin,
// end]}}, then the data, which the offsets count from. See https://github.com/huggingface/safetensors
namespace chorus {

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::vector<TensorView> tensors;  // in the order of their bytes
};

// Reads and checks it: what does not describe exactly the bytes of the file is refused by a DataError with the file, the
// tensor and the numbers.
SafetensorsHeader read_safetensors_header(const MappedFile& file);

// What stands before the data, with its length.
std::string safetensors_header(const std::vector<TensorDescription>& in_order,
                               const std::map<std::string, std::string>& metadata);

}  // namespace chorus
