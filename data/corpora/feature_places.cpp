#include "data/corpora/feature_places.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "data/text/text.h"

namespace chorus {

namespace {

using Json = nlohmann::json;
using Role = Message::Role;

// What can be shown: how texts mark its place, and the fields that hold its keys.
struct Medium {
  const char *placeholder, *list, *single;
};
constexpr std::array<Medium, 3> media{
    {{"<image>", "images", "image"}, {"<video>", "videos", "video"}, {"<audio>", "audios", "audio"}}};

// The types of parts, and which of their fields holds the key.
struct PartType {
  const char *type, *field;
  const Medium& medium;
};
constexpr std::array<PartType, 8> part_types{{{"image", "image", media[0]},
                                              {"image_url", "image_url", media[0]},
                                              {"input_image", "image_url", media[0]},
                                              {"video", "video", media[1]},
                                              {"video_url", "video_url", media[1]},
                                              {"audio", "audio", media[2]},
                                              {"audio_url", "audio_url", media[2]},
                                              {"input_audio", "input_audio", media[2]}}};

constexpr const char* no_key = "no key of features";

std::string key_of(const Json& value, const std::string& what, const RowPlace& place) {
  const bool is_text = value.is_string() && !is_blank(value.get_ref<const std::string&>());
  require_row(is_text, place, no_key,
              fmt::format("{} is {}, it must be the key of an array in the file of --features", what,
                          value.is_string() ? "empty" : value.type_name()));
  const auto& key = value.get_ref<const std::string&>();
  require_row(!key.starts_with("data:"), place, no_key,
              what + " holds the data themselves: name the key of their vectors in the file of --features");
  return key;
}

// None, one or a list.
std::vector<std::string> keys_in(const Json& row, const std::string& field, const RowPlace& place) {
  const auto found = row.find(field);
  if (found == row.end() || found->is_null() || *found == "") return {};
  const std::string what = "'" + field + "'";
  if (!found->is_array()) return {key_of(*found, what, place)};
  std::vector<std::string> keys;
  for (const Json& key : *found) keys.push_back(key_of(key, "an element of " + what, place));
  return keys;
}

// Keys of a row that wait for their places.
struct WaitingKeys {
  std::string field;
  std::vector<std::string> placeholders;  // of each place
  std::vector<std::string> keys;
  std::size_t places = 0;  // so far
};

// Of several fields that name keys each has its own placeholders, of one alone all are.
std::vector<WaitingKeys> waiting_keys(const Json& row, const RowPlace& place) {
  std::vector<std::string> placeholders;
  std::vector<WaitingKeys> waiting, named;
  for (const Medium& medium : media) {
    placeholders.emplace_back(medium.placeholder);
    const std::vector<std::string> several = keys_in(row, medium.list, place),
                                   one = keys_in(row, medium.single, place);
    require_row(several.empty() || one.empty(), place, "features named twice",
                fmt::format("both '{}' and '{}' name some: leave one out", medium.list, medium.single));
    waiting.push_back(
        {one.empty() ? medium.list : medium.single, {medium.placeholder}, one.empty() ? several : one});
    if (!waiting.back().keys.empty()) named.push_back(waiting.back());
  }
  if (const std::vector<std::string> features = keys_in(row, "features", place); !features.empty()) {
    require_row(named.empty(), place, "features named twice",
                fmt::format("both 'features' and '{}' name some: leave one out",
                            named.empty() ? "" : named[0].field));
    named = {{"features", {}, features}};
  }
  if (named.size() == 1) named[0].placeholders = placeholders;
  return named.size() > 1 ? waiting : named;
}

// Puts keys into the places of one message.
class MessagePlacer {
 public:
  MessagePlacer(std::vector<WaitingKeys>& waiting, Message& message)
      : waiting_(waiting), message_(message), own_(std::exchange(message.keys, {})) {}

  void place() {
    place(message_.content);
    place(message_.input);
  }

 private:
  void place(std::string& text) {
    std::string placed;
    for (std::size_t at = 0; at < text.size();) {
      if (text[at] == feature_place) {
        message_.keys.push_back(own_.at(next_own_++));
        placed += text[at++];
      } else if (const std::size_t length = take_placeholder(std::string_view(text).substr(at)); length > 0) {
        placed += feature_place;
        at += length;
      } else {
        placed += text[at++];
      }
    }
    text = std::move(placed);
  }

  // The length of a placeholder that the text begins with, which has the next key, if there is one; 0 where it begins with none.
  std::size_t take_placeholder(std::string_view text) {
    if (text[0] != '<') return 0;
    for (WaitingKeys& waiting : waiting_) {
      for (const std::string& placeholder : waiting.placeholders) {
        if (!text.starts_with(placeholder)) continue;
        const std::size_t next = waiting.places++;
        message_.keys.push_back(next < waiting.keys.size() ? waiting.keys[next] : "");
        return placeholder.size();
      }
    }
    return 0;
  }

  std::vector<WaitingKeys>& waiting_;
  Message& message_;
  std::vector<std::string> own_;  // of the places that it has already
  std::size_t next_own_ = 0;
};

void place_first(const std::vector<WaitingKeys>& waiting, const RowPlace& place,
                 std::vector<Message>& messages) {
  const auto answered =
      std::ranges::find(messages.rbegin(), messages.rend(), Role::assistant, &Message::role);
  const auto user = std::ranges::find(messages.begin(), answered.base(), Role::user, &Message::role);
  require_row(user != answered.base(), place, "features without a place",
              "no turn that is answered is a user's");
  std::string places;
  std::vector<std::string> keys;
  for (const WaitingKeys& each : waiting) {
    for (const std::string& key : each.keys) {
      places += std::string(1, feature_place) + "\n";
      keys.push_back(key);
    }
  }
  user->content.insert(0, places);
  user->keys.insert(user->keys.begin(), keys.begin(), keys.end());
}

}  // namespace

std::optional<FeaturePart> feature_part(const Json& row, const Json& part, const std::string& what,
                                        const RowPlace& place) {
  if (!part.is_object()) return std::nullopt;
  const auto type = part.find("type");
  const auto* known = std::ranges::find_if(
      part_types, [&](const PartType& each) { return type != part.end() && *type == each.type; });
  if (known == part_types.end()) return std::nullopt;
  const auto field = part.find(known->field);
  const std::string name = fmt::format("'{}' of {}", known->field, what);
  if (field == part.end() || field->is_null()) {
    require_row(!waiting_keys(row, place).empty(), place, no_key,
                fmt::format("{} is missing, and no field '{}' of the row has it", name, known->medium.list));
    return FeaturePart{known->medium.placeholder, ""};
  }
  const bool is_url = field->is_object() && field->contains("url");
  return FeaturePart{std::string(1, feature_place), key_of(is_url ? (*field)["url"] : *field, name, place)};
}

void place_features(const Json& row, const RowPlace& place, std::vector<Message>& messages,
                    SplitLedger& ledger) {
  std::vector<WaitingKeys> waiting = waiting_keys(row, place);
  if (waiting.empty()) return;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::size_t own = messages[i].keys.size();
    MessagePlacer(waiting, messages[i]).place();
    require_row(
        messages[i].role != Role::assistant || messages[i].keys.size() == own, place, "features in an answer",
        fmt::format("turn {} is the assistant's, which is shown none: its text holds a placeholder", i + 1));
  }
  const bool has_places =
      std::ranges::any_of(waiting, [](const WaitingKeys& each) { return each.places > 0; });
  if (!has_places) {
    place_first(waiting, place, messages);
    ++ledger.notes["conversations without a place for their features, which stand first"];
    return;
  }
  for (const WaitingKeys& each : waiting)
    require_row(each.places == each.keys.size(), place, "features and places that are not equally many",
                fmt::format("'{}' has {} keys, and the texts have {} places for them ({}): write one in what "
                            "the user says for each key",
                            each.field, each.keys.size(), each.places, joined(each.placeholders, ", ")));
}

}  // namespace chorus
