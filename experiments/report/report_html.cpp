#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include <fmt/format.h>

#include "experiments/report/report.h"
#include "experiments/report/report_assets.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;

// Told apart also by those who see few colours (Okabe & Ito 2008).
constexpr std::array<std::string_view, 8> colours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                  "#e69f00", "#56b4e9", "#999999", "#f0e442"};

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string percent_or_dash(const std::optional<double>& value) {
  return value ? fmt::format("{:.2f}", 100 * *value) : "–";
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  double share(double value) const { return high > low ? (value - low) / (high - low) : 0.5; }
};

// How a group of runs is drawn. When the colours are used up, they come again in dashes.
struct LineStyle {
  std::string_view colour;
  std::size_t dashes = 0;  // 0: none

  std::string stroke() const {
    return fmt::format("stroke=\"{}\"{}", colour,
                       dashes == 0 ? "" : fmt::format(" stroke-dasharray=\"{} 2\"", 2 * dashes));
  }
  std::string background() const {
    return dashes == 0
               ? fmt::format("background:{}", colour)
               : fmt::format(
                     "background:repeating-linear-gradient(90deg,{0} 0 {1}px,transparent {1}px {2}px)",
                     colour, 2 * dashes, 2 * dashes + 2);
  }
};

// Of each group of runs, in the order in which they first stand there.
std::map<std::string, LineStyle> line_styles(const std::vector<ReportedTraining>& trainings) {
  std::map<std::string, LineStyle> found;
  for (const ReportedTraining& training : trainings) {
    const std::size_t i = found.size();
    found.try_emplace(training.group, LineStyle{colours[i % colours.size()], i / colours.size()});
  }
  return found;
}

// Lines over steps, one per training; runs of one group look alike.
class Chart {
 public:
  Chart(std::string title, const std::vector<ReportedTraining>& trainings, Curve ReportedTraining::*curve,
        double scale)
      : title_(std::move(title)), trainings_(trainings), curve_(curve), scale_(scale) {
    for (const ReportedTraining& training : trainings_) {
      const Curve& points = training.*curve_;
      for (const double step : points.steps) steps_.include(step);
      for (const double value : points.values) values_.include(scale_ * value);
    }
  }

  std::string html() const {
    if (values_.low > values_.high) return "";
    std::string out = fmt::format(
        "<figure style=\"margin:0\"><figcaption>{}</figcaption><svg viewBox=\"0 0 {} {}\" role=\"img\" "
        "aria-label=\"{}\">\n",
        escaped(title_), width + left + 10, height + 30, escaped(title_));
    out += axes();
    const auto styles = line_styles(trainings_);
    for (const ReportedTraining& training : trainings_) out += line(training, styles.at(training.group));
    return out + "</svg></figure>\n";
  }

 private:
  // In all 360 wide, as a phone is, so that the text is legible there; page.css makes it smaller on wide screens.
  static constexpr double width = 300, height = 150, left = 50;

  // Of the numbers at the axis: as many as tell them apart.
  int decimals() const {
    const double range = values_.high - values_.low;
    return range > 0 ? std::clamp(static_cast<int>(std::ceil(1 - std::log10(range / 4))), 0, 4) : 2;
  }

  std::string axes() const {
    std::string out;
    for (int i = 0; i <= 4; ++i) {
      const double value = values_.low + (values_.high - values_.low) * i / 4,
                   y = height - height * i / 4 + 8;
      out += fmt::format("<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n", left,
                         left + width, y, y);
      // Where all values are one, it is in the middle.
      if (values_.high == values_.low && i != 2) continue;
      out += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.{}f}</text>\n", left - 4, y + 3,
                         value, decimals());
    }
    return out + fmt::format(
                     "<text x=\"{}\" y=\"{}\">{:g}</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">step "
                     "{:g}</text>\n",
                     left, height + 24, steps_.low, left + width, height + 24, steps_.high);
  }

  std::string line(const ReportedTraining& training, const LineStyle& style) const {
    const Curve& points = training.*curve_;
    std::string path;
    for (std::size_t i = 0; i < points.steps.size(); ++i) {
      path += fmt::format("{:.1f},{:.1f} ", left + width * steps_.share(points.steps[i]),
                          8 + height * (1 - values_.share(scale_ * points.values[i])));
    }
    // A single point is a line to itself, which is drawn as a dot.
    const bool dot = points.steps.size() == 1;
    return fmt::format("<polyline fill=\"none\" {} points=\"{}\"{}><title>{}</title></polyline>\n",
                       style.stroke(), dot ? path + path : path, dot ? " class=\"dot\"" : "",
                       escaped(training.name));
  }

  std::string title_;
  const std::vector<ReportedTraining>& trainings_;
  Curve ReportedTraining::*curve_;
  double scale_;
  Range steps_, values_;
};

std::string legend(const std::vector<ReportedTraining>& trainings) {
  const auto styles = line_styles(trainings);
  std::set<std::string> shown;
  std::string out = "<ul class=\"legend\">";
  for (const ReportedTraining& training : trainings) {
    if (!shown.insert(training.group).second) continue;
    out += fmt::format("<li><i style=\"{}\"></i>{}</li>", styles.at(training.group).background(),
                       escaped(training.group));
  }
  return out + "</ul>\n";
}

std::string mean_or_dash(const std::vector<const ReportedTraining*>& group,
                         std::optional<double> ReportedTraining::*score) {
  std::vector<double> values;
  for (const ReportedTraining* training : group) {
    if (training->*score) values.push_back(100 * *(training->*score));
  }
  if (values.empty()) return "–";
  const Spread found = spread(values);
  return found.count > 1 ? fmt::format("{:.2f} ± {:.2f}", found.mean, found.deviation)
                         : fmt::format("{:.2f}", found.mean);
}

// What is unusual of how it ended, and of how its best was chosen.
std::string remarks_on(const ReportedTraining& t) {
  std::string remarks = t.finished ? "" : " (not finished)";
  if (t.stopped_early) remarks += " (stopped early)";
  if (t.dev_metric != DevMetric::automatic && t.dev_metric != DevMetric::weighted_f1)
    remarks += fmt::format(" (best by {} on dev)", title(t.dev_metric));
  return remarks;
}

std::string training_row(const ReportedTraining& t) {
  return fmt::format(
      "<tr><td>{}{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.0f} s</td><td>{:.0f}</td><td>{:.0f} "
      "MiB</td></tr>\n",
      escaped(t.name), remarks_on(t), t.steps, percent_or_dash(t.dev), percent_or_dash(t.test), t.seconds,
      t.tokens_per_second, static_cast<double>(t.peak_bytes) / 1048576);
}

// Each group of seeds with its means, then its runs.
std::string table_of_runs(const std::vector<ReportedTraining>& trainings) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<const ReportedTraining*>> groups;
  for (const ReportedTraining& training : trainings) {
    if (!groups.contains(training.group)) order.push_back(training.group);
    groups[training.group].push_back(&training);
  }
  std::string out =
      "<div class=\"scroll\"><table id=\"runs\"><thead><tr><th>run</th><th>steps</th><th>F1 on "
      "dev</th><th>F1 on test</th>"
      "<th>time</th><th>tokens/s</th><th>memory</th></tr></thead><tbody>\n";
  for (const std::string& name : order) {
    const std::vector<const ReportedTraining*>& group = groups[name];
    if (group.size() > 1) {
      out += fmt::format(
          "<tr class=\"group\"><td>{} ({} "
          "runs)</td><td></td><td>{}</td><td>{}</td><td></td><td></td><td></td></tr>\n",
          escaped(name), group.size(), mean_or_dash(group, &ReportedTraining::dev),
          mean_or_dash(group, &ReportedTraining::test));
    }
    for (const ReportedTraining* training : group) out += training_row(*training);
  }
  return out + "</tbody></table></div>\n";
}

std::string cell_style(double share) {
  return fmt::format("background:rgb(37 99 235 / {:.0f}%);{}", 8 + 82 * share,
                     share > 0.55 ? "color:#fff" : "");
}

std::string heat_map(const HeatMap& map) {
  Range range;
  for (const auto& cell : map.cells) {
    if (cell) range.include(*cell);
  }
  std::string out = fmt::format("<div class=\"scroll\"><table class=\"heat\"><thead><tr><th>{} \\ {}</th>",
                                escaped(map.rows), escaped(map.columns));
  for (const std::string& value : map.column_values) out += fmt::format("<th>{}</th>", escaped(value));
  out += "</tr></thead><tbody>\n";
  for (std::size_t row = 0; row < map.row_values.size(); ++row) {
    out += fmt::format("<tr><th>{}</th>", escaped(map.row_values[row]));
    for (std::size_t column = 0; column < map.column_values.size(); ++column) {
      const auto& cell = map.cells[row * map.column_values.size() + column];
      out += cell ? fmt::format("<td style=\"{}\">{}</td>", cell_style(range.share(*cell)),
                                print_score(map.metric, *cell))
                  : "<td>–</td>";
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string class_bars(const std::vector<ReportedClass>& classes) {
  constexpr int line = 16, left = 90, width = 190;
  std::string out = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"F1 of each class\">\n",
                                left + width + 80, line * static_cast<int>(classes.size()));
  int y = 0;
  for (const ReportedClass& c : classes) {
    out += fmt::format(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect class=\"bar\" x=\"{}\" y=\"{}\" "
        "width=\"{:.1f}\" height=\"{}\"/><text x=\"{:.1f}\" y=\"{}\">{:.1f} of {}</text>\n",
        left - 6, y + 12, escaped(c.label), left, y + 2, width * c.f1, line - 4, left + width * c.f1 + 4,
        y + 12, 100 * c.f1, c.support);
    y += line;
  }
  return out + "</svg>\n";
}

// Shaded by the share of the gold label.
std::string confusion_matrix(const ReportedEvaluation& evaluation) {
  std::string out =
      "<div class=\"scroll\"><table class=\"heat confusion\"><thead><tr><th>gold \\ predicted</th>";
  for (const ReportedClass& c : evaluation.classes) out += fmt::format("<th>{}</th>", escaped(c.label));
  out += "</tr></thead><tbody>\n";
  for (std::size_t gold = 0; gold < evaluation.confusion.size(); ++gold) {
    const auto& row = evaluation.confusion[gold];
    const std::int64_t total =
        evaluation.classes.at(gold).support;  // answers without a label are in no column
    out += fmt::format("<tr><th>{}</th>", escaped(evaluation.classes.at(gold).label));
    for (const std::int64_t count : row) {
      const double share = total == 0 ? 0 : static_cast<double>(count) / static_cast<double>(total);
      out += fmt::format("<td style=\"{}\">{}</td>", cell_style(share), count);
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string predictions(const std::vector<AnsweredUtterance>& utterances, const std::string& link) {
  std::string out = fmt::format(
      "<details class=\"predictions\"><summary>predictions</summary><p><label><input type=\"checkbox\" "
      "name=\"wrong\" checked> only the wrong "
      "ones</label>"
      "<label>with <input type=\"search\" name=\"words\" placeholder=\"words\"></label><output></output> · "
      "<a href=\"{}\">all, as JSON lines</a></p><div class=\"scroll\"><table "
      "class=\"words\"><thead><tr><th>dialogue</th>"
      "<th>speaker</th><th>line</th><th>gold</th><th>predicted</th></tr></thead><tbody>\n",
      escaped(link));
  for (const AnsweredUtterance& u : utterances) {
    out += fmt::format("<tr{}><td>{} {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                       u.gold == u.predicted ? "" : " class=\"wrong\"", escaped(u.key.dialogue),
                       escaped(u.key.utterance), escaped(u.speaker), escaped(u.text), escaped(u.gold),
                       u.predicted.empty() ? "–" : escaped(u.predicted));
  }
  return out + "</tbody></table></div></details>\n";
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

std::string evaluation_card(const ReportedEvaluation& evaluation, bool with_predictions,
                            const fs::path& folder) {
  const std::string majority =
      evaluation.majority ? fmt::format("; majority label {:.2f}", 100 * *evaluation.majority) : "";
  std::string out = fmt::format(
      "<section class=\"evaluation\"><h3>{}</h3><p>{}: weighted F1 <b>{:.2f}</b>, macro F1 {:.2f}, accuracy "
      "{:.2f}{}</p>\n"
      "<div class=\"cards\"><div>{}</div><div>{}</div></div>\n",
      escaped(evaluation.name), escaped(evaluation.split), 100 * evaluation.weighted_f1,
      100 * evaluation.macro_f1, 100 * evaluation.accuracy, majority, class_bars(evaluation.classes),
      confusion_matrix(evaluation));
  if (!evaluation.predictions.empty()) {
    const std::string link =
        fs::absolute(evaluation.predictions).lexically_relative(fs::absolute(folder)).generic_string();
    out += with_predictions
               ? predictions(read_predictions(evaluation.predictions), link)
               : fmt::format("<p><a href=\"{}\">predictions, as JSON lines</a></p>\n", escaped(link));
  }
  return out + "</section>\n";
}

}  // namespace

std::string Report::to_html(const std::string& title, const fs::path& folder) const {
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, "
      "initial-scale=1\"><title>{0}</title><style>\n{1}</style></head><body>\n<h1>{0}</h1>\n"
      "<p>{2} trainings, {3} evaluations. F1 is weighted F1 in percent; where there are several seeds, mean "
      "± standard "
      "deviation of the sample. Checkpoints were chosen on dev.</p>\n",
      escaped(title), report_style(), trainings.size(), evaluations.size());
  for (const std::string& remark : remarks) page += fmt::format("<p>{}</p>\n", escaped(remark));
  if (!trainings.empty()) {
    page += "<h2>Runs</h2>\n" + table_of_runs(trainings);
    page += "<h2>Curves</h2>\n<div class=\"cards\">" +
            Chart("training loss", trainings, &ReportedTraining::loss, 1).html() +
            Chart("weighted F1 on dev", trainings, &ReportedTraining::dev_f1, 100).html() + "</div>\n" +
            legend(trainings);
  }
  for (const HeatMap& map : heat_maps)
    page += fmt::format("<h2>Sweep: {} on dev</h2>\n{}", chorus::title(map.metric), heat_map(map));
  if (!evaluations.empty()) page += "<h2>Evaluations</h2>\n";
  const std::set<const ReportedEvaluation*> chosen = best_of_groups(evaluations);
  for (const ReportedEvaluation& evaluation : evaluations)
    page += evaluation_card(evaluation, chosen.contains(&evaluation), folder);
  return page + fmt::format("<script>\n{}</script>\n</body></html>\n", report_script());
}

}  // namespace chorus
