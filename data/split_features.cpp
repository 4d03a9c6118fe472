#include "data/split_features.h"

#include <algorithm>
#include <vector>

#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {

std::optional<FeatureFile> open_feature_file(const PrepareOptions& options) {
  std::optional<FeatureFile> file;
  if (!options.features.empty()) file.emplace(options.features, options.feature_key);
  return file;
}

SplitFeatures::SplitFeatures(const FeatureFile& file, const PrepareOptions& options, SplitWriter& split)
    : file_(file), options_(options), split_(split) {
  split_.set_features({file.width(), {}, options.half_precision_features});
}

PlacedRows SplitFeatures::take(std::span<const std::string> keys, const std::string& where,
                               std::map<std::string, std::int64_t>& notes) {
  const std::string& name = keys.front();
  auto known = rows_.find(name);
  if (known == rows_.end()) known = rows_.emplace(name, add(keys, where)).first;
  if (known->second.missing) ++notes["places whose features are missing, which have a row of zeros"];
  ++places_;
  return known->second.rows;
}

void SplitFeatures::finish() const {
  const bool any = std::ranges::any_of(rows_, [](const auto& of) { return !of.second.missing; });
  require<DataError>(any || rows_.empty(), first_missing_, ", nor any other that this split names");
}

SplitFeatures::Rows SplitFeatures::add(std::span<const std::string> keys, const std::string& where) {
  const auto found = std::ranges::find_if(keys, [&](const std::string& key) { return file_.holds(key); });
  const bool missing = found == keys.end();
  std::vector<float> values(static_cast<std::size_t>(file_.width()));
  if (missing) {
    const std::string message =
        fmt::format("{}: {} has no array '{}'", where, options_.features, joined(keys, "' or '"));
    require<DataError>(options_.missing_features == MissingFeatures::zeros, message);
    if (first_missing_.empty()) first_missing_ = message;
  } else {
    const auto [known, is_new] = names_.try_emplace(*found, keys.front());
    require<DataError>(
        is_new, where, ": '", keys.front(), "' and '", known->second, "' would both be the array '", *found,
        "' of ", options_.features,
        ": write the same name for the same thing, or give each an array under its whole name");
    values = file_.read(*found, options_.feature_rows);
  }
  const auto count = static_cast<std::int32_t>(std::ssize(values) / file_.width());
  return {{split_.add_feature_rows(values), count}, missing};
}

}  // namespace chorus
