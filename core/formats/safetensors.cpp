#include "core/formats/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/formats/finite.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"
#include "ops/base/hash.h"
#include "ops/bfloat16.h"

// The format: 8 bytes little-endian length H, H bytes of JSON {name: {dtype, shape, data_offsets: [begin,
// end]}}, then the data, which the offsets count from. See https://github.com/huggingface/safetensors
static_assert(std::endian::native == std::endian::little, "the files are read without exchanging bytes");

namespace chorus {
namespace {

using nlohmann::json;

constexpr std::size_t length_bytes = 8, hash_digits = 16;
constexpr std::uint64_t longest_header = 100'000'000;  // the limit of the safetensors library

struct DTypeFacts {
  std::string_view name;
  std::int64_t bytes;
};
// In the order of FileDType.
constexpr std::array<DTypeFacts, 15> dtype_facts{{{"BOOL", 1},
                                                  {"U8", 1},
                                                  {"I8", 1},
                                                  {"F8_E5M2", 1},
                                                  {"F8_E4M3", 1},
                                                  {"I16", 2},
                                                  {"U16", 2},
                                                  {"F16", 2},
                                                  {"BF16", 2},
                                                  {"I32", 4},
                                                  {"U32", 4},
                                                  {"F32", 4},
                                                  {"F64", 8},
                                                  {"I64", 8},
                                                  {"U64", 8}}};

// Exact: every binary16 is a binary32.
float float_of_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t magnitude = half & 0x7fffU;
  if (magnitude >= 0x7c00U) return std::bit_cast<float>(sign | 0x7f800000U | ((magnitude & 0x3ffU) << 13));
  if (magnitude < 0x0400U) {  // subnormal: a multiple of 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + ((127U - 15U) << 23)));
}

std::uint16_t half_of_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  std::uint32_t half = 0;
  if (magnitude > 0x7f800000U) {
    half = 0x7e00U;  // NaN
  } else if (magnitude >= 0x477ff000U) {
    half = 0x7c00U;  // from 65520 on: infinite
  } else if (magnitude < 0x38800000U) {
    half = static_cast<std::uint32_t>(std::nearbyint(std::abs(value) * 0x1p24F));  // subnormal, or 2^-14
  } else {
    half = (magnitude - ((127U - 15U) << 23) + 0xfffU + ((magnitude >> 13) & 1U)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

void convert(FileDType dtype, const std::byte* from, std::int64_t count, float* to) {
  if (count == 0) return;
  if (dtype == FileDType::f32) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  require(is_readable(dtype), "a tensor of ", name(dtype), " cannot be read as floats");
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, from + 2 * i, sizeof bits);
    to[i] = dtype == FileDType::bf16 ? std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16)
                                     : float_of_half(bits);
  }
}

// Number of bytes, or -1 where it leaves 64 bits.
std::int64_t checked_bytes(FileDType dtype, std::span<const std::int64_t> shape) {
  // An extent of 0 makes the product 0 whatever stands beside it.
  if (std::ranges::find(shape, 0) != shape.end()) return 0;
  std::int64_t bytes = bytes_per_element(dtype);
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes)) return -1;
  }
  return bytes;
}

bool is_count(const json& value) { return value.is_number_unsigned() && value.get<std::int64_t>() >= 0; }

struct Entry {
  TensorView view;
  std::int64_t begin = 0, end = 0;
};

// RepeatedName finds a name that stands twice in an object, of which a parser would let the last win. (The parser's own callback
// looks through the whole object at the end of each value.)
class RepeatedName final : public nlohmann::json_sax<json> {
 public:
  const std::optional<std::string>& found() const { return found_; }

  bool key(string_t& name) override {
    if (depth_ != 1 || names_.insert(name).second) return true;
    found_ = name;
    return false;
  }
  bool start_object(std::size_t) override { return ++depth_ > 0; }
  bool end_object() override { return --depth_ >= 0; }
  bool start_array(std::size_t) override { return ++depth_ > 0; }
  bool end_array() override { return --depth_ >= 0; }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  std::set<std::string> names_;
  std::optional<std::string> found_;
  int depth_ = 0;
};

// Reads and checks one file's header; every message begins with the file.
class HeaderReader {
 public:
  explicit HeaderReader(const MappedFile& file) : file_(file), where_(file.path().string()) {}

  std::vector<TensorView> read(std::map<std::string, std::string>& metadata) {
    const json header = parse(header_text());
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__") {
        metadata = read_metadata(value);
      } else {
        entries.push_back(read_entry(name, value));
      }
    }
    require_exact_cover(entries);
    std::vector<TensorView> views;
    for (auto& entry : entries) views.push_back(std::move(entry.view));
    return views;
  }

 private:
  std::string_view header_text() {
    const auto bytes = file_.bytes();
    refuse_git_lfs_pointer({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file_.path());
    require<DataError>(bytes.size() >= length_bytes, where_, " is no safetensors file: it has ", bytes.size(),
                       " bytes, and the length of its header alone takes ", length_bytes);
    std::uint64_t length;
    std::memcpy(&length, bytes.data(), sizeof length);
    require<DataError>(length <= longest_header, where_, " is no safetensors file: its header would have ",
                       length, " bytes, and the format allows ", longest_header);
    require<DataError>(length <= bytes.size() - length_bytes, where_, " is truncated: its header has ",
                       length, " bytes, and the file ends after ", bytes.size() - length_bytes, " of them");
    data_ = bytes.data() + length_bytes + length;
    data_bytes_ = static_cast<std::int64_t>(bytes.size() - length_bytes - length);
    return {reinterpret_cast<const char*>(bytes.data()) + length_bytes, static_cast<std::size_t>(length)};
  }

  json parse(std::string_view text) const {
    // Where the parser would see the end.
    require<DataError>(text.find('\0') == std::string_view::npos, where_, ": the header holds a zero byte");
    json header;
    try {
      header = json::parse(text);
    } catch (const json::exception& error) {
      throw DataError(
          fmt::format("{}: the header of {} bytes is not valid JSON: {}", where_, text.size(), error.what()));
    }
    RepeatedName repeated;
    json::sax_parse(text, &repeated);
    require<DataError>(!repeated.found(), where_, ": the tensor ", repeated.found().value_or(""),
                       " stands twice in the header");
    require<DataError>(header.is_object(), where_, ": the header is not a JSON object but ",
                       header.type_name());
    return header;
  }

  std::map<std::string, std::string> read_metadata(const json& value) const {
    std::map<std::string, std::string> metadata;
    require<DataError>(value.is_object(), where_, ": __metadata__ is not an object of texts");
    for (const auto& [key, text] : value.items()) {
      require<DataError>(text.is_string(), where_, ": __metadata__ has ", key, " = ", text.dump(),
                         ", not a text");
      metadata[key] = text.get<std::string>();
    }
    return metadata;
  }

  Entry read_entry(const std::string& name, const json& value) const {
    const std::string tensor = fmt::format("{}: the tensor {}", where_, name);
    const bool complete = value.is_object() && value.contains("dtype") && value.contains("shape") &&
                          value.contains("data_offsets");
    require<DataError>(complete, tensor, " lacks dtype, shape or data_offsets: ", value.dump());
    const auto &dtype = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
    require<DataError>(shape.is_array() && std::ranges::all_of(shape, is_count), tensor, " has the shape ",
                       shape.dump());
    require<DataError>(offsets.is_array() && offsets.size() == 2 && std::ranges::all_of(offsets, is_count),
                       tensor, " has the data_offsets ", offsets.dump());

    Entry entry{{name, read_dtype(tensor, dtype), shape.get<std::vector<std::int64_t>>(), nullptr},
                offsets[0].get<std::int64_t>(),
                offsets[1].get<std::int64_t>()};
    require<DataError>(entry.begin <= entry.end, tensor, " ends at byte ", entry.end, " before it begins at ",
                       entry.begin);
    require<DataError>(entry.end <= data_bytes_, tensor, " ends at byte ", entry.end,
                       " of the data, of which the file has ", data_bytes_, ": it is truncated or damaged");
    const std::int64_t needed = checked_bytes(entry.view.dtype, entry.view.shape);
    require<DataError>(needed == entry.end - entry.begin, tensor, " of ", chorus::name(entry.view.dtype), " ",
                       to_string(entry.view.shape), " needs ",
                       needed < 0 ? "more than 2^63" : std::to_string(needed),
                       " bytes, and its data_offsets give it ", entry.end - entry.begin);
    entry.view.data = data_ + entry.begin;
    return entry;
  }

  static FileDType read_dtype(const std::string& tensor, const json& value) {
    const auto found =
        std::ranges::find_if(dtype_facts, [&](const auto& facts) { return value == facts.name; });
    require<DataError>(found != dtype_facts.end(), tensor, " has the unknown dtype ", value.dump());
    return static_cast<FileDType>(found - dtype_facts.begin());
  }

  // Sorts the entries by their place and demands that they cover the data without overlap, gap or rest.
  void require_exact_cover(std::vector<Entry>& entries) const {
    // Tensors without bytes stand in one place, in the order of in_file_order().
    std::ranges::sort(entries, {}, [](const Entry& entry) {
      return std::tuple(entry.begin, entry.end, -static_cast<int>(entry.view.dtype),
                        std::string_view(entry.view.name));
    });
    std::int64_t covered = 0;
    std::string_view previous = "the header";
    for (const auto& entry : entries) {
      require<DataError>(entry.begin >= covered, where_, ": the tensors ", previous, " and ", entry.view.name,
                         " overlap: the first ends at byte ", covered, ", the second begins at ",
                         entry.begin);
      require<DataError>(entry.begin <= covered, where_, ": ", entry.begin - covered, " bytes between ",
                         previous, " and the tensor ", entry.view.name, " belong to no tensor");
      covered = entry.end;
      previous = entry.view.name;
    }
    require<DataError>(covered == data_bytes_, where_, ": the last ", data_bytes_ - covered,
                       " bytes of the file belong to no tensor");
  }

  const MappedFile& file_;
  std::string where_;
  const std::byte* data_ = nullptr;
  std::int64_t data_bytes_ = 0;
};

// "xxh64 0123456789abcdef …": of one length, whatever the hashes are.
std::string print_hashes(const std::vector<std::uint64_t>& hashes) {
  return fmt::format("{}{:016x}", hash_mark, fmt::join(hashes, " "));
}

std::uint64_t hash_of_tensor(const std::string& name, FileDType dtype, std::span<const std::int64_t> shape,
                             std::span<const std::byte> bytes) {
  return XxHash64().add_array(name).add_array(chorus::name(dtype)).add_array(shape).add(bytes).value();
}

std::string make_header(const std::vector<TensorDescription>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  // Built by hand from JSON parts, since the names must stay in the order of their bytes.
  std::vector<std::string> fields;
  if (!metadata.empty()) fields.push_back("\"__metadata__\":" + json(metadata).dump());
  std::int64_t offset = 0;
  for (const auto& tensor : tensors) {
    const std::int64_t end = offset + checked_bytes(tensor.dtype, tensor.shape);
    fields.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
                                 json(tensor.name).dump(), name(tensor.dtype), json(tensor.shape).dump(),
                                 offset, end));
    offset = end;
  }
  std::string text = fmt::format("{{{}}}", fmt::join(fields, ","));
  text.append((length_bytes - text.size() % length_bytes) % length_bytes, ' ');  // aligns the data
  const std::uint64_t length = text.size();
  std::string header(length_bytes, '\0');
  std::memcpy(header.data(), &length, sizeof length);
  return header + text;
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

std::string_view name(FileDType dtype) { return dtype_facts.at(static_cast<std::size_t>(dtype)).name; }

std::int64_t bytes_per_element(FileDType dtype) {
  return dtype_facts.at(static_cast<std::size_t>(dtype)).bytes;
}

bool is_readable(FileDType dtype) {
  return dtype == FileDType::f32 || dtype == FileDType::f16 || dtype == FileDType::bf16;
}

std::string to_string(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::int64_t TensorView::elements() const {
  if (std::ranges::count(shape, 0) > 0) return 0;  // the other extents may be any, and their product overflow
  std::int64_t product = 1;
  for (const std::int64_t extent : shape) product *= extent;
  return product;
}

std::span<const std::byte> TensorView::bytes() const {
  return {data, static_cast<std::size_t>(elements() * bytes_per_element(dtype))};
}

TensorView TensorView::rows(std::int64_t begin, std::int64_t end) const {
  require((shape.size() == 1 || shape.size() == 2) && 0 <= begin && begin <= end && end <= shape[0], "rows [",
          begin, ", ", end, ") of ", name, " ", to_string(shape));
  TensorView part = *this;
  const std::int64_t columns = shape.size() == 2 ? shape[1] : 1;
  part.shape[0] = end - begin;
  // A tensor that is only planned lies nowhere.
  if (data != nullptr) part.data += begin * columns * bytes_per_element(dtype);
  return part;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(std::make_shared<const MappedFile>(path)) {
  tensors_ = HeaderReader(*file_).read(metadata_);
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

std::vector<float> read_slice(const TensorView& tensor, int dim, std::int64_t begin, std::int64_t end) {
  const auto& shape = tensor.shape;
  const bool has_dim = (shape.size() == 2 && (dim == 0 || dim == 1)) || (shape.size() == 1 && dim == 0);
  require(has_dim, "a slice along dim ", dim, " of ", tensor.name, " ", to_string(shape));
  require(0 <= begin && begin <= end && end <= shape[static_cast<std::size_t>(dim)], "the slice [", begin,
          ", ", end, ") along dim ", dim, " of ", tensor.name, " ", to_string(shape));

  const std::int64_t rows = shape[0];
  const std::int64_t columns = shape.size() == 2 ? shape[1] : 1;
  const std::int64_t element = bytes_per_element(tensor.dtype);
  const std::int64_t length = end - begin;
  if (dim == 0) {
    std::vector<float> values(static_cast<std::size_t>(length * columns));
    convert(tensor.dtype, tensor.data + begin * columns * element, length * columns, values.data());
    return values;
  }
  std::vector<float> values(static_cast<std::size_t>(rows * length));
  if (values.empty()) return values;
  for (std::int64_t row = 0; row < rows; ++row) {
    convert(tensor.dtype, tensor.data + (row * columns + begin) * element, length,
            values.data() + row * length);
  }
  return values;
}

std::vector<float> read_tensor(const TensorView& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  convert(tensor.dtype, tensor.data, tensor.elements(), values.data());
  return values;
}

std::vector<float> read_finite_tensor(const SafetensorsFile& file, std::string_view name) {
  std::vector<float> values = read_tensor(file.tensor(name));
  require<DataError>(all_finite(values), file.path().string(), ": the tensor ", name,
                     " holds numbers that are not finite");
  return values;
}

std::vector<std::byte> stored_as(FileDType dtype, std::span<const float> values) {
  require(is_readable(dtype), "floats are not stored as ", name(dtype));
  const std::span<const std::byte> floats = std::as_bytes(values);
  if (dtype == FileDType::f32) return {floats.begin(), floats.end()};
  std::vector<std::byte> bytes(2 * values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t bits = dtype == FileDType::bf16 ? bfloat16(values[i]).bits : half_of_float(values[i]);
    std::memcpy(bytes.data() + 2 * i, &bits, sizeof bits);
  }
  return bytes;
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

std::vector<TensorDescription> in_file_order(std::vector<TensorDescription> tensors) {
  const auto key = [](const TensorDescription& tensor) {
    return std::tuple(-static_cast<int>(tensor.dtype), std::string_view(tensor.name));
  };
  std::ranges::sort(tensors, [&](const auto& a, const auto& b) { return key(a) < key(b); });
  std::set<std::string_view> names;
  for (const auto& tensor : tensors) {
    require(names.insert(tensor.name).second, "the tensor ", tensor.name, " is to be written twice");
    require(checked_bytes(tensor.dtype, tensor.shape) >= 0, "the tensor ", tensor.name, " has the shape ",
            to_string(tensor.shape));
  }
  return tensors;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::vector<TensorDescription> tensors,
                                     std::map<std::string, std::string> metadata)
    : tensors_(in_file_order(std::move(tensors))),
      hashes_{hash_of_metadata(metadata)},
      header_(make_header(tensors_,
                          with_hashes(std::move(metadata), std::vector<std::uint64_t>(tensors_.size() + 1)))),
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
