#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "experiments/studies/study.h"

namespace chorus {

// One value of the table, as fractions.
struct StudyScore {
  std::size_t row = 0;
  std::string corpus;
  std::optional<std::uint64_t> seed;  // none: nothing was trained
  double weighted_f1 = 0;
  std::optional<double> without_excluded;  // the same without the utterances that --exclude lists
};

// The last way of answering in an eval_results.json: with the adapter, where there is one. Throws DataError that begins
// with `where` if there is none.
const nlohmann::json& best_answers(const nlohmann::json& results, const std::string& where);

// From the eval_results.json of a job: of the whole split, or of the corpus where the split mixes several. Throws
// DataError that begins with `where` if it is not there.
StudyScore read_study_score(const nlohmann::json& results, const std::string& where,
                            const std::string& corpus);

// Under which conditions the scores were found.
struct StudyConditions {
  std::string base;
  std::int64_t parameters = 0;
  std::vector<std::uint64_t> seeds;
  std::size_t trainings = 0, stopped_early = 0;  // that are done; of these, ended by --patience
};

// The paper's table with ours beside it. Cells that nobody has show a dash.
struct StudyTable {
  const Study& study;
  StudyConditions conditions;
  std::vector<StudyScore> scores;

  std::string to_text() const;
  std::string to_markdown() const;
  nlohmann::ordered_json to_json() const;  // with the values of all seeds
};

}  // namespace chorus
