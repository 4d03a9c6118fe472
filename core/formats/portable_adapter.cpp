#include "core/formats/portable_adapter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>

#include "ops/base/error.h"

namespace chorus {

namespace {

// vllm/config/lora.py, MaxLoRARanks.
constexpr std::array<std::int64_t, 9> served_ranks{1, 8, 16, 32, 64, 128, 256, 320, largest_served_rank};

// [rows, columns] times `scale`, with zeros up to [new_rows, new_columns].
std::vector<float> padded(const std::vector<float>& values, std::int64_t columns, std::int64_t new_rows,
                          std::int64_t new_columns, double scale) {
  std::vector<float> wide(static_cast<std::size_t>(new_rows * new_columns));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    wide[static_cast<std::size_t>(at / columns * new_columns + at % columns)] =
        static_cast<float>(scale * static_cast<double>(values[i]));
  }
  return wide;
}

PortableChanges changes_of(const LoraConfig& old, const std::vector<PlacedPath>& paths,
                           const std::string& file) {
  PortableChanges changes;
  for (const PlacedPath& path : paths) changes.rank = std::max(changes.rank, path.path.rank);
  require<DataError>(changes.rank <= largest_served_rank, file, " has the rank ", changes.rank,
                     ", and vLLM takes at most ", largest_served_rank,
                     ": merge it into its base, with --base instead of --portable");
  const double scale = paths[0].path.scale;
  const auto has_smaller_rank = [&](const PlacedPath& path) { return path.path.rank < changes.rank; };
  const auto differs = [&](const PlacedPath& path) {
    return has_smaller_rank(path) || path.path.scale != scale;
  };
  changes.padded = std::ranges::count_if(paths, has_smaller_rank);
  changes.folded_scales = std::ranges::any_of(paths, differs) || scale <= 0;
  changes.folded_rslora = old.rslora && !changes.folded_scales;
  // Of one alpha, the number that the file has, without the rounding of a quotient.
  const bool plain = !old.rslora && old.patterns.alpha.empty() && old.patterns.rank.empty();
  const auto rank = static_cast<double>(changes.rank);
  changes.alpha = changes.folded_scales ? rank : plain ? old.alpha : scale * rank;
  return changes;
}

}  // namespace

std::int64_t served_rank(std::int64_t rank) { return *std::ranges::lower_bound(served_ranks, rank); }

PortableChanges write_portable(const PeftAdapter& adapter, const std::filesystem::path& folder) {
  const std::vector<PlacedPath> paths = paths_of(adapter.config, adapter.layers);
  const PortableChanges changes = changes_of(adapter.config, paths, adapter.file.path().string());
  LoraConfig config = adapter.config;
  config.rank = changes.rank;
  config.alpha = changes.alpha;
  config.rslora = false;
  config.patterns.rank.clear();
  config.patterns.alpha.clear();

  std::deque<std::vector<float>> values;  // which the tensors view
  std::vector<TensorToWrite> tensors;
  for (const auto& [layer, projection, path] : paths) {
    for (const LoraFactor factor : {LoraFactor::a, LoraFactor::b}) {
      const TensorView& view = adapter.factor(layer, projection, factor);
      const std::vector<float> finite = adapter.values(layer, projection, factor);
      if (!changes.folded_scales) {
        tensors.push_back({{view.name, view.dtype, view.shape}, view.data});
        continue;
      }
      const bool is_a = factor == LoraFactor::a;
      std::vector<std::int64_t> shape = view.shape;
      shape[is_a ? 0 : 1] = changes.rank;
      values.push_back(padded(finite, view.shape[1], shape[0], shape[1], is_a ? 1 : path.scale));
      tensors.push_back({{view.name, FileDType::f32, shape}, values.back().data()});
    }
  }
  write_peft(folder, config, adapter.base_name, tensors);
  return changes;
}

}  // namespace chorus
