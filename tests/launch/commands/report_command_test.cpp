// The page of a small sweep, as text and as a browser shows it.

#include <cstdlib>
#include <filesystem>
#include <regex>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/launch/shared_folder.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ReportCommand : public SharedFolderTest<ReportCommand> {
 public:
  static void fill() {
    write_tiny_data(folder());
    run_successfully({"sweep", "--base", at("base"), "--data", at("data"), "--output", at("sweep"), "--vary",
                      "lora-rank=2,4; learning-rate=1e-3,1e-2", "--seeds", "1,2", "--train-options",
                      "--max-steps 2 --threads 1 --logging-steps 1", "--evaluate-options", "--threads 1"});
    run_successfully(
        {"report", at("sweep"), "--output", at("page.html"), "--title", "Ranks & <rates></script>"});
  }
};

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t times = 0;
  for (std::size_t i = text.find(part); i != std::string::npos; i = text.find(part, i + 1)) ++times;
  return times;
}

// The object that the page draws.
nlohmann::json report_in(const std::string& page) {
  const std::string begin = "<script type=\"application/json\" id=\"report\">";
  const std::size_t from = page.find(begin) + begin.size();
  return nlohmann::json::parse(page.substr(from, page.find("</script>", from) - from));
}

TEST_F(ReportCommand, HoldsRunsCurvesMapAndAnswersInOnePage) {
  const std::string page = read_text(at("page.html"));
  const nlohmann::json report = report_in(page);
  EXPECT_EQ(report.at("title"), "Ranks & <rates></script>");
  ASSERT_EQ(report.at("groups").size(), 4U);
  const nlohmann::json& group = report["groups"][0];
  EXPECT_EQ(group.at("name"), "runs/lora-rank=2,learning-rate=1e-2");
  ASSERT_EQ(group.at("trainings").size(), 2U);
  EXPECT_EQ(group.at("dev").at("count"), 2);
  EXPECT_NEAR(
      group["dev"].at("mean").get<double>(),
      (group["trainings"][0].at("dev").get<double>() + group["trainings"][1].at("dev").get<double>()) / 2,
      1e-12);
  EXPECT_EQ(group["trainings"][0].at("loss").at("steps"), nlohmann::json({1, 2}));
  const nlohmann::json& sweep = report.at("sweeps").at(0);
  EXPECT_EQ(sweep.at("rows"), "lora-rank");
  EXPECT_EQ(sweep.at("column_values"), nlohmann::json({"1e-3", "1e-2"}));
  EXPECT_TRUE(sweep.at("cells").at(1).at(1).contains("text"));
  ASSERT_EQ(report.at("evaluations").size(), 2U);
  int answered = 0;
  for (const nlohmann::json& evaluation : report["evaluations"]) {
    EXPECT_TRUE(evaluation.at("majority").is_number());
    EXPECT_EQ(evaluation.at("confusion").size(), evaluation.at("classes").size());
    const std::string link = evaluation.at("predictions");
    EXPECT_TRUE(std::filesystem::exists(at(link))) << "relative to the page: " << link;
    if (evaluation.contains("answers")) ++answered;
  }
  EXPECT_EQ(answered, 1) << "those of the best of the seeds";
  EXPECT_EQ(count(page, "</script>"), 2U) << "none of a text that stands in the page";
  EXPECT_THAT(page, HasSubstr("<noscript>"));
  const std::string code = page.substr(page.rfind("<script>"));
  EXPECT_EQ(count(code, "http"), 1U) << "the name of SVG, and nothing from a network";
  EXPECT_EQ(count(code, "http://www.w3.org/2000/svg"), 1U);
  for (const char* loads : {"src=", "<link", "@import", "url(", "fetch("})
    EXPECT_THAT(page, Not(HasSubstr(loads)));
}

TEST_F(ReportCommand, WritesTheRunsAsCsv) {
  const std::string csv = read_text(at("page.csv"));
  EXPECT_THAT(csv, StartsWith("run,group,finished,steps,dev_weighted_f1,test_weighted_f1,seconds,"));
  EXPECT_EQ(count(csv, "\r\n"), 9U);
  EXPECT_THAT(csv, HasSubstr(",true,2,"));
}

// evaluate keeps the predictions of the last way of answering.
TEST_F(ReportCommand, PredictionsBelongToTheWayThatGaveThem) {
  run_successfully({"evaluate", "--base", at("base"), "--adapter",
                    at("sweep/runs/lora-rank=2,learning-rate=1e-3/seed-1/train/output"), "--data", at("data"),
                    "--output", at("scores")});
  run_successfully({"report", at("scores"), "--output", at("scores.html")});
  const nlohmann::json report = report_in(read_text(at("scores.html")));
  EXPECT_TRUE(report.at("groups").empty());
  ASSERT_EQ(report.at("evaluations").size(), 2U);
  EXPECT_FALSE(report["evaluations"][0].contains("predictions"));
  EXPECT_EQ(report["evaluations"][1].at("name"), "scores: base + adapter");
  EXPECT_EQ(report["evaluations"][1].at("predictions"), "scores/predictions.jsonl");
}

// By whatever metric the best was chosen, F1 is told of it.
TEST_F(ReportCommand, TellsHowTheBestWasChosenAndWhatEndedEarly) {
  write_text(at("early/trainer_log.jsonl"),
             R"({"current_steps": 1, "eval_loss": 2.5, "eval_weighted_f1": 0.25}
{"current_steps": 2, "eval_loss": 2.0, "eval_weighted_f1": 0.125}
{"current_steps": 3, "eval_loss": 2.25, "eval_weighted_f1": 0.5}
)");
  write_text(at("early/train_results.json"),
             R"({"finished": true, "stopped_early": true, "steps": 3, "total_steps": 9, "dev_metric": "loss",
                 "best_dev_metric": -2.0, "best_step": 2})");
  write_text(at("texts/trainer_log.jsonl"), "{\"current_steps\": 1, \"eval_loss\": 2.5}\n");
  write_text(at("texts/train_results.json"),
             R"({"finished": true, "steps": 1, "best_dev_metric": -2.5, "best_step": 1})");
  run_successfully({"report", at("early"), at("texts"), "--output", at("early.html")});
  const nlohmann::json report = report_in(read_text(at("early.html")));
  const nlohmann::json& early = report.at("groups").at(0).at("trainings").at(0);
  EXPECT_EQ(early.at("name"), "early");
  EXPECT_EQ(early.at("stopped_early"), true);
  EXPECT_EQ(early.at("dev_metric"), "loss");
  EXPECT_EQ(early.at("steps"), 3);
  EXPECT_EQ(early.at("dev"), 0.125);
  const nlohmann::json& texts = report["groups"].at(1).at("trainings").at(0);
  EXPECT_EQ(texts.at("dev_metric"), "loss");
  EXPECT_TRUE(texts.at("dev").is_null());
  const std::string csv = read_text(at("early.csv"));
  EXPECT_THAT(csv, HasSubstr("early,early,true,3,0.125,,0.000,0.0,0,loss,true\r\n"));
  EXPECT_THAT(csv, HasSubstr("texts,texts,true,1,,,0.000,0.0,0,loss,false\r\n"));
}

// What kill -9 leaves of a training hides no other one.
TEST_F(ReportCommand, LeavesOutALastLineOfALogThatIsCut) {
  const std::string line = "{\"current_steps\": 1, \"loss\": 2.5}\n";
  write_text(at("runs/whole/trainer_log.jsonl"), line);
  write_text(at("runs/killed/trainer_log.jsonl"), line + "{\"current_steps\": 2, \"lo");
  const std::string remark = at("runs/killed/trainer_log.jsonl") + ": the last line is cut";
  EXPECT_THAT(run_successfully({"report", at("runs"), "--output", at("killed.html")}), StartsWith(remark));
  const nlohmann::json report = report_in(read_text(at("killed.html")));
  EXPECT_EQ(report.at("groups").size(), 2U);
  EXPECT_TRUE(report.at("evaluations").empty());
  EXPECT_THAT(report.at("remarks").at(0), StartsWith(remark));
  write_text(at("runs/killed/trainer_log.jsonl"), "{\"current_steps\": 2, \"lo\n" + line);
  const Outcome damaged = run_chorus({"report", at("runs"), "--output", at("damaged.html")});
  EXPECT_EQ(damaged.exit_code, static_cast<int>(ExitCode::data));
  EXPECT_THAT(damaged.err, HasSubstr("killed/trainer_log.jsonl:1: is not valid JSON"));
}

TEST_F(ReportCommand, RefusesToOverwriteAndEmptyFolders) {
  const Outcome again = run_chorus({"report", at("sweep"), "--output", at("page.html")});
  EXPECT_EQ(again.exit_code, static_cast<int>(ExitCode::configuration));
  EXPECT_THAT(again.err, HasSubstr("is not overwritten"));
  std::filesystem::create_directories(at("nothing"));
  const Outcome empty = run_chorus({"report", at("nothing"), "--output", at("other.html")});
  EXPECT_EQ(empty.exit_code, static_cast<int>(ExitCode::data));
  EXPECT_THAT(empty.err, HasSubstr("holds no output of train, evaluate, study or sweep"));
}

// What the page is once a browser has run its scripts.
class ReportInABrowser : public ReportCommand {
 protected:
  void SetUp() override {
    if (std::system("command -v chromium > /dev/null") != 0) {
      GTEST_SKIP() << "NOT TESTED: there is no chromium to open the page with";
    }
  }
  static std::string opened(const std::string& page) {
    const std::string command =
        "HOME=" + at("home") +
        " timeout 120 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars "
        "--virtual-time-budget=5000 --window-size=1400,1000 --dump-dom file://" +
        page + " > " + at("dom.html") + " 2> " + at("chromium.log");
    EXPECT_EQ(std::system(command.c_str()), 0) << read_text(at("chromium.log"));
    return read_text(at("dom.html"));
  }
  // Measures taken by a script at the end of the page, in a frame of that size: a browser's own window is never as
  // narrow as a phone.
  static nlohmann::json measured(int width, int height) {
    std::string page = read_text(at("page.html"));
    const std::string script = R"(<script>
const box = e => { const b = e.getBoundingClientRect(); return [b.left, b.right, b.width, b.height]; };
const boxes = selector => [...document.querySelectorAll(selector)].map(box);
const svgs = [...document.querySelectorAll('svg')];
parent.postMessage(JSON.stringify({
  viewport: [innerWidth, innerHeight],
  scrollWidth: document.documentElement.scrollWidth,
  beyond: [...document.querySelectorAll('body *')].filter(
      e => box(e)[1] > innerWidth + 0.5 && !e.closest('.scroll > *')).map(e => e.outerHTML.slice(0, 80)),
  scrolled: [...document.querySelectorAll('.scroll:has(#runs, .heat)')].filter(
      e => e.scrollWidth > e.clientWidth).map(e => e.firstChild.className),
  sections: [...document.querySelectorAll('h2')].filter(h => h.checkVisibility()).map(h => h.textContent),
  tables: boxes('#runs, .heat'), charts: boxes('svg'),
  cutLabels: svgs.flatMap(s => [...s.querySelectorAll('text')].filter(
      t => box(t)[0] < box(s)[0] - 0.5 || box(t)[1] > box(s)[1] + 0.5).map(t => t.textContent)),
  chartText: Math.min(...svgs.map(s => parseFloat(getComputedStyle(s.querySelector('text')).fontSize) *
                                       box(s)[2] / s.viewBox.baseVal.width)),
  text: Math.min(...[...document.querySelectorAll('p, td, th, li, figcaption')].map(
      e => parseFloat(getComputedStyle(e).fontSize)))}), '*');
</script>)";
    page.insert(page.rfind("</body>"), script);
    write_text(at("measured.html"), page);
    write_text(at("frame.html"),
               "<!doctype html><body><script>onmessage = e => document.body.textContent = 'FOUND' + e.data + "
               "'END';</script><iframe style=\"border:0\" src=\"measured.html\" width=\"" +
                   std::to_string(width) + "\" height=\"" + std::to_string(height) + "\"></iframe></body>");
    const std::string dom = opened(at("frame.html"));
    std::smatch found;
    const bool answered = std::regex_search(dom, found, std::regex("FOUND(\\{.*\\})END"));
    EXPECT_TRUE(answered) << dom.substr(0, 2000);
    return nlohmann::json::parse(answered ? found[1].str() : "{}");
  }
};

TEST_F(ReportInABrowser, DrawsTheReportAndFiltersTheAnswers) {
  const std::string dom = opened(at("page.html"));
  EXPECT_THAT(dom, HasSubstr("<h1>Ranks &amp; &lt;rates&gt;&lt;/script&gt;</h1>"));
  EXPECT_THAT(dom, HasSubstr("8 trainings, 2 evaluations."));
  EXPECT_THAT(dom, HasSubstr("lora-rank=2,learning-rate=1e-3 (2 runs)"));
  EXPECT_EQ(count(dom, "<polyline"), 16U) << "loss and F1 of each training";
  EXPECT_THAT(dom, HasSubstr("<th>lora-rank \\ learning-rate</th><th>1e-3</th><th>1e-2</th>"));
  EXPECT_EQ(count(dom, "class=\"heat confusion\""), 2U);
  EXPECT_EQ(count(dom, "; majority label "), 2U + 1U) << "and in the script";
  EXPECT_EQ(count(dom, "<details class=\"predictions\">"), 1U) << "of the best of the seeds";
  std::smatch shown;
  ASSERT_TRUE(std::regex_search(dom, shown, std::regex("<output>([0-9]+) of ([0-9]+)</output>")));
  const std::size_t wrong = count(dom, "<tr class=\"wrong\">");
  EXPECT_EQ(std::stoul(shown[1]), wrong);
  EXPECT_EQ(std::stoul(shown[2]), wrong + count(dom, "<tr hidden=\"\">")) << "the right ones are hidden";
}

// By whatever metric the best was chosen.
TEST_F(ReportInABrowser, TellsHowTheBestWasChosenAndWhatEndedEarly) {
  write_text(at("chosen/trainer_log.jsonl"),
             R"({"current_steps": 2, "eval_loss": 2.0, "eval_weighted_f1": 0.125})");
  write_text(
      at("chosen/train_results.json"),
      R"({"finished": true, "stopped_early": true, "steps": 3, "dev_metric": "loss", "best_dev_metric": -2.0,
                 "best_step": 2})");
  run_successfully({"report", at("chosen"), "--output", at("chosen.html")});
  EXPECT_THAT(
      opened(at("chosen.html")),
      HasSubstr("<td>chosen (stopped early) (best by loss on dev)</td><td>3</td><td>12.50</td><td>–</td>"));
}

TEST_F(ReportInABrowser, FitsAPhoneAndADesktop) {
  for (const auto& [width, height] : {std::pair(390, 844), std::pair(1280, 900)}) {
    SCOPED_TRACE(width);
    const nlohmann::json found = measured(width, height);
    ASSERT_EQ(found.at("viewport"), nlohmann::json({width, height}));
    EXPECT_LE(found.at("scrollWidth"), width);
    EXPECT_EQ(found.at("scrolled"), nlohmann::json::array()) << "no table needs it";
    EXPECT_EQ(found.at("beyond"), nlohmann::json::array()) << "only what scrolls in its own box may be wider";
    EXPECT_EQ(found.at("sections"),
              nlohmann::json({"Runs", "Curves", "Sweep: weighted F1 on dev", "Evaluations"}));
    EXPECT_EQ(found.at("tables").size(), 4U);
    for (const auto& table : found.at("tables"))
      EXPECT_GT(table.at(2).get<double>() * table.at(3).get<double>(), 0);
    EXPECT_EQ(found.at("charts").size(), 4U) << "two curves, the classes of two evaluations";
    for (const auto& chart : found.at("charts")) {
      EXPECT_GE(chart.at(0), 0);
      EXPECT_LE(chart.at(1), width);
      EXPECT_GT(chart.at(2), 300);
      EXPECT_GT(chart.at(3), 50);
    }
    EXPECT_EQ(found.at("cutLabels"), nlohmann::json::array());
    EXPECT_GE(found.at("chartText"), 10) << "pixels";
    EXPECT_GE(found.at("text"), 12) << "pixels";
  }
}

}  // namespace
}  // namespace chorus
