#include "data/sets/hdf5_file.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include <hdf5.h>

#include "data/text/text_file.h"
#include "ops/base/error.h"
#include "ops/base/hash.h"

namespace chorus {

// The memory that HDF5 makes a file in, kept when the file is closed. (H5Fget_file_image would give it before, with a sum
// of the superblock that is wrong in HDF5 1.10.)
class Hdf5Image {
 public:
  Hdf5Image() = default;
  Hdf5Image(const Hdf5Image&) = delete;
  Hdf5Image& operator=(const Hdf5Image&) = delete;
  ~Hdf5Image() { std::free(memory_); }

  H5FD_file_image_callbacks_t callbacks() {
    H5FD_file_image_callbacks_t callbacks{};
    callbacks.image_malloc = [](std::size_t size, H5FD_file_image_op_t, void*) { return std::malloc(size); };
    callbacks.image_memcpy = [](void* to, const void* from, std::size_t size, H5FD_file_image_op_t, void*) {
      return std::memcpy(to, from, size);
    };
    callbacks.image_realloc = [](void* memory, std::size_t size, H5FD_file_image_op_t, void* image) {
      void* larger = std::realloc(memory, size);
      if (larger != nullptr) static_cast<Hdf5Image*>(image)->size_ = size;
      return larger;
    };
    callbacks.image_free = [](void* memory, H5FD_file_image_op_t what, void* image) -> herr_t {
      if (what == H5FD_FILE_IMAGE_OP_FILE_CLOSE) {
        static_cast<Hdf5Image*>(image)->memory_ = memory;
      } else {
        std::free(memory);
      }
      return 0;
    };
    callbacks.udata_copy = [](void* image) { return image; };
    callbacks.udata_free = [](void*) -> herr_t { return 0; };
    callbacks.udata = this;
    return callbacks;
  }

  // Of the closed file, whose length stands in its superblock (version 3); empty where something is wrong.
  std::span<const std::byte> bytes() const {
    constexpr std::size_t place_of_length = 28;
    std::uint64_t length = 0;
    if (memory_ == nullptr || size_ < place_of_length + sizeof length) return {};
    const std::byte* memory = static_cast<const std::byte*>(memory_);
    std::memcpy(&length, memory + place_of_length, sizeof length);
    return {memory, length <= size_ ? static_cast<std::size_t>(length) : 0};
  }

 private:
  void* memory_ = nullptr;
  std::size_t size_ = 0;  // of the memory
};

namespace {

static_assert(sizeof(hid_t) == sizeof(std::int64_t), "the header keeps HDF5's handles as 64-bit numbers");

constexpr hsize_t chunk_bytes = 1 << 20;
constexpr std::size_t growth_of_memory = 1 << 20;
constexpr hsize_t in_place_alignment = 8;  // of the widest number
// Deflate shrinks at most 1032 times, so an array that claims more than that of its file is not to be
// allocated.
constexpr std::uint64_t greatest_compression = 1100;

// To come before any other call. By itself the HDF5 library prints its error stack, per thread; and it ends itself at the end
// of the process, where it crashes if a file could not be closed.
void begin_hdf5() {
  H5dont_atexit();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

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
  herr_t close() { return close_(std::exchange(id_, -1)); }

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

// What goes into an array: values of its type, in rows of `width` where that is not 0.
struct Contents {
  hid_t type;
  const void* values;
  hsize_t count, width = 0;
};

constexpr const char* hash_attribute = "chorus_hash";

std::string hash_of(const void* values, std::size_t bytes) {
  return print_hash(XxHash64().add(std::span(static_cast<const std::byte*>(values), bytes)));
}

void write_attribute(hid_t object, const std::filesystem::path& path, const std::string& name, hid_t type,
                     const void* value) {
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  require<DataError>(attribute >= 0, path.string(), ": cannot create attribute '", name, "': ", reason());
  check(H5Awrite(attribute, type, value), path, "cannot write attribute '" + name + "'");
}

void write_array(hid_t file, const std::filesystem::path& path, const std::string& name, ArrayLayout layout,
                 const Contents& contents) {
  const hid_t type = contents.type;
  std::vector<hsize_t> shape{contents.count};
  if (contents.width > 0) shape = {contents.count / contents.width, contents.width};
  const Handle space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), H5Sclose);
  const Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  check(H5Pset_create_intermediate_group(links, 1), path, name);
  check(H5Pset_obj_track_times(properties, false), path, name);
  if (contents.count > 0 && layout == ArrayLayout::compressed) {  // an empty array has no chunks
    std::vector<hsize_t> chunk = shape;
    const hsize_t row_bytes = H5Tget_size(type) * std::max<hsize_t>(contents.width, 1);
    chunk[0] = std::min<hsize_t>(shape[0], std::max<hsize_t>(chunk_bytes / row_bytes, 1));
    check(H5Pset_chunk(properties, static_cast<int>(chunk.size()), chunk.data()), path, name);
    check(H5Pset_deflate(properties, 4), path, name);
    check(H5Pset_fletcher32(properties), path, name);
  }
  Handle dataset(H5Dcreate2(file, name.c_str(), type, space, links, properties, H5P_DEFAULT), H5Dclose);
  require<DataError>(dataset >= 0, path.string(), ": cannot create '", name, "': ", reason());
  if (contents.count > 0) {
    check(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, contents.values), path,
          "cannot write '" + name + "'");
  }
  const std::string hash = hash_of(contents.values, contents.count * H5Tget_size(type));
  write_attribute(dataset, path, hash_attribute, string_type(hash.size()), hash.c_str());
  check(dataset.close(), path, "cannot write '" + name + "'");
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

// An attribute of the root or an array, of the wanted class of types.
struct OpenAttribute {
  OpenAttribute(hid_t object, const std::filesystem::path& path, const std::string& name, H5T_class_t wanted)
      : attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), H5Aclose),
        type(attribute >= 0 ? H5Aget_type(attribute) : -1, H5Tclose) {
    require<DataError>(attribute >= 0, path.string(), ": attribute '", name,
                       "' is missing or damaged: ", reason());
    const Handle space(H5Aget_space(attribute), H5Sclose);
    const bool fits = H5Tget_class(type) == wanted && H5Sget_simple_extent_npoints(space) == 1 &&
                      H5Tget_size(type) <= std::filesystem::file_size(path);
    require<DataError>(fits, path.string(), ": attribute '", name, "' is ", describe(type),
                       ", not what was expected");
  }
  Handle attribute, type;
};

std::string trimmed(const char* text, std::size_t width) { return std::string(text, ::strnlen(text, width)); }

std::string read_text(hid_t object, const std::filesystem::path& path, const std::string& name) {
  const OpenAttribute open(object, path, name, H5T_STRING);
  require<DataError>(H5Tis_variable_str(open.type) == 0, path.string(), ": attribute '", name,
                     "' is a string of variable width");
  std::string value(H5Tget_size(open.type), '\0');
  check(H5Aread(open.attribute, open.type, value.data()), path, "attribute '" + name + "' is damaged");
  return trimmed(value.data(), value.size());
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
    const std::uint64_t most =
        file_bytes * greatest_compression / std::max<std::size_t>(H5Tget_size(type), 1);
    for (const hsize_t extent : shape) {
      require<DataError>(extent == 0 || count <= most / extent, path.string(), ": array '", name, "' claims ",
                         extent, " times ", count, " elements, which a file of ", file_bytes,
                         " bytes cannot hold");
      count *= extent;
    }
    H5D_space_status_t status = H5D_SPACE_STATUS_NOT_ALLOCATED;
    H5Dget_space_status(dataset, &status);
    require<DataError>(count == 0 || status != H5D_SPACE_STATUS_NOT_ALLOCATED, path.string(), ": array '",
                       name, "' has no values: the file was not written to its end");
  }

  template <typename T>
  void require_type(const std::filesystem::path& path, const std::string& name) const {
    const hid_t wanted = memory_type<T>();
    const bool same = H5Tget_class(type) == H5Tget_class(wanted) && H5Tget_size(type) == sizeof(T) &&
                      (std::is_floating_point_v<T> || H5Tget_sign(type) == H5Tget_sign(wanted));
    require<DataError>(same, path.string(), ": array '", name, "' is ", describe(type), ", expected ",
                       describe(wanted));
  }

  // All values in the type of the file. Throws DataError where they have another hash than the array says.
  void read(const std::filesystem::path& path, const std::string& name, void* values) const {
    check(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), path,
          "array '" + name + "' is damaged");
    if (H5Aexists(dataset, hash_attribute) <= 0) return;
    require<DataError>(read_text(dataset, path, hash_attribute) == hash_of(values, count * H5Tget_size(type)),
                       path.string(), ": array '", name,
                       "' is damaged: its values are not those that were written; take another copy of the "
                       "file, or run 'chorus prepare' again");
  }

  Handle dataset, type, space;
  std::vector<hsize_t> shape;
  hsize_t count = 1;
};

}  // namespace

Hdf5Writer::Hdf5Writer(std::filesystem::path path, ArrayLayout layout)
    : path_(std::move(path)), layout_(layout), image_(std::make_unique<Hdf5Image>()) {
  begin_hdf5();
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  // Older formats have no checksums of metadata.
  H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
  if (layout_ == ArrayLayout::in_place) H5Pset_alignment(access, in_place_alignment, in_place_alignment);
  H5Pset_fapl_core(access, growth_of_memory, false);
  H5FD_file_image_callbacks_t callbacks = image_->callbacks();
  H5Pset_file_image_callbacks(access, &callbacks);
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);  // equal contents are equal bytes
  file_ = H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, creation, access);
  require<DataError>(file_ >= 0, path_.string(), ": cannot be created: ", reason());
}

Hdf5Writer::~Hdf5Writer() {
  if (file_ >= 0) H5Fclose(file_);
}

template <typename T>
void Hdf5Writer::write(const std::string& name, std::span<const T> values, std::size_t width) {
  write_array(file_, path_, name, layout_, {memory_type<T>(), values.data(), values.size(), width});
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
  write_array(file_, path_, name, layout_, {type, block.data(), values.size()});
}

void Hdf5Writer::write_halves(const std::string& name, std::span<const float> values, std::size_t width) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    require<DataError>(std::abs(values[i]) <= largest_half, path_.string(), ": value ", i, " of '", name,
                       "' is ", values[i], ", and f16 ends at ", largest_half, ": store f32");
  }
  const Handle type = half_type();
  std::vector<float> halves(values.begin(), values.end());
  check(H5Tconvert(H5T_NATIVE_FLOAT, type, halves.size(), halves.data(), nullptr, H5P_DEFAULT), path_,
        "cannot write '" + name + "'");
  write_array(file_, path_, name, layout_, {type, halves.data(), halves.size(), width});
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
  check(H5Fclose(std::exchange(file_, -1)), path_, "cannot be closed");
  const std::span<const std::byte> bytes = image_->bytes();
  require<DataError>(!bytes.empty(), path_.string(), ": HDF5 did not end the file");
  AtomicFile file(path_, std::ssize(bytes), Former::kept);
  file.write(bytes);
  file.publish();
}

Hdf5Reader::Hdf5Reader(std::filesystem::path path) : path_(std::move(path)) {
  begin_hdf5();
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
  array.require_type<T>(path_, name);
  std::vector<T> values(array.count);
  array.read(path_, name, values.data());
  return values;
}
template std::vector<std::uint8_t> Hdf5Reader::read(const std::string&) const;
template std::vector<std::int32_t> Hdf5Reader::read(const std::string&) const;
template std::vector<std::int64_t> Hdf5Reader::read(const std::string&) const;
template std::vector<float> Hdf5Reader::read(const std::string&) const;
template std::vector<double> Hdf5Reader::read(const std::string&) const;

template <typename T>
std::span<const T> Hdf5Reader::in_place(const std::string& name, const MappedFile& mapped) const {
  const OpenArray array(file_, path_, name);
  array.require_type<T>(path_, name);
  if (array.count == 0) return {};
  const std::uint64_t place = H5Dget_offset(array.dataset), bytes = mapped.bytes().size();
  const bool is_there = place != HADDR_UNDEF && place % sizeof(T) == 0 && place <= bytes &&
                        array.count <= (bytes - place) / sizeof(T);
  require<DataError>(is_there, path_.string(), ": array '", name,
                     "' does not stand in one piece that can be read where the file is mapped");
  return {reinterpret_cast<const T*>(mapped.bytes().data() + place), array.count};
}
template std::span<const std::int32_t> Hdf5Reader::in_place(const std::string&, const MappedFile&) const;
template std::span<const std::int64_t> Hdf5Reader::in_place(const std::string&, const MappedFile&) const;
template std::span<const float> Hdf5Reader::in_place(const std::string&, const MappedFile&) const;

std::vector<std::string> Hdf5Reader::read_strings(const std::string& name) const {
  const OpenArray array(file_, path_, name);
  require<DataError>(H5Tget_class(array.type) == H5T_STRING && H5Tis_variable_str(array.type) == 0,
                     path_.string(), ": array '", name, "' does not hold strings of fixed width");
  const std::size_t width = H5Tget_size(array.type);
  std::string block(width * array.count, '\0');
  array.read(path_, name, block.data());
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
  // Converted where they were read, which needs room for the wider of the two types.
  std::vector<std::byte> values(array.count * std::max(H5Tget_size(array.type), sizeof(float)));
  array.read(path_, name, values.data());
  check(H5Tconvert(array.type, H5T_NATIVE_FLOAT, array.count, values.data(), nullptr, H5P_DEFAULT), path_,
        "array '" + name + "' is damaged");
  if (read.values.empty()) return read;  // which has no memory to copy to
  std::memcpy(read.values.data(), values.data(), array.count * sizeof(float));
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
  // In the order of the file, and sorted here: with another one HDF5 1.10 frees memory twice where a group is damaged.
  const herr_t status = H5Literate(
      opened, H5_INDEX_NAME, H5_ITER_NATIVE, &position,
      [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
        static_cast<std::vector<std::string>*>(out)->emplace_back(name);
        return 0;
      },
      &names);
  check(status, path_, "group '" + group + "' is damaged");
  std::ranges::sort(names);
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

std::string Hdf5Reader::text(const std::string& name) const { return read_text(file_, path_, name); }

}  // namespace chorus
