#pragma once

#include <string>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {

using test::TemporaryFolder;

inline std::string bytes_of(const std::string& path) { return test::read_bytes(path); }

// What an action throws, as "the right type: message" is checked by the caller.
template <typename E, typename Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("[another type of exception] ") + error.what();
  }
  return "[no exception]";
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "expected '" << part << "' in: " << text;
}

// Real data and models lie beside the source tree, or where CHORUS_SHARED says. Empty if the file is not
// there.
inline std::string real_file(const std::string& name) {
  return test::shared_path(name).value_or(std::filesystem::path()).string();
}

inline std::string not_there(const std::string& name) { return test::missing_shared(name); }

}  // namespace chorus
