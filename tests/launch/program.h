#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace chorus {

struct Outcome {
  int exit_code = -1;
  std::string out, err;
};

// Runs the built program as a user would, and gives back what it said. `launcher` stands before it: mpirun
// -n 2.
Outcome run_chorus(const std::vector<std::string>& arguments, const std::vector<std::string>& launcher = {});

// The same with this text on the standard input.
Outcome run_chorus_reading(const std::string& input, const std::vector<std::string>& arguments);

// The same for a run that must succeed; gives back what it printed.
std::string run_successfully(const std::vector<std::string>& arguments,
                             const std::vector<std::string>& launcher = {});

// Words of a command line, and more behind them.
std::vector<std::string> joined(std::vector<std::string> words, const std::vector<std::string>& more);

bool has_mpirun();
// Skips a test, or all of a suite if it calls this in SetUp(), where there is no mpirun.
void skip_without_mpirun();
// A launcher for run_chorus(): several ranks on this machine. What MPI itself never frees is not reported.
std::vector<std::string> mpirun(int ranks);

using test::TemporaryFolder;

// FOLDER/corpus, in the layout of MELD, and FOLDER/base, a LLaMA of one layer for it: for tests that run whole commands
// and do not look at scores.
void write_tiny_base(const TemporaryFolder& folder);
// These, and FOLDER/data, prepared with one line of history.
void write_tiny_data(const TemporaryFolder& folder);

// FOLDER/corpus with so many dialogues, FOLDER/base of two layers, and FOLDER/data: for trainings that are stopped,
// moved or compared, and whose steps take some milliseconds.
void write_small_data(const TemporaryFolder& folder, int train_dialogues, int dev_dialogues,
                      int test_dialogues);

std::string read_text(const std::string& path);
void write_text(const std::string& path, const std::string& text);

}  // namespace chorus
