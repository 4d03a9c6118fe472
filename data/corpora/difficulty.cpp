#include "data/corpora/difficulty.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "data/text/json.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr double change_of_emotion = 0.4;  // b of equation 2, whose k is 1

using Labels = std::vector<std::string>;

const std::vector<std::pair<std::optional<double>, Labels>>& usual_places() {
  static const std::vector<std::pair<std::optional<double>, Labels>> places{
      {std::nullopt, {"neutral", "no_emotion"}},
      {9, {"pleasure"}},
      {27, {"joy", "joyful", "happy", "happiness"}},
      {45, {"powerful", "pride"}},
      {63, {"excited", "excitement"}},
      {81, {"surprise", "surprised", "interest"}},
      {99, {"anger", "angry", "mad"}},
      {117, {"hate"}},
      {135, {"contempt"}},
      {153, {"disgust", "disgusted"}},
      {171, {"fear", "scared"}},
      {189, {"frustrated", "frustration", "disappointed", "disappointment"}},
      {207, {"shame"}},
      {225, {"regret"}},
      {243, {"guilt"}},
      {261, {"sad", "sadness"}},
      {279, {"compassion"}},
      {297, {"relief"}},
      {315, {"admiration"}},
      {333, {"love"}},
      {351, {"peaceful", "contentment"}}};
  return places;
}

}  // namespace

EmotionWheel::EmotionWheel() {
  for (const auto& [degrees, labels] : usual_places()) {
    for (const std::string& label : labels) put(label, degrees);
  }
}

EmotionWheel::EmotionWheel(const std::string& path) : path_(path) {
  const nlohmann::json json = parse_json(read_text_file(path), path);
  require<DataError>(json.is_object() && !json.empty(), path,
                     ": must be an object of LABEL: DEGREES, as {\"joy\": 27, \"neutral\": null}");
  for (const auto& [label, degrees] : json.items()) {
    require<DataError>(degrees.is_null() || degrees.is_number(), path, ": label '", label, "' is at ",
                       degrees.dump(), ", which is neither a number of degrees nor null");
    put(label, degrees.is_null() ? std::nullopt : std::optional(degrees.get<double>()));
  }
}

void EmotionWheel::put(const std::string& label, std::optional<double> degrees) {
  Place& place = places_[lower_case(label)];
  if (!degrees) return;
  const double angle = *degrees * std::numbers::pi / 180;
  place = {std::cos(angle), std::sin(angle)};
}

void EmotionWheel::require_labels(const std::vector<std::string>& labels) const {
  for (const std::string& label : labels) {
    require<ConfigurationError>(
        places_.contains(lower_case(label)), "--order difficulty: where does '", label,
        "' stand on the wheel of valence and arousal? ",
        path_.empty() ? "Say it for all labels in a file of --emotion-wheel" : path_ + " does not say it",
        ", as {\"joy\": 27, \"neutral\": null}");
  }
}

double EmotionWheel::similarity(const std::string& a, const std::string& b, std::size_t labels) const {
  const Place &x = places_.at(lower_case(a)), &y = places_.at(lower_case(b));
  const double sides = x.valence * y.valence;
  constexpr double rounding = 1e-12;  // of a cosine of 90 degrees
  if (std::abs(sides) < rounding) return 1 / static_cast<double>(labels);
  return sides < 0 ? 0 : std::max(0.0, sides + x.arousal * y.arousal);
}

double difficulty(const Dialogue& dialogue, const EmotionWheel& wheel, std::size_t labels) {
  std::map<std::string, std::string> last_of;  // label of each speaker
  double changes = 0;
  const auto change = [&](const std::string& before, const std::string& now) {
    if (!before.empty() && !now.empty() && before != now)
      changes += change_of_emotion + wheel.similarity(before, now, labels);
  };
  const Utterance* previous = nullptr;
  for (const Utterance& line : dialogue.utterances) {
    std::string& last = last_of[line.speaker];
    change(last, line.label);
    if (previous != nullptr && previous->speaker != line.speaker) change(previous->label, line.label);
    last = line.label;
    previous = &line;
  }
  const auto speakers = static_cast<double>(last_of.size());
  return (changes + speakers) / (static_cast<double>(dialogue.utterances.size()) + speakers);
}

}  // namespace chorus
