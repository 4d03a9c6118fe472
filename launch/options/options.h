#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "launch/options/option_value.h"
#include "ops/base/error.h"

namespace chorus {

using Arguments = std::vector<std::string>;  // what follows the command's name

// One row of an OptionTable. The calls refine it and give it back:
// table.add(...).at_least(1).shown_as("TOKENS").
class Option {
 public:
  Option& at_least(double minimum) { return limit(minimum_, minimum); }
  Option& at_most(double maximum) { return limit(maximum_, maximum); }
  Option& more_than(double bound) { return limit(above_, bound); }
  Option& less_than(double bound) { return limit(below_, bound); }
  Option& between(double minimum, double maximum) { return at_least(minimum).at_most(maximum); }
  Option& required();
  Option& shown_as(std::string placeholder);  // what the help writes for the value: DIR, FILE, ...
  // Lets a choice be written as a switch too: alone, and as on or true, it means one of its words, as off or false another.
  Option& as_switch(std::string on, std::string off);

 private:
  friend class OptionTable;

  template <typename T>
  bool allows(const T& value) const {
    if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
      return within_limits(static_cast<double>(value));
    }
    return true;
  }
  template <typename T>
  bool allows(const std::optional<T>& value) const {
    return !value || allows(*value);
  }
  Option& limit(std::optional<double>& which, double value) {
    which = value;
    return *this;
  }
  bool within_limits(double value) const;
  bool read(std::string_view text) const;  // into the field; a list grows by what it reads
  bool is_word(std::string_view text) const;
  std::string expected() const;  // with the limits
  std::string default_note() const;

  std::string name_, help_, group_, placeholder_, expected_, default_;
  std::optional<double> minimum_, maximum_, above_, below_;
  std::string alone_;  // what it means without a value, which then is one of its words or not there
  std::vector<std::string> words_;  // of a choice
  std::string on_, off_;            // what those of a switch mean, where that is something else
  bool required_ = false, given_ = false, list_ = false, positional_ = false;
  std::function<bool(std::string_view)> read_;
  std::function<std::string()> print_;
  std::function<void()> clear_;  // lists only
};

// The one place where a command's options are said: each row binds a name to a field of the command's
// configuration, takes the field's present value as default and holds the help. From it come the parsing of
// the command line and of config files, the checks, the help and the effective configuration.
//
// The fields must outlive the table. Types of fields: see option_value.h, and enumerations by choice().
class OptionTable {
 public:
  OptionTable(std::string command, std::string description);
  OptionTable(const OptionTable&) = delete;
  OptionTable& operator=(const OptionTable&) = delete;

  // The rows added from here on stand under this title in the help and in the effective configuration.
  OptionTable& group(std::string title);

  template <typename T>
  Option& add(std::string name, T& field, std::string help);
  // `choices` pairs each word with the value that it means.
  template <typename T>
  requires std::is_enum_v<T> Option& choice(std::string name, T& field,
                                            std::vector<std::pair<std::string, T>> choices, std::string help);
  Option& choice(std::string name, std::string& field, std::vector<std::string> words, std::string help);
  // `parse` makes the value of a text, or throws ConfigurationError that says what is wrong; `print` undoes it.
  template <typename T, typename Parse, typename Print>
  Option& text(std::string name, T& field, Parse parse, Print print, std::string help);
  // Also filled by the arguments without a name: a string by the next of them, a list by all that remain.
  template <typename T>
  Option& positional(std::string name, T& field, std::string help);

  OptionTable& required(std::string_view name);

  // Config files may also hold options of `other` that this table has not: nothing becomes of their values.
  OptionTable& pass_over_those_of(const OptionTable& other);

  // Fills the fields: config files first (each argument that ends in .ini and each --config FILE, in order),
  // then the command line; of several values the last one counts, and a list given anew replaces the former
  // one. An argument that begins with a dash and does not look like an option is a text, as is all that follows
  // --. Throws ConfigurationError for an unknown name (and says a near one, if any), a value that cannot be read or
  // is outside its limits, a required one that is missing, a config file that cannot be read. Returns false
  // where --help was asked for; it is printed then, and nothing is left to do.
  [[nodiscard]] bool parse(const Arguments& arguments);

  // Whether the last parse() found a value for it, in a file or on the command line. Throws for an unknown
  // name.
  bool given(std::string_view name) const;
  // Whether its value is another than the default. Saved configurations give every option, so that this, and
  // not given(), tells what the user wanted.
  bool changed(std::string_view name) const;

  // Names of the options under a title of group().
  std::vector<std::string> names_in(std::string_view title) const;

  std::string help() const;
  // Names and values of all options but these.
  std::vector<std::pair<std::string, std::string>> values_but(const std::set<std::string>& left_out) const;
  // All values, as a config file that gives the same ones when parsed.
  std::string print_effective() const;
  // What differs from the defaults, "name = value" side by side in lines of at most 100 columns where names and values
  // fit.
  std::string print_changed() const;

 private:
  struct Value;
  struct CommandLine;

  Option& new_option(std::string name, std::string help);
  template <typename T>
  Option& bind(std::string name, T& field, std::string help);
  Option& bind_text(std::string name, std::string help, std::function<void(std::string_view)> read,
                    std::function<std::string()> print);
  Option& bind_word(std::string name, std::string help, const std::vector<std::string>& words,
                    std::function<void(std::size_t)> select, std::function<std::size_t()> selected);
  Option* find(std::string_view name) const;
  const Option& bound(std::string_view name) const;
  ConfigurationError unknown(const std::string& written, const std::string& mark,
                             const std::string& place) const;
  Option& find_or_throw(std::string_view name, const std::string& mark, const std::string& place) const;
  Arguments complete(const Arguments& arguments, Arguments& texts) const;
  CommandLine split(const Arguments& arguments) const;
  void take_unnamed(const std::string& argument, std::size_t& next, CommandLine& line) const;
  void take_positional(const std::string& argument, std::size_t& next, CommandLine& line) const;
  std::vector<Value> read_file(const std::string& path) const;
  void apply(const std::vector<Value>& values) const;
  void check_required() const;
  std::string usage() const;

  std::string command_, description_, group_;
  std::vector<std::unique_ptr<Option>> options_;  // rows keep their address
  std::set<std::string> passed_over_;
};

// --- implementation ----------------------------------------------------------------------------------------

template <typename T>
Option& OptionTable::bind(std::string name, T& field, std::string help) {
  Option& option = new_option(std::move(name), std::move(help));
  option.expected_ = option_value::expected(field);
  option.placeholder_ = option_value::placeholder(field);
  option.default_ = option_value::print(field);
  option.print_ = [&field] { return option_value::print(field); };
  if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    option.list_ = true;
    option.clear_ = [&field] { field.clear(); };
    option.read_ = [&field](std::string_view text) {
      std::vector<std::string> items;
      if (!option_value::read(text, items)) return false;
      field.insert(field.end(), items.begin(), items.end());
      return true;
    };
  } else {
    if constexpr (std::is_same_v<T, bool>) option.alone_ = "on";
    option.read_ = [&field, &option](std::string_view text) {
      T value{};
      if (!option_value::read(text, value) || !option.allows(value)) return false;
      field = std::move(value);
      return true;
    };
  }
  return option;
}

template <typename T>
Option& OptionTable::add(std::string name, T& field, std::string help) {
  return bind(std::move(name), field, std::move(help));
}

template <typename T, typename Parse, typename Print>
Option& OptionTable::text(std::string name, T& field, Parse parse, Print print, std::string help) {
  return bind_text(
      std::move(name), std::move(help), [&field, parse](std::string_view text) { field = parse(text); },
      [&field, print] { return print(field); });
}

template <typename T>
Option& OptionTable::positional(std::string name, T& field, std::string help) {
  static_assert(std::is_same_v<T, std::string> || std::is_same_v<T, std::vector<std::string>>);
  Option& option = bind(std::move(name), field, std::move(help));
  option.positional_ = true;
  return option;
}

template <typename T>
requires std::is_enum_v<T> Option& OptionTable::choice(std::string name, T& field,
                                                       std::vector<std::pair<std::string, T>> choices,
                                                       std::string help) {
  std::vector<std::string> words;
  for (const auto& choice : choices) words.push_back(choice.first);
  const auto select = [&field, choices](std::size_t i) { field = choices[i].second; };
  const auto selected = [&field, choices] {
    std::size_t i = 0;
    while (i < choices.size() && choices[i].second != field) ++i;
    return i;
  };
  return bind_word(std::move(name), std::move(help), words, select, selected);
}

}  // namespace chorus
