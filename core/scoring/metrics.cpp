#include "core/scoring/metrics.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {
namespace {

double ratio(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Harmonic mean of precision and recall, written so that it is defined where one of them is not.
double f1_score(std::int64_t hits, std::int64_t support, std::int64_t predicted) {
  return ratio(2 * hits, support + predicted);
}

constexpr std::size_t table_columns = 100;

std::string class_table(const Scores& scores, std::size_t name_width) {
  std::string out =
      fmt::format("{:<{}}  precision  recall      F1  support  predicted\n", "label", name_width);
  for (std::size_t i = 0; i < scores.labels().size(); ++i) {
    const auto& [precision, recall, f1, support, predicted] = scores.classes()[i];
    out += fmt::format("{:<{}}  {:9.2f}  {:6.2f}  {:6.2f}  {:7}  {:9}\n", scores.labels()[i], name_width,
                       100 * precision, 100 * recall, 100 * f1, support, predicted);
  }
  const auto total = [&](std::string_view title, double value) {
    out += fmt::format("{:<{}}  {:9}  {:6}  {:6.2f}  {:7}\n", title, name_width, "", "", 100 * value,
                       scores.count());
  };
  total("accuracy", scores.accuracy());
  total("macro F1", scores.macro_f1());
  total("weighted F1", scores.weighted_f1());
  if (scores.misses() > 0) {
    out += fmt::format(
        "{} of {} answers held no label; {} of them are wrong for every label, and the others "
        "were matched to the most similar one\n",
        scores.misses(), scores.count(), scores.unmatched());
  }
  return out;
}

std::string confusion_table(const Scores& scores, std::size_t name_width) {
  std::size_t widest_count = 1, widest_label = 1;
  for (std::size_t gold = 0; gold < scores.labels().size(); ++gold) {
    widest_label = std::max(widest_label, character_count(scores.labels()[gold]));
    for (std::size_t predicted = 0; predicted < scores.labels().size(); ++predicted) {
      widest_count = std::max(widest_count, std::to_string(scores.confusion(gold, predicted)).size());
    }
  }
  // Long labels are cut in the heading only; counts never are.
  const std::size_t room =
      table_columns > name_width ? (table_columns - name_width) / scores.labels().size() : 0;
  const std::size_t column = std::max(widest_count, std::min(widest_label, room > 2 ? room - 2 : 0));
  std::string out = fmt::format("{:<{}}  predicted\n{:<{}}", "", name_width, "gold", name_width);
  for (const auto& label : scores.labels()) out += fmt::format("  {:>{}.{}}", label, column, column);
  out += '\n';
  for (std::size_t gold = 0; gold < scores.labels().size(); ++gold) {
    out += fmt::format("{:<{}}", scores.labels()[gold], name_width);
    for (std::size_t predicted = 0; predicted < scores.labels().size(); ++predicted) {
      out += fmt::format("  {:>{}}", scores.confusion(gold, predicted), column);
    }
    out += '\n';
  }
  return out;
}

}  // namespace

Scores::Scores(std::vector<std::string> labels, std::span<const Prediction> predictions)
    : labels_(std::move(labels)),
      confusion_(labels_.size() * labels_.size()),
      classes_(labels_.size()),
      count_(static_cast<std::int64_t>(predictions.size())) {
  const auto is_label = [&](std::int32_t index) {
    return index >= 0 && std::cmp_less(index, labels_.size());
  };
  for (const auto& [gold, predicted, found] : predictions) {
    require(is_label(gold) && (is_label(predicted) || predicted == no_label), "gold ", gold,
            " and predicted ", predicted, " of ", labels_.size(), " labels");
    ++classes_[static_cast<std::size_t>(gold)].support;
    if (!found) ++misses_;
    if (predicted == no_label) {
      ++unmatched_;
      continue;
    }
    ++confusion_[static_cast<std::size_t>(gold) * labels_.size() + static_cast<std::size_t>(predicted)];
    ++classes_[static_cast<std::size_t>(predicted)].predicted;
  }
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    auto& entry = classes_[i];
    entry.precision = ratio(confusion(i, i), entry.predicted);
    entry.recall = ratio(confusion(i, i), entry.support);
    entry.f1 = f1_score(confusion(i, i), entry.support, entry.predicted);
  }
}

std::int64_t Scores::confusion(std::size_t gold, std::size_t predicted) const {
  return confusion_.at(gold * labels_.size() + predicted);
}

double Scores::accuracy() const {
  std::int64_t hits = 0;
  for (std::size_t i = 0; i < labels_.size(); ++i) hits += confusion(i, i);
  return ratio(hits, count_);
}

double Scores::weighted_f1() const {
  double sum = 0;
  for (const auto& entry : classes_) sum += entry.f1 * static_cast<double>(entry.support);
  return count_ == 0 ? 0 : sum / static_cast<double>(count_);
}

double Scores::macro_f1() const {
  double sum = 0;
  for (const auto& entry : classes_) sum += entry.f1;
  return classes_.empty() ? 0 : sum / static_cast<double>(classes_.size());
}

nlohmann::ordered_json Scores::to_json() const {
  nlohmann::ordered_json out;
  out["weighted_f1"] = weighted_f1();
  out["macro_f1"] = macro_f1();
  out["accuracy"] = accuracy();
  out["count"] = count_;
  out["misses"] = misses_;
  out["unmatched"] = unmatched_;
  out["labels"] = labels_;
  out["classes"] = nlohmann::ordered_json::object();
  out["confusion"] = nlohmann::ordered_json::array();  // a row per gold label
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    const auto& [precision, recall, f1, support, predicted] = classes_[i];
    out["classes"][labels_[i]] = {{"precision", precision},
                                  {"recall", recall},
                                  {"f1", f1},
                                  {"support", support},
                                  {"predicted", predicted}};
    const auto row = std::span(confusion_).subspan(i * labels_.size(), labels_.size());
    out["confusion"].push_back(std::vector<std::int64_t>(row.begin(), row.end()));
  }
  return out;
}

std::string Scores::to_table() const {
  std::size_t name_width = std::string_view("weighted F1").size();
  for (const auto& label : labels_) name_width = std::max(name_width, character_count(label));
  std::string out = class_table(*this, name_width);
  if (!labels_.empty()) out += '\n' + confusion_table(*this, name_width);
  return out;
}

std::int32_t majority_label(std::span<const std::int32_t> gold) {
  std::map<std::int32_t, std::int64_t> counts;
  for (const std::int32_t label : gold) ++counts[label];
  const auto by_count = [](const auto& a, const auto& b) { return a.second < b.second; };
  return counts.empty() ? no_label : std::ranges::max_element(counts, by_count)->first;
}

double majority_baseline(std::span<const std::int32_t> gold) {
  const auto most = static_cast<std::int64_t>(std::ranges::count(gold, majority_label(gold)));
  const auto all = static_cast<std::int64_t>(gold.size());
  // Only the predicted class has an F1 above 0.
  return f1_score(most, most, all) * ratio(most, all);
}

}  // namespace chorus
