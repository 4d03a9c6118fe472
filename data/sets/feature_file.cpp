#include "data/sets/feature_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "data/corpora/split_files.h"
#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr std::array<std::string_view, 3> placeholders{"{split}", "{dialogue}", "{utterance}"};

// Throws unless every brace belongs to a placeholder and utterances have different keys.
void validate_pattern(const std::string& pattern) {
  const std::string known = "there are {split}, {dialogue} and {utterance}";
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    require<ConfigurationError>(pattern[i] != '}', "feature key ", pattern, ": '}' without '{'; ", known);
    if (pattern[i] != '{') continue;
    const std::string rest = pattern.substr(i);
    const auto* found = std::find_if(placeholders.begin(), placeholders.end(),
                                     [&](std::string_view name) { return rest.starts_with(name); });
    require<ConfigurationError>(found != placeholders.end(), "feature key ", pattern, ": ", rest,
                                " begins with no placeholder; ", known);
    i += found->size() - 1;
  }
  require<ConfigurationError>(pattern.find("{utterance}") != std::string::npos, "feature key ", pattern,
                              ": without {utterance} all utterances would have the same features");
}

// The first array of floats below a group, or "".
std::string first_array_below(const Hdf5Reader& file, const std::string& group) {
  for (const std::string& name : file.children(group)) {
    const std::string path = group == "/" ? name : group + "/" + name;
    if (file.holds_floats(path)) return path;
    if (!file.is_group(path)) continue;
    std::string found = first_array_below(file, path);
    if (!found.empty()) return found;
  }
  return "";
}

}  // namespace

std::vector<float> pooled(std::span<const float> rows, std::int64_t width, std::int64_t most_rows) {
  require(width > 0 && most_rows > 0 && std::ssize(rows) % width == 0, rows.size(),
          " numbers are no rows of ", width, " to be pooled to ", most_rows);
  const std::int64_t count = std::ssize(rows) / width;
  if (count <= most_rows) return {rows.begin(), rows.end()};
  std::vector<float> means;
  means.reserve(static_cast<std::size_t>(most_rows * width));
  for (std::int64_t span = 0; span < most_rows; ++span) {
    const std::int64_t begin = span * count / most_rows, end = (span + 1) * count / most_rows;
    for (std::int64_t column = 0; column < width; ++column) {
      double sum = 0;
      for (std::int64_t row = begin; row < end; ++row)
        sum += static_cast<double>(rows[static_cast<std::size_t>(row * width + column)]);
      means.push_back(static_cast<float>(sum / static_cast<double>(end - begin)));
    }
  }
  return means;
}

FeatureFile::FeatureFile(const std::filesystem::path& path, std::string key_pattern)
    : path_(path), file_(std::make_unique<Hdf5Reader>(path)), key_pattern_(std::move(key_pattern)) {
  const std::vector<std::string> roots = file_->children("/");
  const std::string data = roots.size() == 1 ? roots[0] + "/data" : "";
  if (!data.empty() && file_->exists(data) && file_->is_group(data)) {
    const std::vector<std::string> ids = file_->children(data);
    if (!ids.empty() && file_->exists(data + "/" + ids[0] + "/features")) {
      root_ = data + "/";
      leaf_ = "/features";
    }
  }
  if (key_pattern_.empty())
    key_pattern_ = leaf_.empty() ? "{split}/{dialogue}/{utterance}" : "{dialogue}_{utterance}";
  validate_pattern(key_pattern_);

  first_array_ = leaf_.empty() ? first_array_below(*file_, "/") : root_ + file_->children(data)[0] + leaf_;
  require<DataError>(!first_array_.empty(), path_.string(), ": holds no arrays of features");
  const std::int64_t width = file_->read_floats(first_array_).shape.back();
  require<DataError>(width > 0 && width <= std::numeric_limits<std::int32_t>::max(), path_.string(), ": '",
                     first_array_, "' has rows of ", width, " numbers");
  width_ = static_cast<std::int32_t>(width);
}

FloatArray FeatureFile::read_array(const std::string& array) const {
  FloatArray found = file_->read_floats(array);
  require<DataError>(found.shape.back() == width_, path_.string(), ": '", array, "' has rows of ",
                     found.shape.back(), " numbers, '", first_array_, "' of ", width_);
  require<DataError>(!found.values.empty(), path_.string(), ": '", array, "' is empty");
  for (std::size_t i = 0; i < found.values.size(); ++i) {
    const auto column = i % static_cast<std::size_t>(width_), row = i / static_cast<std::size_t>(width_);
    require<DataError>(std::isfinite(found.values[i]), path_.string(), ": '", array, "' has ",
                       found.values[i], " in row ", row, ", column ", column);
  }
  return found;
}

bool FeatureFile::holds(const std::string& key) const { return file_->exists(array_of(key)); }

std::vector<float> FeatureFile::read(const std::string& key, std::int64_t most_rows) const {
  return pooled(read_array(array_of(key)).values, width_, most_rows);
}

std::string FeatureFile::key_of(const std::string& split, const std::string& dialogue,
                                const std::string& utterance) const {
  return fill_in(key_pattern_, {{"split", split}, {"dialogue", dialogue}, {"utterance", utterance}},
                 "feature key " + key_pattern_);
}

std::optional<std::string> FeatureFile::find(const std::string& split, const std::string& dialogue,
                                             const std::string& utterance) const {
  for (const std::string& name : names_of_split(split)) {
    std::string key = key_of(name, dialogue, utterance);
    if (holds(key)) return key;
  }
  return std::nullopt;
}

bool FeatureFile::holds(const std::string& split, const std::string& dialogue,
                        const std::string& utterance) const {
  return find(split, dialogue, utterance).has_value();
}

std::vector<float> FeatureFile::read(const std::string& split, const std::string& dialogue,
                                     const std::string& utterance, std::int64_t most_rows) const {
  const std::optional<std::string> key = find(split, dialogue, utterance);
  require<DataError>(key.has_value(), path_.string(), ": no array '",
                     array_of(key_of(split, dialogue, utterance)), "' for utterance ", utterance,
                     " of dialogue ", dialogue, " in ", split, "; keys are made by ", key_pattern_);
  return read(*key, most_rows);
}

}  // namespace chorus
