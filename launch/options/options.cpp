#include "launch/options/options.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <set>
#include <utility>

#include <boost/program_options/cmdline.hpp>
#include <boost/program_options/errors.hpp>
#include <boost/program_options/options_description.hpp>
#include <boost/program_options/parsers.hpp>
#include <boost/program_options/value_semantic.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "data/text/text.h"
#include "data/text/text_file.h"
#include "launch/options/nearest_name.h"

namespace chorus {
namespace {

constexpr std::size_t help_columns = 100;
constexpr std::size_t help_indent = 30;

// The words of `text` in lines that begin at column `indent`; the first line is already filled up to
// `column`.
std::string wrap(const std::string& text, std::size_t column, std::size_t indent) {
  std::string out;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string_view word(text.data() + begin, end - begin);
    const bool fits = column + 1 + word.size() <= help_columns;
    if (column > indent && !fits) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    begin = end + 1;
  }
  return out;
}

// One that is no value of an option is too large for it.
bool is_long_integer(std::string_view text) {
  return text.size() > 9 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool is_config_file(std::string_view argument) { return argument.ends_with(".ini"); }

// "--name", "--name=value" or "-name" is meant as an option; "- Hello" and "-5 degrees" are texts.
bool looks_like_option(std::string_view word) {
  const std::size_t begin = word.find_first_not_of('-');
  if (begin == 0 || begin == std::string_view::npos) return false;
  const std::string_view name = word.substr(begin, word.find('=', begin) - begin);
  const auto is_letter = [](unsigned char c) { return std::isalpha(c) != 0; };
  return !name.empty() && is_letter(static_cast<unsigned char>(name[0])) &&
         std::ranges::all_of(name, [&](unsigned char c) {
           return is_letter(c) || std::isdigit(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

}  // namespace

// --- Option ------------------------------------------------------------------------------------------------

Option& Option::required() {
  required_ = true;
  return *this;
}
Option& Option::shown_as(std::string placeholder) {
  placeholder_ = std::move(placeholder);
  return *this;
}

Option& Option::as_switch(std::string on, std::string off) {
  require(is_word(on) && is_word(off), "--", name_, " has no words ", on, " and ", off);
  alone_ = on_ = std::move(on);
  off_ = std::move(off);
  return *this;
}

bool Option::read(std::string_view text) const {
  bool on = false;
  const bool is_switch = !on_.empty() && option_value::read(text, on);
  return read_(!is_switch ? text : on ? on_ : off_);
}

bool Option::is_word(std::string_view text) const {
  bool ignored = false;
  return option_value::read(text, ignored) || std::ranges::find(words_, text) != words_.end();
}

bool Option::within_limits(double value) const {
  return (!minimum_ || value >= *minimum_) && (!maximum_ || value <= *maximum_) &&
         (!above_ || value > *above_) && (!below_ || value < *below_);
}

std::string Option::expected() const {
  std::string limits;
  const auto say = [&](std::string_view words, const std::optional<double>& bound) {
    if (bound) limits += fmt::format("{}{} {}", limits.empty() ? ", " : " and ", words, *bound);
  };
  say("at least", minimum_);
  say("more than", above_);
  say("at most", maximum_);
  say("less than", below_);
  return expected_ + limits;
}

std::string Option::default_note() const {
  if (required_) return " (required)";
  return default_.empty() ? "" : " [" + default_ + "]";
}

// --- OptionTable: binding ----------------------------------------------------------------------------------

OptionTable::OptionTable(std::string command, std::string description)
    : command_(std::move(command)), description_(std::move(description)) {}

OptionTable& OptionTable::group(std::string title) {
  group_ = std::move(title);
  return *this;
}

Option& OptionTable::new_option(std::string name, std::string help) {
  require(find(name) == nullptr && name != "help" && name != "config", "option --", name, " bound twice");
  options_.push_back(std::make_unique<Option>());
  Option& option = *options_.back();
  option.name_ = std::move(name);
  option.help_ = std::move(help);
  option.group_ = group_;
  return option;
}

Option& OptionTable::bind_text(std::string name, std::string help, std::function<void(std::string_view)> read,
                               std::function<std::string()> print) {
  Option& option = new_option(std::move(name), std::move(help));
  option.expected_ = option_value::expected(std::string());
  option.placeholder_ = option_value::placeholder(std::string());
  option.default_ = print();
  option.print_ = std::move(print);
  option.read_ = [read = std::move(read)](std::string_view text) {
    read(text);
    return true;
  };
  return option;
}

Option& OptionTable::bind_word(std::string name, std::string help, const std::vector<std::string>& words,
                               std::function<void(std::size_t)> select,
                               std::function<std::size_t()> selected) {
  Option& option = new_option(std::move(name), std::move(help));
  option.expected_ = fmt::format("one of {}", fmt::join(words, ", "));
  require(selected() < words.size(), "the default of --", option.name_, " is not ", option.expected_);
  const auto word = [words, selected] { return words.at(selected()); };
  option.placeholder_ = fmt::format("{}", fmt::join(words, "|"));
  option.default_ = word();
  option.print_ = word;
  option.words_ = words;
  option.read_ = [words, select](std::string_view text) {
    const auto found = std::find(words.begin(), words.end(), text);
    if (found == words.end()) return false;
    select(static_cast<std::size_t>(found - words.begin()));
    return true;
  };
  return option;
}

Option& OptionTable::choice(std::string name, std::string& field, std::vector<std::string> words,
                            std::string help) {
  const auto select = [&field, words](std::size_t i) { field = words[i]; };
  const auto selected = [&field, words] {
    return static_cast<std::size_t>(std::find(words.begin(), words.end(), field) - words.begin());
  };
  return bind_word(std::move(name), std::move(help), words, select, selected);
}

OptionTable& OptionTable::required(std::string_view name) {
  Option* option = find(name);
  require(option != nullptr, "option --", name, " required but not bound");
  option->required();
  return *this;
}

Option* OptionTable::find(std::string_view name) const {
  for (const auto& option : options_) {
    if (option->name_ == name) return option.get();
  }
  return nullptr;
}

const Option& OptionTable::bound(std::string_view name) const {
  const Option* option = find(name);
  require(option != nullptr, "option --", name, " asked for but not bound");
  return *option;
}

bool OptionTable::given(std::string_view name) const { return bound(name).given_; }

bool OptionTable::changed(std::string_view name) const {
  const Option& option = bound(name);
  return option.print_() != option.default_;
}

// --- OptionTable: parsing ----------------------------------------------------------------------------------

// A value on its way to an option, and the words by which an error points to it.
struct OptionTable::Value {
  Option* option;
  std::string text;
  std::string place;
};

struct OptionTable::CommandLine {
  std::vector<std::string> config_files;
  std::vector<Value> values;
  bool help = false;
};

bool OptionTable::parse(const Arguments& arguments) {
  for (const auto& option : options_) option->given_ = false;
  const CommandLine line = split(arguments);
  if (line.help) {
    std::fputs(help().c_str(), stdout);
    return false;
  }
  for (const std::string& path : line.config_files) apply(read_file(path));
  apply(line.values);
  check_required();
  return true;
}

// `place` begins the message, `mark` stands before the names of options there.
ConfigurationError OptionTable::unknown(const std::string& written, const std::string& mark,
                                        const std::string& place) const {
  std::vector<std::string> known{"help", "config"};
  for (const auto& other : options_) known.push_back(other->name_);
  const std::string name = written.substr(std::min(written.find_first_not_of('-'), written.size()));
  std::string meant = name_elsewhere(name, known);
  if (meant.empty()) meant = nearest_name(name, known);
  return ConfigurationError(fmt::format("{}unknown option {}{} (chorus {} --help lists all)", place, written,
                                        suggestion(mark, meant, ""), command_));
}

Option& OptionTable::find_or_throw(std::string_view name, const std::string& mark,
                                   const std::string& place) const {
  Option* option = find(name);
  if (option == nullptr) throw unknown(mark + std::string(name), mark, place);
  return *option;
}

// Gives switches that stand alone their value, and refuses what Boost would take as one: the name of the next
// option. What follows -- is put into `texts`.
Arguments OptionTable::complete(const Arguments& arguments, Arguments& texts) const {
  Arguments words;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const std::string* next = i + 1 < arguments.size() ? &arguments[i + 1] : nullptr;
    const Option* option = word.starts_with("--") ? find(word.substr(2)) : nullptr;
    if (word == "--") {
      texts.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      break;
    }
    if (option == nullptr) {
      words.push_back(word == "-h" ? "--help" : word);
    } else if (!option->alone_.empty()) {
      const bool has_value = next != nullptr && option->is_word(*next);
      words.push_back(word + "=" + (has_value ? *next : option->alone_));
      if (has_value) ++i;
    } else {
      const bool missing = next == nullptr || (next->starts_with("--") && find(next->substr(2)) != nullptr);
      require<ConfigurationError>(!missing, "option ", word, ": expected ", option->expected(),
                                  " behind it, got ", next == nullptr ? "nothing" : *next);
      words.push_back(word);
      words.push_back(*next);
      ++i;
    }
  }
  return words;
}

OptionTable::CommandLine OptionTable::split(const Arguments& arguments) const {
  namespace po = boost::program_options;
  po::options_description description;
  description.add_options()("help", po::bool_switch())("config", po::value<std::string>());
  for (const auto& option : options_) {
    description.add_options()(option->name_.c_str(), po::value<std::string>());
  }
  CommandLine line;
  std::vector<po::option> parsed;
  Arguments texts;
  try {
    parsed = po::command_line_parser(complete(arguments, texts))
                 .options(description)
                 .style(po::command_line_style::allow_long | po::command_line_style::long_allow_adjacent |
                        po::command_line_style::long_allow_next)
                 .allow_unregistered()
                 .run()
                 .options;
  } catch (const po::error& error) {
    throw ConfigurationError(fmt::format("{} (chorus {} --help lists the options)", error.what(), command_));
  }
  std::size_t next_positional = 0;
  for (const po::option& word : parsed) {
    if (word.string_key == "help") {
      line.help = true;
    } else if (word.string_key == "config") {
      line.config_files.push_back(word.value.at(0));
    } else if (!word.string_key.empty() && looks_like_option(word.original_tokens.at(0))) {
      Option& option = find_or_throw(word.string_key, "--", "");
      line.values.push_back({&option, word.value.at(0), "option --" + option.name_});
    } else {
      take_unnamed(word.original_tokens.at(0), next_positional, line);
    }
  }
  for (const std::string& text : texts) take_positional(text, next_positional, line);
  return line;
}

void OptionTable::take_unnamed(const std::string& argument, std::size_t& next, CommandLine& line) const {
  if (is_config_file(argument)) {
    line.config_files.push_back(argument);
    return;
  }
  if (looks_like_option(argument)) throw unknown(argument, "--", "");
  take_positional(argument, next, line);
}

void OptionTable::take_positional(const std::string& argument, std::size_t& next, CommandLine& line) const {
  while (next < options_.size() && !options_[next]->positional_) ++next;
  require<ConfigurationError>(next < options_.size(), "unexpected argument '", argument,
                              "'; options begin with -- (chorus ", command_, " --help lists them)");
  Option* option = options_[next].get();
  const std::string text = option->list_ ? option_value::escape_list_item(argument) : argument;
  line.values.push_back({option, text, "argument " + option->name_});
  if (!option->list_) ++next;
}

OptionTable& OptionTable::pass_over_those_of(const OptionTable& other) {
  for (const auto& option : other.options_) passed_over_.insert(option->name_);
  return *this;
}

std::vector<OptionTable::Value> OptionTable::read_file(const std::string& path) const {
  std::string content;
  try {
    content = read_unchecked_text(path);
  } catch (const DataError& error) {
    throw ConfigurationError(fmt::format("the config file cannot be read: {}", error.what()));
  }
  std::vector<Value> values;
  std::set<std::string> scalars;
  for (const auto& [number, line] : filled_lines(content)) {
    const std::string text(trimmed(line));
    // A section's title only structures the file: every name is unique without it.
    if (text.front() == '#' || text.front() == ';' || text.front() == '[') continue;
    const std::string place = fmt::format("{}:{}: ", path, number);
    const std::size_t equal = text.find('=');
    require<ConfigurationError>(equal != std::string::npos, place, "expected 'name = value', got '", text,
                                "'");
    const std::string name(trimmed(std::string_view(text).substr(0, equal)));
    if (find(name) == nullptr && passed_over_.contains(name)) continue;
    Option& option = find_or_throw(name, "", place);
    require<ConfigurationError>(option.list_ || scalars.insert(name).second, place, name,
                                " stands in this file a second time; keep one of the lines");
    std::string value;
    require<ConfigurationError>(
        option_value::unquote(trimmed(std::string_view(text).substr(equal + 1)), value), place, name,
        ": the value begins with a double quote that does not end it; write \\\" inside");
    values.push_back({&option, value, place + name});
  }
  return values;
}

void OptionTable::apply(const std::vector<Value>& values) const {
  std::set<const Option*> cleared;
  for (const Value& value : values) {
    Option& option = *value.option;
    if (option.list_ && cleared.insert(&option).second) option.clear_();
    require<ConfigurationError>(option.read(value.text), value.place, ": expected ", option.expected(),
                                ", got '", value.text, "'",
                                is_long_integer(value.text) ? ", which is too large" : "");
    option.given_ = true;
  }
}

void OptionTable::check_required() const {
  std::string missing;
  for (const auto& option : options_) {
    if (!option->required_ || option->given_) continue;
    missing += fmt::format("{}{} {} ({})", missing.empty() ? "" : ", ",
                           option->positional_ ? "argument" : "option --" + option->name_,
                           option->placeholder_, option->help_);
  }
  require<ConfigurationError>(missing.empty(), "missing: ", missing);
}

// --- OptionTable: printing ---------------------------------------------------------------------------------

std::string OptionTable::usage() const {
  std::string text = "chorus " + command_ + " [CONFIG.ini] [--OPTION VALUE]...";
  for (const auto& option : options_) {
    if (option->positional_) text += " " + option->placeholder_ + (option->list_ ? "..." : "");
  }
  return text;
}

std::string OptionTable::help() const {
  std::string text = fmt::format("chorus {}:{}\n\nusage: {}\n", command_,
                                 wrap(description_, command_.size() + 8, 0), usage());
  const auto add_row = [&](std::string head, const std::string& body) {
    head = "  " + head;
    if (head.size() + 2 > help_indent) {
      text += head + '\n' + std::string(help_indent, ' ');
    } else {
      text += fmt::format("{:<{}}", head, help_indent);
    }
    text += wrap(body, help_indent, help_indent) + '\n';
  };
  const std::string* group = nullptr;
  for (const auto& option : options_) {
    if (group == nullptr || *group != option->group_) {
      text += '\n' + (option->group_.empty() ? "" : option->group_ + '\n');
    }
    group = &option->group_;
    add_row("--" + option->name_ + " " + option->placeholder_, option->help_ + option->default_note());
  }
  text += "\nalways\n";
  add_row("--config FILE",
          "reads options from lines 'name = value', as the argument CONFIG.ini does; "
          "those of the command line win");
  add_row("--help", "prints this");
  return text;
}

std::vector<std::string> OptionTable::names_in(std::string_view title) const {
  std::vector<std::string> names;
  for (const auto& option : options_) {
    if (option->group_ == title) names.push_back(option->name_);
  }
  return names;
}

std::vector<std::pair<std::string, std::string>> OptionTable::values_but(
    const std::set<std::string>& left_out) const {
  for (const std::string& name : left_out) bound(name);
  std::vector<std::pair<std::string, std::string>> values;
  for (const auto& option : options_) {
    if (!left_out.contains(option->name_)) values.emplace_back(option->name_, option->print_());
  }
  return values;
}

std::string OptionTable::print_effective() const {
  std::string text = "# chorus " + command_ + "\n";
  std::string group;
  for (const auto& option : options_) {
    if (option->group_ != group) text += "\n# " + option->group_ + "\n";
    group = option->group_;
    const std::string value = option_value::quote(option->print_());
    text += option->name_ + (value.empty() ? " =" : " = " + value) + "\n";
  }
  return text;
}

std::string OptionTable::print_changed() const {
  constexpr std::size_t columns = 100;
  std::string text, line;
  for (const auto& option : options_) {
    if (!changed(option->name_)) continue;
    const std::string item = option->name_ + " = " + option_value::quote(option->print_());
    if (!line.empty() && line.size() + 3 + item.size() > columns) text += std::exchange(line, "") + "\n";
    line += (line.empty() ? "" : " | ") + item;
  }
  return text + line;
}

}  // namespace chorus
