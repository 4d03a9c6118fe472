#include "data/hdf5_file.h"

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <hdf5.h>
#include <unistd.h>

#include "ops/error.h"

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

void write_array(hid_t file, const std::filesystem::path& path, const std::string& name, hid_t type,
                 hsize_t count, const void* values) {
  const Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose);
  const Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  if (count > 0) {  // an empty array has no chunks
    const hsize_t chunk = std::min<hsize_t>(count, std::max<hsize_t>(chunk_bytes / H5Tget_size(type), 1));
    check(H5Pset_chunk(properties, 1, &chunk), path, name);
    check(H5Pset_deflate(properties, 4), path, name);
    check(H5Pset_fletcher32(properties), path, name);
  }
  const Handle dataset(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, properties, H5P_DEFAULT),
                       H5Dclose);
  require<DataError>(dataset >= 0, path.string(), ": cannot create '", name, "': ", reason());
  if (count > 0)
    check(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), path,
          "cannot write '" + name + "'");
}

void write_attribute(hid_t file, const std::filesystem::path& path, const std::string& name, hid_t type,
                     const void* value) {
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(file, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  require<DataError>(attribute >= 0, path.string(), ": cannot create attribute '", name, "': ", reason());
  check(H5Awrite(attribute, type, value), path, "cannot write attribute '" + name + "'");
}

void flush_to_disk(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  require<DataError>(descriptor >= 0, path.string(), ": cannot be opened to flush it");
  const bool flushed = ::fsync(descriptor) == 0;
  ::close(descriptor);
  require<DataError>(flushed, path.string(), ": cannot be flushed to the disk");
}

std::string temporary_suffix() { return ".partial-" + std::to_string(::getpid()); }

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
  OpenArray(hid_t file, const std::filesystem::path& path, const std::string& name)
      : dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose),
        type(dataset >= 0 ? H5Dget_type(dataset) : -1, H5Tclose),
        space(dataset >= 0 ? H5Dget_space(dataset) : -1, H5Sclose) {
    require<DataError>(dataset >= 0, path.string(), ": array '", name, "' is missing or damaged: ", reason());
    require<DataError>(type >= 0 && space >= 0 && H5Sget_simple_extent_ndims(space) == 1, path.string(),
                       ": '", name, "' is not a one-dimensional array");
    H5Sget_simple_extent_dims(space, &count, nullptr);
    const std::uint64_t file_bytes = std::filesystem::file_size(path);
    require<DataError>(count / greatest_compression <= file_bytes / H5Tget_size(type) + 1, path.string(),
                       ": array '", name, "' claims ", count, " elements, which a file of ", file_bytes,
                       " bytes cannot hold");
  }
  Handle dataset, type, space;
  hsize_t count = 0;
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
    : path_(std::move(path)), temporary_(path_.string() + temporary_suffix()) {
  be_silent();
  require<ConfigurationError>(!std::filesystem::exists(path_), path_.string(),
                              ": exists already and is not overwritten; remove it or choose another name");
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  // Older formats have no checksums of metadata.
  H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
  H5Pset_file_locking(access, false, true);
  file_ = H5Fcreate(temporary_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
  require<DataError>(file_ >= 0, temporary_.string(), ": cannot be created: ", reason());
}

Hdf5Writer::~Hdf5Writer() {
  if (file_ < 0) return;
  H5Fclose(file_);
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

template <typename T>
void Hdf5Writer::write(const std::string& name, std::span<const T> values) {
  write_array(file_, path_, name, memory_type<T>(), values.size(), values.data());
}
template void Hdf5Writer::write(const std::string&, std::span<const std::uint8_t>);
template void Hdf5Writer::write(const std::string&, std::span<const std::int32_t>);
template void Hdf5Writer::write(const std::string&, std::span<const std::int64_t>);
template void Hdf5Writer::write(const std::string&, std::span<const float>);
template void Hdf5Writer::write(const std::string&, std::span<const double>);

void Hdf5Writer::write_strings(const std::string& name, std::span<const std::string> values) {
  std::size_t width = 1;
  for (const std::string& value : values) {
    require<DataError>(value.find('\0') == std::string::npos, path_.string(), ": a string of '", name,
                       "' contains a zero byte");
    width = std::max(width, value.size());
  }
  std::string block(width * values.size(), '\0');
  for (std::size_t i = 0; i < values.size(); ++i) values[i].copy(block.data() + i * width, values[i].size());
  write_array(file_, path_, name, string_type(width), values.size(), block.data());
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
  flush_to_disk(temporary_);
  require<ConfigurationError>(
      !std::filesystem::exists(path_), path_.string(),
      ": was created by someone else in the meantime and is not overwritten; the data are in ",
      temporary_.string());
  std::filesystem::rename(temporary_, path_);
  flush_to_disk(path_.has_parent_path() ? path_.parent_path() : ".");
}

Hdf5Reader::Hdf5Reader(std::filesystem::path path) : path_(std::move(path)) {
  be_silent();
  require<DataError>(std::filesystem::is_regular_file(path_), path_.string(), ": no such file");
  // Files that have their name never change, and some cluster file systems cannot lock.
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access, false, true);
  file_ = H5Fopen(path_.c_str(), H5F_ACC_RDONLY, access);
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
