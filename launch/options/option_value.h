#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// How a field of each type is written on the command line and in config files. A new type of option needs one
// overload of each of the four functions.
namespace chorus::option_value {

// Reads all of `text`; false, with `value` unchanged, where it is not written as expected().
// Numbers are decimal and finite, and integers with a sign have 32 bits; booleans are on, off, true or false; lists are
// separated by commas, and a comma or backslash inside an item stands after a backslash.
bool read(std::string_view text, std::string& value);
bool read(std::string_view text, int& value);
bool read(std::string_view text, std::int64_t& value);
bool read(std::string_view text, std::uint64_t& value);
bool read(std::string_view text, double& value);
bool read(std::string_view text, bool& value);
bool read(std::string_view text, std::vector<std::string>& value);

// The text that read() turns into an equal value.
std::string print(const std::string& value);
std::string print(int value);
std::string print(std::int64_t value);
std::string print(std::uint64_t value);
std::string print(double value);
std::string print(bool value);
std::string print(const std::vector<std::string>& value);

// What an error message says read() wanted: "an integer".
std::string expected(const std::string&);
std::string expected(int);
std::string expected(std::int64_t);
std::string expected(std::uint64_t);
std::string expected(double);
std::string expected(bool);
std::string expected(const std::vector<std::string>&);

// What the help writes in the place of the value: "--lora-rank N".
std::string placeholder(const std::string&);
std::string placeholder(int);
std::string placeholder(std::int64_t);
std::string placeholder(std::uint64_t);
std::string placeholder(double);
std::string placeholder(bool);
std::string placeholder(const std::vector<std::string>&);

// An optional field is a value or the word "none".
template <typename T>
bool read(std::string_view text, std::optional<T>& value) {
  if (text == "none") {
    value.reset();
    return true;
  }
  T present{};
  if (!read(text, present)) return false;
  value = std::move(present);
  return true;
}
template <typename T>
std::string print(const std::optional<T>& value) {
  return value ? print(*value) : "none";
}
template <typename T>
std::string expected(const std::optional<T>&) {
  return expected(T{}) + " or none";
}
template <typename T>
std::string placeholder(const std::optional<T>&) {
  return placeholder(T{});
}

// One item of a list, so that print() of several is these joined by commas.
std::string escape_list_item(std::string_view item);

// A value as it stands behind "key =" in a config file: in double quotes with \" \\ \n \r \t inside where it
// would not survive the trimming of the line. unquote() is false where the quotes or escapes do not fit.
std::string quote(const std::string& value);
bool unquote(std::string_view text, std::string& value);

}  // namespace chorus::option_value
