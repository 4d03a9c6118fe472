#pragma once

#include <cstddef>
#include <string>

#include "launch/options/options.h"

// The commands of the program, one file each. Every one binds its options, parses
// `arguments` (what follows its name), works, and returns the exit code; failures are thrown as Error and
// reported by main().
namespace chorus::command {

int sample(const Arguments& arguments);
int tokenizer(const Arguments& arguments);
int init(const Arguments& arguments);
int inspect(const Arguments& arguments);
int prepare(const Arguments& arguments);
int train(const Arguments& arguments);
int evaluate(const Arguments& arguments);
int predict(const Arguments& arguments);
int chat(const Arguments& arguments);
int generate(const Arguments& arguments);
int report(const Arguments& arguments);
int export_model(const Arguments& arguments);  // "export" is a word of the language
int score(const Arguments& arguments);
int study(const Arguments& arguments);
int sweep(const Arguments& arguments);
int slurm(const Arguments& arguments);
int bench(const Arguments& arguments);
int plan(const Arguments& arguments);
int doctor(const Arguments& arguments);
int verify(const Arguments& arguments);
int completion(const Arguments& arguments);

// What `chorus train` gets of each trial that a configuration of sweep has, with the first seed. Throws
// ConfigurationError, also where they cannot run one by one.
std::vector<Arguments> trainings_of_sweep(const std::string& configuration);

}  // namespace chorus::command
