#include "tests/launch/program.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ops/base/error.h"

namespace chorus {
namespace {

// As one word of a shell's command line.
void append_quoted(std::string& line, const std::string& word) {
  line.push_back('\'');
  for (const char c : word) {
    if (c == '\'') line.append("'\\'");
    line.push_back(c);
  }
  line.append("' ");
}

}  // namespace

Outcome run_chorus(const std::vector<std::string>& arguments, const std::vector<std::string>& launcher) {
  const TemporaryFolder folder;
  std::string line;
  for (const std::string& word : launcher) append_quoted(line, word);
  append_quoted(line, CHORUS_PROGRAM);
  for (const std::string& word : arguments) append_quoted(line, word);
  line.append("</dev/null >");
  append_quoted(line, folder / "out");
  line.append("2>");
  append_quoted(line, folder / "err");
  const int status = std::system(line.c_str());
  Outcome outcome;
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  outcome.out = read_text(folder / "out");
  outcome.err = read_text(folder / "err");
  return outcome;
}

Outcome run_chorus_reading(const std::string& input, const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  write_text(folder / "input", input);
  return run_chorus(arguments, {"sh", "-c", R"(input=$1; shift; "$@" <"$input")", "sh", folder / "input"});
}

std::string run_successfully(const std::vector<std::string>& arguments,
                             const std::vector<std::string>& launcher) {
  const Outcome outcome = run_chorus(arguments, launcher);
  EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::done)) << arguments[0] << ": " << outcome.err;
  return outcome.out;
}

std::vector<std::string> joined(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

bool has_mpirun() { return std::system("command -v mpirun >/dev/null") == 0; }

void skip_without_mpirun() {
  if (!has_mpirun()) GTEST_SKIP() << "NOT TESTED: no mpirun";
}

std::vector<std::string> mpirun(int ranks) {
  std::vector<std::string> launcher{
      "mpirun", "--bind-to",          "none", "--oversubscribe", "-x", "ASAN_OPTIONS=detect_leaks=0",
      "-n",     std::to_string(ranks)};
  if (geteuid() == 0) launcher.insert(launcher.begin() + 1, "--allow-run-as-root");
  return launcher;
}

std::string read_text(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

void write_text(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

namespace {

// FOLDER/corpus and its tokenizer FOLDER/a.model.
void write_corpus(const TemporaryFolder& folder, int train_dialogues, int dev_dialogues, int test_dialogues) {
  run_successfully({"sample", "--train-dialogues", std::to_string(train_dialogues), "--dev-dialogues",
                    std::to_string(dev_dialogues), "--test-dialogues", std::to_string(test_dialogues),
                    "--paragraphs", "150", "--output", folder / "corpus"});
  run_successfully({"tokenizer", "--vocabulary-size", "420", "--output", folder / "a.model",
                    folder / "corpus/pretraining.txt"});
}

}  // namespace

void write_tiny_base(const TemporaryFolder& folder) {
  write_corpus(folder, 6, 2, 3);
  run_successfully({"init", "--tokenizer", folder / "a.model", "--hidden-size", "16", "--layers", "1",
                    "--query-heads", "2", "--key-value-heads", "1", "--head-width", "8", "--output",
                    folder / "base"});
}

void write_tiny_data(const TemporaryFolder& folder) {
  write_tiny_base(folder);
  run_successfully({"prepare", "--base", folder / "base", "--history", "1", "--output", folder / "data",
                    folder / "corpus"});
}

void write_small_data(const TemporaryFolder& folder, int train_dialogues, int dev_dialogues,
                      int test_dialogues) {
  write_corpus(folder, train_dialogues, dev_dialogues, test_dialogues);
  run_successfully({"init", "--tokenizer", folder / "a.model", "--hidden-size", "32", "--layers", "2",
                    "--output", folder / "base"});
  run_successfully({"prepare", folder / "corpus", "--base", folder / "base", "--output", folder / "data"});
}

}  // namespace chorus
