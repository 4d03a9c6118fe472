#pragma once

#include <exception>
#include <string>

#include <gtest/gtest.h>

namespace chorus::test {

// The message of the exception of exactly type E that `action` throws; a failure if it throws none.
template <typename E, typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "an exception of another type: " << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace chorus::test
