#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace chorus {

// Stands in a text where rows of features go. No UTF-8 holds this byte.
inline constexpr char feature_place = '\xFF';

// Rows of a FeatureTable that take one such place.
struct PlacedRows {
  std::int32_t first = 0, count = 0;
};

// What one side of a conversation says.
struct Message {
  enum class Role { system, user, assistant };
  Role role = Role::user;
  std::string content;
  std::string input;                      // what an instruction speaks of, where that stands apart; of a user
  bool trained = true;                    // of an assistant
  std::vector<PlacedRows> features = {};  // of each feature_place in the content, then in the input
  std::vector<std::string> keys = {};  // of the arrays that these rows are to come from, as a file names them
};

}  // namespace chorus
