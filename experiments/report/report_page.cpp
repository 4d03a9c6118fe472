#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "core/scoring/predictions.h"
#include "experiments/report/report.h"
#include "experiments/report/report_assets.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

OrderedJson number_or_null(const std::optional<double>& value) {
  return value ? OrderedJson(*value) : OrderedJson();
}

OrderedJson curve_json(const Curve& curve) { return {{"steps", curve.steps}, {"values", curve.values}}; }

OrderedJson training_json(const ReportedTraining& t) {
  return {
      {"name", t.name},
      {"finished", t.finished},
      {"stopped_early", t.stopped_early},
      {"dev_metric", t.dev_metric == DevMetric::automatic ? OrderedJson() : OrderedJson(title(t.dev_metric))},
      {"steps", t.steps},
      {"dev", number_or_null(t.dev)},
      {"test", number_or_null(t.test)},
      {"seconds", t.seconds},
      {"tokens_per_second", t.tokens_per_second},
      {"peak_bytes", t.peak_bytes},
      {"loss", curve_json(t.loss)},
      {"dev_f1", curve_json(t.dev_f1)}};
}

// Null where no training of the group has the score.
OrderedJson spread_json(const std::vector<const ReportedTraining*>& group,
                        std::optional<double> ReportedTraining::*score) {
  std::vector<double> values;
  for (const ReportedTraining* training : group) {
    if (training->*score) values.push_back(*(training->*score));
  }
  if (values.empty()) return nullptr;
  const Spread found = spread(values);
  return {{"mean", found.mean}, {"deviation", found.deviation}, {"count", found.count}};
}

// Groups of seeds, in the order of their first trainings.
OrderedJson groups_json(const std::vector<ReportedTraining>& trainings) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<const ReportedTraining*>> groups;
  for (const ReportedTraining& training : trainings) {
    if (!groups.contains(training.group)) order.push_back(training.group);
    groups[training.group].push_back(&training);
  }
  OrderedJson out = OrderedJson::array();
  for (const std::string& name : order) {
    const std::vector<const ReportedTraining*>& group = groups[name];
    OrderedJson runs = OrderedJson::array();
    for (const ReportedTraining* training : group) runs.push_back(training_json(*training));
    out.push_back({{"name", name},
                   {"dev", spread_json(group, &ReportedTraining::dev)},
                   {"test", spread_json(group, &ReportedTraining::test)},
                   {"trainings", std::move(runs)}});
  }
  return out;
}

OrderedJson sweep_json(const HeatMap& map) {
  OrderedJson cells = OrderedJson::array();
  for (std::size_t row = 0; row < map.row_values.size(); ++row) {
    OrderedJson line = OrderedJson::array();
    for (std::size_t column = 0; column < map.column_values.size(); ++column) {
      const auto& cell = map.cells[row * map.column_values.size() + column];
      line.push_back(cell ? OrderedJson{{"score", *cell}, {"text", print_score(map.metric, *cell)}}
                          : OrderedJson());
    }
    cells.push_back(std::move(line));
  }
  return {{"metric", title(map.metric)},
          {"rows", map.rows},
          {"columns", map.columns},
          {"row_values", map.row_values},
          {"column_values", map.column_values},
          {"cells", std::move(cells)}};
}

// Of each group of seeds, the evaluation with the highest weighted F1 whose predictions are there.
std::set<const ReportedEvaluation*> best_of_groups(const std::vector<ReportedEvaluation>& evaluations) {
  std::map<std::string, const ReportedEvaluation*> best;
  for (const ReportedEvaluation& evaluation : evaluations) {
    if (evaluation.predictions.empty()) continue;
    const ReportedEvaluation*& found = best[evaluation.group];
    if (found == nullptr || evaluation.weighted_f1 > found->weighted_f1) found = &evaluation;
  }
  std::set<const ReportedEvaluation*> chosen;
  for (const auto& [group, evaluation] : best) chosen.insert(evaluation);
  return chosen;
}

OrderedJson answers_json(const fs::path& predictions) {
  OrderedJson out = OrderedJson::array();
  for (const AnsweredUtterance& u : read_predictions(predictions)) {
    out.push_back({{"dialogue", u.key.dialogue},
                   {"utterance", u.key.utterance},
                   {"speaker", u.speaker},
                   {"text", u.text},
                   {"gold", u.gold},
                   {"predicted", u.predicted}});
  }
  return out;
}

OrderedJson evaluation_json(const ReportedEvaluation& evaluation, bool with_answers, const fs::path& folder) {
  OrderedJson classes = OrderedJson::array();
  for (const ReportedClass& c : evaluation.classes)
    classes.push_back({{"label", c.label}, {"f1", c.f1}, {"support", c.support}});
  OrderedJson json{{"name", evaluation.name},
                   {"split", evaluation.split},
                   {"weighted_f1", evaluation.weighted_f1},
                   {"macro_f1", evaluation.macro_f1},
                   {"accuracy", evaluation.accuracy},
                   {"majority", number_or_null(evaluation.majority)},
                   {"classes", std::move(classes)},
                   {"confusion", evaluation.confusion}};
  if (evaluation.predictions.empty()) return json;
  json["predictions"] =
      fs::absolute(evaluation.predictions).lexically_relative(fs::absolute(folder)).generic_string();
  if (with_answers) json["answers"] = answers_json(evaluation.predictions);
  return json;
}

// A "<" could end the page's script, or begin a comment in it. Bytes of file names that are no UTF-8 become U+FFFD.
std::string inside_a_script(const OrderedJson& json) {
  std::string out;
  for (const char c : json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace)) {
    if (c == '<')
      out += "\\u003c";
    else
      out += c;
  }
  return out;
}

}  // namespace

OrderedJson Report::to_json(const std::string& title, const fs::path& folder) const {
  OrderedJson sweeps = OrderedJson::array(), answered = OrderedJson::array();
  for (const HeatMap& map : heat_maps) sweeps.push_back(sweep_json(map));
  const std::set<const ReportedEvaluation*> chosen = best_of_groups(evaluations);
  for (const ReportedEvaluation& evaluation : evaluations)
    answered.push_back(evaluation_json(evaluation, chosen.contains(&evaluation), folder));
  return {{"title", title},
          {"remarks", remarks},
          {"groups", groups_json(trainings)},
          {"sweeps", std::move(sweeps)},
          {"evaluations", std::move(answered)}};
}

std::string Report::to_html(const std::string& title, const fs::path& folder) const {
  constexpr std::string_view place = "REPORT_AS_JSON";
  std::string page(report_page());
  return page.replace(page.find(place), place.size(), inside_a_script(to_json(title, folder)));
}

}  // namespace chorus
