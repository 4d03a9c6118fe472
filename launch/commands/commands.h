#pragma once

#include <cstddef>
#include <string>

#include "launch/options/options.h"
#include "ops/base/error.h"

// The commands of the program, one file each. Every one binds its options, parses
// `arguments` (what follows its name), works, and returns the exit code; failures are thrown as Error and
// reported by main().
namespace chorus::command {

ExitCode sample(const Arguments& arguments);
ExitCode tokenizer(const Arguments& arguments);
ExitCode init(const Arguments& arguments);
ExitCode inspect(const Arguments& arguments);
ExitCode prepare(const Arguments& arguments);
ExitCode train(const Arguments& arguments);
ExitCode evaluate(const Arguments& arguments);
ExitCode predict(const Arguments& arguments);
ExitCode chat(const Arguments& arguments);
ExitCode generate(const Arguments& arguments);
ExitCode report(const Arguments& arguments);
ExitCode export_model(const Arguments& arguments);  // "export" is a word of the language
ExitCode score(const Arguments& arguments);
ExitCode study(const Arguments& arguments);
ExitCode sweep(const Arguments& arguments);
ExitCode slurm(const Arguments& arguments);
ExitCode bench(const Arguments& arguments);
ExitCode plan(const Arguments& arguments);
ExitCode doctor(const Arguments& arguments);
ExitCode verify(const Arguments& arguments);
ExitCode completion(const Arguments& arguments);

// What `chorus train` gets of each trial that a configuration of sweep has, with the first seed. Throws
// ConfigurationError, also where they cannot run one by one.
std::vector<Arguments> trainings_of_sweep(const std::string& configuration);

}  // namespace chorus::command
