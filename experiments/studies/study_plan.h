#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "experiments/studies/job.h"
#include "experiments/studies/study.h"

namespace chorus {

// What a user wants of a study.
struct StudyRequest {
  std::string base;
  std::map<std::string, std::string> inputs;  // corpus: what `prepare` reads
  std::filesystem::path output;
  std::vector<std::uint64_t> seeds;         // empty: those of the study
  std::vector<std::string> rows;            // names; empty: all
  CommandOptions prepare, train, evaluate;  // instead of the study's and the row's
  std::map<std::string, std::string>
      values;  // of placeholders in options, beside {corpus}, {base} and {seed}
};

// Which job finds a cell of the table.
struct PlannedScore {
  std::size_t row = 0;
  std::string corpus;
  std::optional<std::uint64_t> seed;  // none: nothing was trained
  std::size_t job = 0;
};

struct StudyPlan {
  std::vector<Job> jobs;  // in an order in which they can run
  std::vector<PlannedScore> scores;
  std::vector<std::string> left_out;  // what cannot run, and why; for people
};

// Data sets that are the same for several rows and seeds are prepared once, and so are earlier stages. Corpora of the
// study without an input are left out. Throws ConfigurationError for rows and corpora that the study does not have, and
// where nothing is left to do. Reads and writes nothing.
StudyPlan plan_study(const Study& study, const StudyRequest& request);

}  // namespace chorus
