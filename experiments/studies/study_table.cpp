#include "experiments/studies/study_table.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/text/json_values.h"
#include "data/text/table.h"
#include "experiments/studies/comparison.h"
#include "ops/base/error.h"

namespace chorus {
namespace {

constexpr std::string_view dash = "–";

// One row of cells; the first row of a grid holds the titles.
using Cells = std::vector<std::string>;

// Those of one cell.
std::vector<StudyScore> cell_scores(const StudyTable& table, std::size_t row, const std::string& corpus) {
  std::vector<StudyScore> out;
  std::ranges::copy_if(table.scores, std::back_inserter(out),
                       [&](const StudyScore& score) { return score.row == row && score.corpus == corpus; });
  return out;
}

std::string print_spread(const std::vector<double>& values) {
  if (values.empty()) return std::string(dash);
  const Spread found = spread(values);
  if (found.count == 1) return fmt::format("{:.2f} (1)", 100 * found.mean);
  return fmt::format("{:.2f} ± {:.2f} ({})", 100 * found.mean, 100 * found.deviation, found.count);
}

std::vector<double> all_values(const std::vector<StudyScore>& scores) {
  std::vector<double> values;
  for (const StudyScore& score : scores) values.push_back(score.weighted_f1);
  return values;
}

std::vector<double> remaining_values(const std::vector<StudyScore>& scores) {
  std::vector<double> values;
  for (const StudyScore& score : scores) {
    if (score.without_excluded) values.push_back(*score.without_excluded);
  }
  return values;
}

std::string published_cell(const Study& study, const StudyRow& row, const std::string& corpus) {
  const auto base = row.published.find(study.published_base);
  if (base == row.published.end() || !base->second.contains(corpus)) return std::string(dash);
  return fmt::format("{:.2f}", base->second.at(corpus));
}

// The corpora of which somebody has a score.
std::vector<std::string> corpora_shown(const StudyTable& table) {
  std::vector<std::string> out;
  for (const std::string& corpus : table.study.corpora) {
    const bool ours = std::ranges::find(table.scores, corpus, &StudyScore::corpus) != table.scores.end();
    const bool theirs = std::ranges::any_of(table.study.rows, [&](const StudyRow& row) {
      return published_cell(table.study, row, corpus) != dash;
    });
    if (ours || theirs) out.push_back(corpus);
  }
  return out;
}

std::vector<Cells> grid(const StudyTable& table) {
  const bool has_remainder = std::ranges::any_of(
      table.scores, [](const StudyScore& score) { return score.without_excluded.has_value(); });
  const bool has_published = !table.study.published_base.empty();
  const std::vector<std::string> corpora = corpora_shown(table);
  std::vector<Cells> rows{{""}};
  for (const std::string& corpus : corpora) {
    if (has_published) rows[0].push_back(corpus + ", published");
    rows[0].push_back(has_published ? "ours" : corpus);
    if (has_remainder) rows[0].push_back("without excluded");
  }
  for (std::size_t r = 0; r < table.study.rows.size(); ++r) {
    const StudyRow& row = table.study.rows[r];
    Cells cells{row.title};
    for (const std::string& corpus : corpora) {
      const std::vector<StudyScore> scores = cell_scores(table, r, corpus);
      if (has_published) cells.push_back(published_cell(table.study, row, corpus));
      cells.push_back(print_spread(all_values(scores)));
      if (has_remainder) cells.push_back(print_spread(remaining_values(scores)));
    }
    rows.push_back(std::move(cells));
  }
  return rows;
}

std::string print_parameters(std::int64_t parameters) {
  if (parameters < 1'000'000) return fmt::format("{} parameters", parameters);
  return fmt::format("{:.1f} million parameters", static_cast<double>(parameters) / 1e6);
}

std::string conditions_line(const StudyTable& table) {
  std::string seeds;
  for (const std::uint64_t seed : table.conditions.seeds)
    seeds += fmt::format("{}{}", seeds.empty() ? "" : ", ", seed);
  std::string text =
      fmt::format("ours: {}, {}; {} {}", table.conditions.base, print_parameters(table.conditions.parameters),
                  table.conditions.seeds.size() == 1 ? "seed" : "seeds", seeds);
  if (table.conditions.stopped_early > 0)
    text += fmt::format("; {} of {} trainings stopped early", table.conditions.stopped_early,
                        table.conditions.trainings);
  if (!table.study.published_base.empty()) text += "; published: " + table.study.published_base;
  if (!table.study.source.empty()) text += " (" + table.study.source + ")";
  return text;
}

constexpr std::string_view what_is_shown =
    "weighted F1 in percent on test, checkpoints chosen on dev: mean ± standard deviation (number of seeds)";

}  // namespace

const nlohmann::json& best_answers(const nlohmann::json& results, const std::string& where) {
  const auto found = results.find("results");
  require<DataError>(found != results.end() && found->is_object() && !found->empty(), where,
                     ": holds no results");
  // "base + adapter" stands behind "base".
  return *std::prev(found->end());
}

StudyScore read_study_score(const nlohmann::json& results, const std::string& where,
                            const std::string& corpus) {
  const nlohmann::json& all = best_answers(results, where);
  const auto value = [&](const nlohmann::json& scores) {
    return read_values(where, [&] {
      const bool mixed = scores.contains("corpora");
      const nlohmann::json none;
      const nlohmann::json& of_corpus = mixed ? scores["corpora"].value(corpus, none) : scores;
      require<DataError>(of_corpus.is_object() && of_corpus.contains("weighted_f1"), where,
                         ": holds no weighted F1 of ", corpus);
      return of_corpus["weighted_f1"].get<double>();
    });
  };
  StudyScore score;
  score.corpus = corpus;
  score.weighted_f1 = value(all);
  if (all.contains("without_excluded")) score.without_excluded = value(all["without_excluded"]);
  return score;
}

std::string StudyTable::to_text() const {
  const std::vector<Cells> rows = grid(*this);
  std::vector<TableRow> table;
  for (const Cells& cells : rows) table.push_back({cells[0], {cells.begin() + 1, cells.end()}});
  std::string out =
      fmt::format("{}\n{}\n{}\n\n{}", study.title, conditions_line(*this), what_is_shown, aligned(table));
  if (!study.notes.empty()) out += "\n" + study.notes + "\n";
  return out;
}

std::string StudyTable::to_markdown() const {
  const std::vector<Cells> rows = grid(*this);
  std::string out = fmt::format("### {}\n\n{}.\n{}.\n\n", study.title, conditions_line(*this), what_is_shown);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    out += "|";
    for (const std::string& cell : rows[r]) out += cell.empty() ? " |" : " " + cell + " |";
    out += "\n";
    if (r > 0) continue;
    out += "|---|";
    for (std::size_t c = 1; c < rows[0].size(); ++c) out += "---:|";
    out += "\n";
  }
  if (!study.notes.empty()) out += "\n" + study.notes + "\n";
  return out;
}

nlohmann::ordered_json StudyTable::to_json() const {
  nlohmann::ordered_json out{{"study", study.name},
                             {"title", study.title},
                             {"source", study.source},
                             {"base", conditions.base},
                             {"parameters", conditions.parameters},
                             {"seeds", conditions.seeds},
                             {"trainings", conditions.trainings},
                             {"stopped_early", conditions.stopped_early},
                             {"rows", nlohmann::ordered_json::array()}};
  for (std::size_t r = 0; r < study.rows.size(); ++r) {
    const StudyRow& row = study.rows[r];
    nlohmann::ordered_json entry{{"name", row.name}, {"title", row.title}, {"published", row.published}};
    for (const std::string& corpus : study.corpora) {
      const std::vector<StudyScore> cell = cell_scores(*this, r, corpus);
      if (cell.empty()) continue;
      const Spread found = spread(all_values(cell));
      nlohmann::ordered_json& ours = entry["ours"][corpus];
      ours = {{"mean", found.mean}, {"deviation", found.deviation}, {"count", found.count}};
      for (const StudyScore& score : cell) {
        nlohmann::ordered_json value{{"weighted_f1", score.weighted_f1}};
        if (score.seed) value["seed"] = *score.seed;
        if (score.without_excluded) value["without_excluded"] = *score.without_excluded;
        ours["values"].push_back(std::move(value));
      }
    }
    out["rows"].push_back(std::move(entry));
  }
  return out;
}

}  // namespace chorus
