#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/text/files.h"

namespace chorus {

class Hdf5Image;

// How arrays stand in a file: in compressed pieces with checksums, or each in one piece, to be read where the file is mapped.
enum class ArrayLayout { compressed, in_place };

// Writes one HDF5 file of flat arrays. It is made in memory, since HDF5 does not always say when a disk takes a part of
// it not, and commit() publishes it as an AtomicFile.
//
// Compressed arrays are chunked (deflate 4) and carry Fletcher-32 checksums; the file's own structures carry
// those of HDF5's 1.10 format, so a flipped bit is noticed wherever it matters. The attribute `chorus_hash` of an array is
// that of its values, in case it lacks some: HDF5 reads zeros there. Failures throw DataError with the file's name.
class Hdf5Writer {
 public:
  explicit Hdf5Writer(std::filesystem::path path, ArrayLayout layout = ArrayLayout::compressed);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  // T is one of std::uint8_t, std::int32_t, std::int64_t, float, double. A name "group/array" makes its groups. With a
  // `width` the array has two dims, rows of so many values.
  template <typename T>
  void write(const std::string& name, std::span<const T> values, std::size_t width = 0);
  // Stored as UTF-8 of fixed width, padded with zeros: unlike HDF5's variable-length strings these are
  // checksummed.
  void write_strings(const std::string& name, std::span<const std::string> values);
  // Stored as f16, rounded to the nearest. Throws DataError for a value beyond what f16 holds.
  void write_halves(const std::string& name, std::span<const float> values, std::size_t width = 0);

  void attribute(const std::string& name, std::int64_t value);
  void attribute(const std::string& name, double value);
  void attribute(const std::string& name, const std::string& value);

  // Throws ConfigurationError if `path` exists.
  void commit();

 private:
  std::filesystem::path path_;
  ArrayLayout layout_;
  std::unique_ptr<Hdf5Image> image_;
  std::int64_t file_ = -1;
};

// Numbers of an array of one or two dims.
struct FloatArray {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
  int bits = 32;  // of a number in the file: 16, 32 or 64
};

// Reads such files, and any others that hold arrays of the same types. Names may be paths, "group/array".
class Hdf5Reader {
 public:
  // Throws DataError for a file that is missing, not HDF5, truncated or damaged.
  explicit Hdf5Reader(std::filesystem::path path);
  ~Hdf5Reader();
  Hdf5Reader(const Hdf5Reader&) = delete;
  Hdf5Reader& operator=(const Hdf5Reader&) = delete;

  // Throws DataError naming file and object where it is missing, of another type or rank, or damaged. Arrays without a
  // hash are of other programs, or of older versions.
  template <typename T>
  std::vector<T> read(const std::string& name) const;
  // An array of ArrayLayout::in_place where the file is mapped, which `mapped` is to be; its hash is not looked at.
  template <typename T>
  std::span<const T> in_place(const std::string& name, const MappedFile& mapped) const;
  std::vector<std::string> read_strings(const std::string& name) const;
  // Of any floating-point type; an f64 beyond f32 becomes infinite.
  FloatArray read_floats(const std::string& name) const;

  // Whether there is a group or an array of that path.
  bool exists(const std::string& path) const;
  bool is_group(const std::string& path) const;
  // Whether read_floats() can read it.
  bool holds_floats(const std::string& path) const;
  // Names in a group, in alphabetical order; "/" is the root.
  std::vector<std::string> children(const std::string& group) const;

  bool has_attribute(const std::string& name) const;
  std::int64_t integer(const std::string& name) const;
  double real(const std::string& name) const;
  std::string text(const std::string& name) const;

 private:
  std::filesystem::path path_;
  std::int64_t file_ = -1;
};

}  // namespace chorus
