#include "core/formats/merge.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/formats/finite.h"
#include "core/formats/model_writer.h"
#include "core/formats/weight_files.h"
#include "data/text/files.h"
#include "ops/transfer.h"

namespace chorus {

namespace {

// Elements of W in f32.
constexpr std::int64_t merged_at_once = std::int64_t{1} << 20;

void require_finite(const std::vector<std::byte>& bytes, const TensorView& w) {
  const TensorView written{w.name, w.dtype, {std::ssize(bytes) / bytes_per_element(w.dtype)}, bytes.data()};
  require<DataError>(all_finite(read_tensor(written)), "the tensor ", w.name,
                     " of the base and what the adapter adds to it give numbers that ", name(w.dtype),
                     " cannot hold");
}

// W + s B A as the file of W holds it.
std::vector<std::byte> merged(const TensorView& w, const PeftAdapter& adapter, const PlacedPath& place,
                              Backend& backend) {
  const std::int64_t outputs = w.shape[0], inputs = w.shape[1], rank = place.path.rank;
  const std::int64_t step = std::clamp<std::int64_t>(merged_at_once / inputs, 1, outputs);
  constexpr std::int64_t tensors = 3;
  Arena arena(backend, 4 * (rank * inputs + step * inputs + step * rank) + tensors * Arena::alignment,
              "merge");
  const Tensor a = arena.take(DType::f32, {rank, inputs});
  upload_floats(backend, a, adapter.values(place.layer, place.projection, LoraFactor::a));
  const std::vector<float> all_b = adapter.values(place.layer, place.projection, LoraFactor::b);
  std::vector<std::byte> bytes;
  bytes.reserve(w.bytes().size());
  for (std::int64_t row = 0; row < outputs; row += step) {
    const std::int64_t rows = std::min(step, outputs - row);
    Arena::Scope scope(arena);
    const Tensor sum = arena.take(DType::f32, {rows, inputs}), b = arena.take(DType::f32, {rows, rank});
    upload_floats(backend, sum, read_tensor(w.rows(row, row + rows)));
    upload_floats(backend, b,
                  std::span(all_b).subspan(static_cast<std::size_t>(row * rank),
                                           static_cast<std::size_t>(rows * rank)));
    backend.matmul(sum, b, a, {.accumulate = true, .scale = static_cast<float>(place.path.scale)});
    const std::vector<std::byte> piece = stored_as(w.dtype, download_floats(backend, sum));
    require_finite(piece, w);
    bytes.insert(bytes.end(), piece.begin(), piece.end());
  }
  return bytes;
}

double unit_of_rounding(FileDType dtype) {
  return dtype == FileDType::f32 ? 0x1p-24 : dtype == FileDType::f16 ? 0x1p-11 : 0x1p-8;
}

// By the name of W.
std::map<std::string, PlacedPath> places_of(const PeftAdapter& adapter, const ModelConfig& model) {
  std::map<std::string, PlacedPath> places;
  for (const ModelTensor& tensor : model_tensors(model)) {
    if (tensor.role != TensorRole::projection) continue;
    if (const auto path = path_of(adapter.config, tensor.layer, tensor.projection))
      places[tensor.name] = {tensor.layer, tensor.projection, *path};
  }
  return places;
}

void copy_file(const std::filesystem::path& from, const std::filesystem::path& to, const char* name) {
  write_file_atomically(to / name, MappedFile(from / name).bytes());
}

}  // namespace

std::int64_t write_merged(const BaseModel& base, const PeftAdapter& adapter,
                          const std::filesystem::path& folder, Backend& backend,
                          const std::function<void(std::int64_t, std::int64_t)>& progress) {
  require_fits(adapter, base.config());
  const std::map<std::string, PlacedPath> places = places_of(adapter, base.config());
  std::int64_t done = 0, total = 0;
  for (const SafetensorsFile& file : base.files()) {
    for (const TensorView& tensor : file.tensors()) total += std::ssize(tensor.bytes());
  }
  for (const SafetensorsFile& file : base.files()) {
    std::map<std::string, TensorView> views;
    std::vector<TensorDescription> descriptions;
    for (const TensorView& tensor : file.tensors()) {
      views[tensor.name] = tensor;
      descriptions.push_back({tensor.name, tensor.dtype, tensor.shape});
    }
    SafetensorsWriter writer(folder / file.path().filename(), std::move(descriptions), file.metadata());
    for (const TensorDescription& next : writer.order()) {
      const TensorView& view = views.at(next.name);
      if (const auto place = places.find(next.name); place == places.end()) {
        writer.append(view.bytes());
      } else {
        writer.append(merged(view, adapter, place->second, backend));
      }
      view.file->give_back(view.bytes());
      done += std::ssize(view.bytes());
      if (progress) progress(done, total);
    }
    writer.finish();
  }
  copy_file(base.folder(), folder, "config.json");
  const bool sharded = base.files().front().path().filename() != single_weights_file;
  if (sharded) copy_file(base.folder(), folder, weights_index_file);
  copy_tokenizer_files(base.folder(), folder);
  return std::ssize(places);
}

MergeRounding merge_rounding(const BaseModel& base, const PeftAdapter& adapter) {
  const ModelConfig& config = base.config();
  MergeRounding rounding;
  double squares = 0;
  for (const auto& [name, place] : places_of(adapter, config)) {
    const FileDType dtype = base.tensor(name).dtype;
    squares += std::pow(unit_of_rounding(dtype), 2);
    if (unit_of_rounding(dtype) > unit_of_rounding(rounding.dtype)) rounding.dtype = dtype;
  }
  const double sums =
      2.0 * std::size(all_projections) * static_cast<double>(config.layers * config.hidden_size);
  squares += sums * std::pow(unit_of_rounding(FileDType::f32), 2);
  rounding.relative = std::sqrt(squares);
  return rounding;
}

}  // namespace chorus
