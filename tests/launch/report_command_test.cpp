// The page of a small sweep, as text and as a browser shows it.

#include <cstdlib>
#include <filesystem>
#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/error.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ReportCommand : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    write_tiny_data(*folder_);
    run_successfully({"sweep", "--base", at("base"), "--data", at("data"), "--output", at("sweep"), "--vary",
                      "lora-rank=2,4; learning-rate=1e-3,1e-2", "--seeds", "1,2", "--train-options",
                      "--max-steps 2 --threads 1 --logging-steps 1", "--evaluate-options", "--threads 1"});
    run_successfully({"report", at("sweep"), "--output", at("page.html"), "--title", "Ranks & rates"});
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::string at(const std::string& name) { return *folder_ / name; }
  static TemporaryFolder* folder_;
};
TemporaryFolder* ReportCommand::folder_ = nullptr;

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t times = 0;
  for (std::size_t i = text.find(part); i != std::string::npos; i = text.find(part, i + 1)) ++times;
  return times;
}

TEST_F(ReportCommand, ShowsRunsCurvesMapAndAnswersOnOnePage) {
  const std::string page = read_text(at("page.html"));
  EXPECT_THAT(page, HasSubstr("<h1>Ranks &amp; rates</h1>"));
  EXPECT_THAT(page, HasSubstr("8 trainings, 2 evaluations."));
  EXPECT_THAT(page, HasSubstr("lora-rank=2,learning-rate=1e-3 (2 runs)"));
  EXPECT_EQ(count(page, "<polyline"), 16U) << "loss and F1 of each training";
  EXPECT_THAT(page, HasSubstr("<th>lora-rank \\ learning-rate</th><th>1e-3</th><th>1e-2</th>"));
  EXPECT_EQ(count(page, "class=\"heat confusion\""), 2U);
  EXPECT_EQ(count(page, "<details class=\"predictions\">"), 1U) << "of the best of the seeds";
  EXPECT_THAT(page, Not(HasSubstr("http"))) << "nothing from a network";
  const std::regex link("<a href=\"([^\"]+predictions.jsonl)\"");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(page, match, link));
  EXPECT_TRUE(std::filesystem::exists(at(match[1]))) << "relative to the page: " << match[1];
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
  const std::string page = read_text(at("scores.html"));
  EXPECT_THAT(page, HasSubstr("0 trainings, 2 evaluations."));
  EXPECT_EQ(count(page, "predictions.jsonl"), 1U);
  EXPECT_GT(page.find("predictions.jsonl"), page.find("<h3>scores: base + adapter</h3>"));
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

// What the script has done to the page tells that a browser runs it.
TEST_F(ReportCommand, ABrowserFiltersTheAnswers) {
  if (std::system("command -v chromium > /dev/null") != 0) {
    GTEST_SKIP() << "NOT TESTED: there is no chromium to open the page with";
  }
  const std::string command =
      "HOME=" + at("home") +
      " timeout 120 chromium --headless --no-sandbox --disable-gpu --dump-dom file://" + at("page.html") +
      " > " + at("dom.html") + " 2> " + at("chromium.log");
  ASSERT_EQ(std::system(command.c_str()), 0) << read_text(at("chromium.log"));
  const std::string dom = read_text(at("dom.html"));
  std::smatch shown;
  ASSERT_TRUE(std::regex_search(dom, shown, std::regex("<output>([0-9]+) of ([0-9]+)</output>")));
  const std::size_t wrong = count(dom, "<tr class=\"wrong\">");
  EXPECT_EQ(std::stoul(shown[1]), wrong);
  const std::string page = read_text(at("page.html"));
  EXPECT_EQ(std::stoul(shown[2]), wrong + count(dom, "<tr hidden=\"\">")) << "the right ones are hidden";
}

}  // namespace
}  // namespace chorus
