#include "launch/options/option_value.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace chorus::option_value {
namespace {

template <typename T>
bool read_number(std::string_view text, T& value) {
  T number{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end) return false;
  value = number;
  return true;
}

// The characters that config files write as a backslash and a letter, and those letters.
constexpr std::string_view special = "\"\\\n\r\t";
constexpr std::string_view letters = "\"\\nrt";

}  // namespace

bool read(std::string_view text, std::string& value) {
  value = text;
  return true;
}
bool read(std::string_view text, int& value) { return read_number(text, value); }
bool read(std::string_view text, std::int64_t& value) {
  // Sizes and counts are multiplied, and must not overflow.
  constexpr std::int64_t largest = std::numeric_limits<std::int32_t>::max();
  std::int64_t number = 0;
  if (!read_number(text, number) || number < -largest || number > largest) return false;
  value = number;
  return true;
}
bool read(std::string_view text, std::uint64_t& value) { return read_number(text, value); }
bool read(std::string_view text, double& value) {
  double number = 0;
  if (!read_number(text, number) || !std::isfinite(number)) return false;
  value = number;
  return true;
}
bool read(std::string_view text, bool& value) {
  const bool on = text == "on" || text == "true";
  if (!on && text != "off" && text != "false") return false;
  value = on;
  return true;
}
bool read(std::string_view text, std::vector<std::string>& value) {
  std::vector<std::string> items;
  if (!text.empty()) items.emplace_back();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ',') {
      items.emplace_back();
    } else {
      if (text[i] == '\\' && ++i == text.size()) return false;
      items.back() += text[i];
    }
  }
  value = std::move(items);
  return true;
}

std::string print(const std::string& value) { return value; }
std::string print(int value) { return fmt::format("{}", value); }
std::string print(std::int64_t value) { return fmt::format("{}", value); }
std::string print(std::uint64_t value) { return fmt::format("{}", value); }
std::string print(double value) { return fmt::format("{}", value); }
std::string print(bool value) { return value ? "on" : "off"; }
std::string print(const std::vector<std::string>& value) {
  std::string text;
  for (const std::string& item : value) {
    if (&item != &value.front()) text += ',';
    text += escape_list_item(item);
  }
  return text;
}

std::string expected(const std::string&) { return "text"; }
std::string expected(int) { return "an integer"; }
std::string expected(std::int64_t) { return "an integer"; }
std::string expected(std::uint64_t) { return "an integer that is not negative"; }
std::string expected(double) { return "a number"; }
std::string expected(bool) { return "on or off"; }
std::string expected(const std::vector<std::string>&) { return "a list separated by commas"; }

std::string placeholder(const std::string&) { return "TEXT"; }
std::string placeholder(int) { return "N"; }
std::string placeholder(std::int64_t) { return "N"; }
std::string placeholder(std::uint64_t) { return "N"; }
std::string placeholder(double) { return "X"; }
std::string placeholder(bool) { return "on|off"; }
std::string placeholder(const std::vector<std::string>&) { return "A,B,..."; }

std::string escape_list_item(std::string_view item) {
  std::string text;
  for (const char c : item) {
    if (c == ',' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

std::string quote(const std::string& value) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  const bool plain =
      value.find_first_of("\n\r") == std::string::npos &&
      (value.empty() || (!is_space(value.front()) && !is_space(value.back()) && value.front() != '"'));
  if (plain) return value;
  std::string text = "\"";
  for (const char c : value) {
    const std::size_t i = special.find(c);
    if (i == std::string_view::npos) {
      text += c;
    } else {
      text += '\\';
      text += letters[i];
    }
  }
  return text + '"';
}

bool unquote(std::string_view text, std::string& value) {
  if (text.empty() || text.front() != '"') {
    value = text;
    return true;
  }
  std::string plain;
  std::size_t i = 1;
  for (; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] != '\\') {
      plain += text[i];
      continue;
    }
    const std::size_t letter = ++i < text.size() ? letters.find(text[i]) : std::string_view::npos;
    if (letter == std::string_view::npos) return false;
    plain += special[letter];
  }
  if (i + 1 != text.size()) return false;
  value = std::move(plain);
  return true;
}

}  // namespace chorus::option_value
