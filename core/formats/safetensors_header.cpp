#include "core/formats/safetensors_header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

static_assert(std::endian::native == std::endian::little, "the files are read without exchanging bytes");

namespace {

using nlohmann::json;

constexpr std::size_t length_bytes = 8;
constexpr std::uint64_t longest_header = 100'000'000;  // the limit of the safetensors library

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

  SafetensorsHeader read() {
    const json text = parse(header_text());
    SafetensorsHeader header;
    std::vector<Entry> entries;
    for (const auto& [name, value] : text.items()) {
      if (name == "__metadata__") {
        header.metadata = read_metadata(value);
      } else {
        entries.push_back(read_entry(name, value));
      }
    }
    require_exact_cover(entries);
    for (auto& entry : entries) header.tensors.push_back(std::move(entry.view));
    return header;
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
    const std::optional<FileDType> dtype =
        value.is_string() ? file_dtype_of(value.get_ref<const std::string&>()) : std::nullopt;
    require<DataError>(dtype.has_value(), tensor, " has the unknown dtype ", value.dump());
    return *dtype;
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

}  // namespace

SafetensorsHeader read_safetensors_header(const MappedFile& file) { return HeaderReader(file).read(); }

std::string safetensors_header(const std::vector<TensorDescription>& in_order,
                               const std::map<std::string, std::string>& metadata) {
  // Built by hand from JSON parts, since the names must stay in the order of their bytes.
  std::vector<std::string> fields;
  if (!metadata.empty()) fields.push_back("\"__metadata__\":" + json(metadata).dump());
  std::int64_t offset = 0;
  for (const auto& tensor : in_order) {
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

}  // namespace chorus
