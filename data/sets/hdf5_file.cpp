#include "data/sets/hdf5_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <utility>

#include <hdf5.h>

#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

static_assert(sizeof(hid_t) == sizeof(std::int64_t), "the header keeps HDF5's handles as 64-bit numbers");

constexpr hsize_t chunk_bytes = 1 << 20;
// Deflate shrinks at most 1032 times, so an array that claims more than that of its file is not to be
// allocated.
constexpr std::uint64_t greatest_compression = 1100;

// The HDF5 library prints its error stack by itself, per thread, unless told not to.
void be_silent() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

// What HDF5 found wrong, in its own words: the innermost entry of its error stack.
std::string reason() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned depth, const H5E_error2_t* error, void* out) -> herr_t {
        if (depth == 0 && error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
        return 0;
      },
      &text);
  return text.empty() ? "no reason given" : text;
}

// Closes a handle of HDF5 when it goes out of scope.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

void check(herr_t status, const std::filesystem::path& path, const std::string& what) {
  require<DataError>(status >= 0, path.string(), ": ", what, ": ", status >= 0 ? std::string() : reason());
}

template <typename T>
hid_t memory_type() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return H5T_NATIVE_UINT8;
  if constexpr (std::is_same_v<T, std::int32_t>) return H5T_NATIVE_INT32;
  if constexpr (std::is_same_v<T, std::int64_t>) return H5T_NATIVE_INT64;
  if constexpr (std::is_same_v<T, float>) return H5T_NATIVE_FLOAT;
  if constexpr (std::is_same_v<T, double>) return H5T_NATIVE_DOUBLE;
}

Handle string_type(std::size_t width) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type, std::max<std::size_t>(width, 1));
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}

// IEEE 754 binary16, which the library has no name for before 1.14.4.
Handle half_type() {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  H5Tset_fields(type, 15, 10, 5, 0, 10);
  H5Tset_size(type, 2);
  H5Tset_ebias(type, 15);
  return type;
}
constexpr float largest_half = 65504;

// What goes into an array: values of the type `memory`, in rows of `width` where that is not 0.
struct Contents {
  hid_t memory;
  const void* values;
  hsize_t count, width = 0;
};

// `type` is that of the file.
void write_array(hid_t file, const std::filesystem::path& path, const std::string& name, hid_t type,
                 const Contents& contents) {
  std::vector<hsize_t> shape{contents.count};
  if (contents.width > 0) shape = {contents.count / contents.width, contents.width};
  const Handle space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), H5Sclose);
  const Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  check(H5Pset_create_intermediate_group(links, 1), path, name);
  if (contents.count > 0) {  // an empty array has no chunks
    std::vector<hsize_t> chunk = shape;
    const hsize_t row_bytes = H5Tget_size(type) * std::max<hsize_t>(contents.width, 1);
    chunk[0] = std::min<hsize_t>(shape[0], std::max<hsize_t>(chunk_bytes / row_bytes, 1));
    check(H5Pset_chunk(properties, static_cast<int>(chunk.size()), chunk.data()), path, name);
    check(H5Pset_deflate(properties, 4), path, name);
    check(H5Pset_fletcher32(properties), path, name);
  }
  const Handle dataset(H5Dcreate2(file, name.c_str(), type, space, links, properties, H5P_DEFAULT), H5Dclose);
  require<DataError>(dataset >= 0, path.string(), ": cannot create '", name, "': ", reason());
  if (contents.count > 0) {
    check(H5Dwrite(dataset, contents.memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, contents.values), path,
          "cannot write '" + name + "'");
  }
}

void write_attribute(hid_t file, const std::filesystem::path& path, const std::string& name, hid_t type,
                     const void* value) {
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(file, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  require<DataError>(attribute >= 0, path.string(), ": cannot create attribute '", name, "': ", reason());
  check(H5Awrite(attribute, type, value), path, "cannot write attribute '" + name + "'");
}

// The names of types in messages.
std::string describe(hid_t type) {
  const std::size_t bits = 8 * H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return (H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "i") + std::to_string(bits);
    case H5T_FLOAT:
      return "f" + std::to_string(bits);
    case H5T_STRING:
      return "string";
    default:
      return "of another kind";
  }
}

// An array opened for reading, its type and extent known and plausible.
struct OpenArray {
  OpenArray(hid_t file, const std::filesystem::path& path, const std::string& name, int most_dims = 1)
      : dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose),
        type(dataset >= 0 ? H5Dget_type(dataset) : -1, H5Tclose),
        space(dataset >= 0 ? H5Dget_space(dataset) : -1, H5Sclose) {
    require<DataError>(dataset >= 0, path.string(), ": array '", name, "' is missing or damaged: ", reason());
    require<DataError>(type >= 0 && space >= 0, path.string(), ": array '", name, "' is damaged: ", reason());
    const int dims = H5Sget_simple_extent_ndims(space);
    require<DataError>(dims >= 1 && dims <= most_dims, path.string(), ": '", name, "' has ", dims,
                       " dims, not ", most_dims == 1 ? "one" : "one or two");
    shape.resize(static_cast<std::size_t>(dims));
    H5Sget_simple_extent_dims(space, shape.data(), nullptr);
    const std::uint64_t file_bytes = std::filesystem::file_size(path);
    const std::uint64_t most = (file_bytes / H5Tget_size(type) + 1) * greatest_compression;
    for (const hsize_t extent : shape) {
      require<DataError>(extent == 0 || count <= most / extent, path.string(), ": array '", name, "' claims ",
                         extent, " times ", count, " elements, which a file of ", file_bytes,
                         " bytes cannot hold");
      count *= extent;
    }
  }
  Handle dataset, type, space;
  std::vector<hsize_t> shape;
  hsize_t count = 1;
};

// An attribute of the root, of the wanted class of types.
struct OpenAttribute {
  OpenAttribute(hid_t file, const std::filesystem::path& path, const std::string& name, H5T_class_t wanted)
      : attribute(H5Aopen(file, name.c_str(), H5P_DEFAULT), H5Aclose),
        type(attribute >= 0 ? H5Aget_type(attribute) : -1, H5Tclose) {
    require<DataError>(attribute >= 0, path.string(), ": attribute '", name,
                       "' is missing or damaged: ", reason());
    const Handle space(H5Aget_space(attribute), H5Sclose);
    require<DataError>(H5Tget_class(type) == wanted && H5Sget_simple_extent_npoints(space) == 1,
                       path.string(), ": attribute '", name, "' is ", describe(type),
                       ", not what was expected");
  }
  Handle attribute, type;
};

std::string trimmed(const char* text, std::size_t width) { return std::string(text, ::strnlen(text, width)); }

}  // namespace

Hdf5Writer::Hdf5Writer(std::filesystem::path path)
    : path_(std::move(path)), published_(path_, 0, Former::kept) {
  be_silent();
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  // Older formats have no checksums of metadata.
  H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
  H5Pset_file_locking(access, false, true);
  file_ = H5Fcreate(published_.temporary().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
  require<DataError>(file_ >= 0, path_.string(), ": cannot be created: ", reason());
}

Hdf5Writer::~Hdf5Writer() {
  if (file_ >= 0) H5Fclose(file_);
}

template <typename T>
void Hdf5Writer::write(const std::string& name, std::span<const T> values, std::size_t width) {
  write_array(file_, path_, name, memory_type<T>(), {memory_type<T>(), values.data(), values.size(), width});
}
template void Hdf5Writer::write(const std::string&, std::span<const std::uint8_t>, std::size_t);
template void Hdf5Writer::write(const std::string&, std::span<const std::int32_t>, std::size_t);
template void Hdf5Writer::write(const std::string&, std::span<const std::int64_t>, std::size_t);
template void Hdf5Writer::write(const std::string&, std::span<const float>, std::size_t);
template void Hdf5Writer::write(const std::string&, std::span<const double>, std::size_t);

void Hdf5Writer::write_strings(const std::string& name, std::span<const std::string> values) {
  std::size_t width = 1;
  for (const std::string& value : values) {
    require<DataError>(value.find('\0') == std::string::npos, path_.string(), ": a string of '", name,
                       "' contains a zero byte");
    width = std::max(width, value.size());
  }
  std::string block(width * values.size(), '\0');
  for (std::size_t i = 0; i < values.size(); ++i) values[i].copy(block.data() + i * width, values[i].size());
  const Handle type = string_type(width);
  write_array(file_, path_, name, type, {type, block.data(), values.size()});
}

void Hdf5Writer::write_halves(const std::string& name, std::span<const float> values, std::size_t width) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    require<DataError>(std::abs(values[i]) <= largest_half, path_.string(), ": value ", i, " of '", name,
                       "' is ", values[i], ", and f16 ends at ", largest_half, ": store f32");
  }
  write_array(file_, path_, name, half_type(), {H5T_NATIVE_FLOAT, values.data(), values.size(), width});
}

void Hdf5Writer::attribute(const std::string& name, std::int64_t value) {
  write_attribute(file_, path_, name, H5T_NATIVE_INT64, &value);
}
void Hdf5Writer::attribute(const std::string& name, double value) {
  write_attribute(file_, path_, name, H5T_NATIVE_DOUBLE, &value);
}
void Hdf5Writer::attribute(const std::string& name, const std::string& value) {
  write_attribute(file_, path_, name, string_type(value.size()), value.c_str());
}

void Hdf5Writer::commit() {
  check(H5Fflush(file_, H5F_SCOPE_GLOBAL), path_, "cannot be written");
  check(H5Fclose(std::exchange(file_, -1)), path_, "cannot be closed");
  published_.publish();
}

Hdf5Reader::Hdf5Reader(std::filesystem::path path) : path_(std::move(path)) {
  be_silent();
  require<DataError>(std::filesystem::is_regular_file(path_), path_.string(), ": no such file");
  // Files that have their name never change, and some cluster file systems cannot lock.
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access, false, true);
  file_ = H5Fopen(path_.c_str(), H5F_ACC_RDONLY, access);
  if (file_ < 0) {
    std::string beginning(64, '\0');
    std::ifstream(path_, std::ios::binary).read(beginning.data(), std::ssize(beginning));
    refuse_git_lfs_pointer(beginning, path_);
  }
  require<DataError>(file_ >= 0, path_.string(), ": is not an HDF5 file, or truncated or damaged (",
                     std::filesystem::file_size(path_), " bytes): ", file_ < 0 ? reason() : std::string());
}

Hdf5Reader::~Hdf5Reader() { H5Fclose(file_); }

template <typename T>
std::vector<T> Hdf5Reader::read(const std::string& name) const {
  const OpenArray array(file_, path_, name);
  const bool same = H5Tget_class(array.type) == H5Tget_class(memory_type<T>()) &&
                    H5Tget_size(array.type) == sizeof(T) &&
                    (std::is_floating_point_v<T> || H5Tget_sign(array.type) == H5Tget_sign(memory_type<T>()));
  require<DataError>(same, path_.string(), ": array '", name, "' is ", describe(array.type), ", expected ",
                     describe(memory_type<T>()));
  std::vector<T> values(array.count);
  check(H5Dread(array.dataset, memory_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), path_,
        "array '" + name + "' is damaged");
  return values;
}
template std::vector<std::uint8_t> Hdf5Reader::read(const std::string&) const;
template std::vector<std::int32_t> Hdf5Reader::read(const std::string&) const;
template std::vector<std::int64_t> Hdf5Reader::read(const std::string&) const;
template std::vector<float> Hdf5Reader::read(const std::string&) const;
template std::vector<double> Hdf5Reader::read(const std::string&) const;

std::vector<std::string> Hdf5Reader::read_strings(const std::string& name) const {
  const OpenArray array(file_, path_, name);
  require<DataError>(H5Tget_class(array.type) == H5T_STRING && H5Tis_variable_str(array.type) == 0,
                     path_.string(), ": array '", name, "' does not hold strings of fixed width");
  const std::size_t width = H5Tget_size(array.type);
  std::string block(width * array.count, '\0');
  check(H5Dread(array.dataset, array.type, H5S_ALL, H5S_ALL, H5P_DEFAULT, block.data()), path_,
        "array '" + name + "' is damaged");
  std::vector<std::string> values(array.count);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = trimmed(block.data() + i * width, width);
  return values;
}

FloatArray Hdf5Reader::read_floats(const std::string& name) const {
  const OpenArray array(file_, path_, name, 2);
  require<DataError>(H5Tget_class(array.type) == H5T_FLOAT && H5Tget_size(array.type) <= sizeof(double),
                     path_.string(), ": array '", name, "' is ", describe(array.type),
                     ", expected f16, f32 or f64");
  FloatArray read{{array.shape.begin(), array.shape.end()},
                  std::vector<float>(array.count),
                  static_cast<int>(8 * H5Tget_size(array.type))};
  check(H5Dread(array.dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, read.values.data()), path_,
        "array '" + name + "' is damaged");
  return read;
}

// HDF5 asks for one link at a time: a path whose middle is missing would be an error.
bool Hdf5Reader::exists(const std::string& path) const {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    if (!is_group(path.substr(0, end))) return false;
  }
  return path == "/" || H5Lexists(file_, path.c_str(), H5P_DEFAULT) > 0;
}

bool Hdf5Reader::is_group(const std::string& path) const {
  if (path == "/") return true;
  if (H5Lexists(file_, path.c_str(), H5P_DEFAULT) <= 0) return false;
  const Handle object(H5Oopen(file_, path.c_str(), H5P_DEFAULT), H5Oclose);
  return object >= 0 && H5Iget_type(object) == H5I_GROUP;
}

bool Hdf5Reader::holds_floats(const std::string& path) const {
  const Handle dataset(H5Dopen2(file_, path.c_str(), H5P_DEFAULT), H5Dclose);
  if (dataset < 0) return false;
  const Handle type(H5Dget_type(dataset), H5Tclose), space(H5Dget_space(dataset), H5Sclose);
  const int dims = H5Sget_simple_extent_ndims(space);
  return H5Tget_class(type) == H5T_FLOAT && (dims == 1 || dims == 2);
}

std::vector<std::string> Hdf5Reader::children(const std::string& group) const {
  const Handle opened(H5Gopen2(file_, group.c_str(), H5P_DEFAULT), H5Gclose);
  require<DataError>(opened >= 0, path_.string(), ": there is no group '", group, "'");
  std::vector<std::string> names;
  hsize_t position = 0;
  const herr_t status = H5Literate(
      opened, H5_INDEX_NAME, H5_ITER_INC, &position,
      [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
        static_cast<std::vector<std::string>*>(out)->emplace_back(name);
        return 0;
      },
      &names);
  check(status, path_, "group '" + group + "' is damaged");
  return names;
}

bool Hdf5Reader::has_attribute(const std::string& name) const { return H5Aexists(file_, name.c_str()) > 0; }

std::int64_t Hdf5Reader::integer(const std::string& name) const {
  const OpenAttribute open(file_, path_, name, H5T_INTEGER);
  std::int64_t value = 0;
  check(H5Aread(open.attribute, H5T_NATIVE_INT64, &value), path_, "attribute '" + name + "' is damaged");
  return value;
}

double Hdf5Reader::real(const std::string& name) const {
  const OpenAttribute open(file_, path_, name, H5T_FLOAT);
  double value = 0;
  check(H5Aread(open.attribute, H5T_NATIVE_DOUBLE, &value), path_, "attribute '" + name + "' is damaged");
  return value;
}

std::string Hdf5Reader::text(const std::string& name) const {
  const OpenAttribute open(file_, path_, name, H5T_STRING);
  require<DataError>(H5Tis_variable_str(open.type) == 0, path_.string(), ": attribute '", name,
                     "' is a string of variable width");
  std::string value(H5Tget_size(open.type), '\0');
  check(H5Aread(open.attribute, open.type, value.data()), path_, "attribute '" + name + "' is damaged");
  return trimmed(value.data(), value.size());
}

}  // namespace chorus
