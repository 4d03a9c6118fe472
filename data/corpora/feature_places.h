#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "data/corpora/ledger.h"
#include "data/corpora/message.h"
#include "data/corpora/rows.h"

// Where in a conversation the features of images, videos and sounds stand, and under which keys a row names them.
namespace chorus {

// A part of a content, as {"type": "image_url", "image_url": {"url": "KEY"}}.
struct FeaturePart {
  std::string text;  // a feature_place, or without a key the placeholder of what the row's fields name
  std::string key;
};
// Nothing for a part of another type. `what` names it in messages. Throws RowError for what is no key, and for a part without
// one in a row whose fields name none.
std::optional<FeaturePart> feature_part(const nlohmann::json& row, const nlohmann::json& part,
                                        const std::string& what, const RowPlace& place);

// Puts what the row's fields name into the messages, a key into each place: of "images" (or "image") <image>, of "videos" and
// "audios" alike, or all of these of a field that alone names some, as "features" always does. Where nothing has a place, all of
// it stands first in what the user says first, each in a line, which `ledger` notes. A row without such fields is left as it
// is. Throws RowError where places and keys are not equally many, and for a place in an answer.
void place_features(const nlohmann::json& row, const RowPlace& place, std::vector<Message>& messages,
                    SplitLedger& ledger);

}  // namespace chorus
