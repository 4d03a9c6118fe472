// Option files, command lines and records of jobs.

#include <algorithm>
#include <optional>
#include <sstream>

#include "launch/commands/job_runner.h"
#include "launch/options/options.h"
#include "ops/base/error.h"
#include "tests/fuzz/target.h"

namespace chorus::fuzz {
namespace {

// One option of each kind.
struct EveryKind {
  enum class Word { first, second };
  EveryKind() : table("train", "trains") {
    table.add("base", text, "a text");
    table.add("number", number, "a whole number").between(1, 1000);
    table.add("seed", seed, "a number without sign");
    table.group("others");
    table.add("rate", real, "a number").more_than(0).less_than(10);
    table.add("switch", yes, "yes or no");
    table.add("list", list, "texts");
    table.add("steps", maybe, "a number or none");
    table.choice("word", word, {{"first", Word::first}, {"second", Word::second}}, "a word");
    table.positional("inputs", inputs, "texts");
  }
  std::string text = "a";
  std::int64_t number = 1;
  std::uint64_t seed = 1;
  double real = 1;
  bool yes = false;
  std::vector<std::string> list, inputs;
  std::optional<std::int64_t> maybe;
  Word word = Word::first;
  OptionTable table;
};

// What is printed says the same again.
void read_option_file(const std::string& input) {
  EveryKind options, again;
  const bool runs = options.table.parse({file("run.ini", input).string()});
  require(runs, "a file asked for help");
  const std::string printed = options.table.print_effective();
  require(again.table.parse({file("again.ini", printed).string()}), "a printed file asked for help");
  require(again.table.print_effective() == printed, "printed options are read as others: ", printed);
}

void read_words(const std::string& input) {
  Arguments words;
  std::istringstream lines(input);
  for (std::string word; std::getline(lines, word);) words.push_back(word);
  const auto asks = [](const std::string& word) { return word.starts_with("-h") || word.starts_with("--h"); };
  EveryKind options;
  if (std::ranges::none_of(words, asks) && options.table.parse(words)) options.table.print_effective();
}

void read_job_record(const std::string& input) {
  file("job/job.json", input);
  const Job job{JobKind::train, "train", {"train", "--epochs", "1"}, folder("job"), {}};
  is_done(job);
  check_records(std::vector{job});
}

}  // namespace

std::vector<Target> launch_targets() {
  return {
      {"option-file",
       [] {
         return std::vector<std::string>{"# a comment\n[others]\nrate = 2.5\nswitch = on\nlist = a,b\n",
                                         "base = \"a b\"\nnumber = 7\nseed=3\nsteps = 4\nword = second\n"};
       },
       read_option_file},
      {"command-line",
       [] {
         return std::vector<std::string>{
             "--base\nb\n--number=7\n--switch\n--list\na,b\n--steps\n5\n--word\nsecond\n--\n-x",
             "file\n--rate\n-1"};
       },
       read_words},
      {"job-record",
       [] {
         return std::vector<std::string>{
             R"({"arguments": ["train", "--epochs", "1"], "exit_code": 0, "seconds": 1.5})",
             R"({"arguments": ["train"], "process": 7, "host": "a", "start": 5, "since": "now"})"};
       },
       read_job_record},
  };
}

}  // namespace chorus::fuzz
