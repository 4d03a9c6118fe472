#include "launch/process/console.h"

#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Not;

// A console that writes into memory, on a terminal as wide as the test wants and with a clock that the test
// moves.
class ConsoleTest : public testing::Test {
 protected:
  ~ConsoleTest() override {
    console.reset();
    std::fclose(results);
    std::fclose(progress);
  }
  void open(int columns, bool quiet = false) {
    console = std::make_unique<Console>(
        Console::Surroundings{results, progress, [columns] { return columns; }, [this] { return now; }},
        quiet);
  }
  static std::string text_of(std::FILE* file) {
    std::fflush(file);
    std::string text(static_cast<std::size_t>(std::ftell(file)), '\0');
    std::rewind(file);
    text.resize(std::fread(text.data(), 1, text.size(), file));
    return text;
  }
  static int count(const std::string& text, char wanted) {
    return static_cast<int>(std::count(text.begin(), text.end(), wanted));
  }
  // What a terminal shows in the end.
  static std::string screen(const std::string& text) {
    std::string shown, line;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\n') {
        shown += line + '\n';
        line.clear();
      } else if (text[i] == '\r') {
        line.clear();
      } else if (text.compare(i, 3, "\x1b[K") == 0) {
        i += 2;
      } else {
        line += text[i];
      }
    }
    return shown + line;
  }

  std::FILE* results = std::tmpfile();
  std::FILE* progress = std::tmpfile();
  double now = 1000;
  std::unique_ptr<Console> console;
};

TEST_F(ConsoleTest, BarFitsItsTerminal) {
  open(60);
  console->progress("reading", 0, 200);
  now += 2;
  console->progress("reading", 50, 200);
  const std::string shown = screen(text_of(progress));
  EXPECT_EQ(shown, "reading [####.............]  25% | 50/200 | 25.0/s | eta 6s");
  EXPECT_LE(shown.size(), 59U);
}

TEST_F(ConsoleTest, NarrowTerminalsGetNoBarAndNoOverflow) {
  open(20);
  console->progress("reading", 0, 200);
  now += 2;
  console->progress("reading", 50, 200);
  const std::string shown = screen(text_of(progress));
  EXPECT_EQ(shown, "reading  25% | 50/2");
}

TEST_F(ConsoleTest, BarMovesTenTimesASecond) {
  open(80);
  for (int i = 0; i <= 1000; ++i) {
    console->progress("counting", i, 1000);
    now += 0.002;
  }
  const std::string text = text_of(progress);
  EXPECT_GE(count(text, '\r'), 19);
  EXPECT_LE(count(text, '\r'), 22);
  EXPECT_THAT(text, HasSubstr("100% | 1000/1000 | 500/s | 2s"));
  EXPECT_EQ(count(text, '\n'), 0);
}

TEST_F(ConsoleTest, LinesStandAboveTheBar) {
  open(80);
  console->progress("training", 1, 10);
  console->print("step 1 | loss 2.0");
  EXPECT_EQ(text_of(results), "step 1 | loss 2.0\n");
  const std::string text = text_of(progress);
  EXPECT_THAT(text, HasSubstr("\r\x1b[K\rtraining"));
}

TEST_F(ConsoleTest, EndedJobKeepsItsBarWithTheLastNumbers) {
  open(80);
  console->progress("first", 0, 10);
  console->progress("first", 9, 10);
  console->progress("second", 1, 0);
  console.reset();
  const std::string shown = screen(text_of(progress));
  EXPECT_THAT(shown, HasSubstr("90% | 9/10"));
  EXPECT_THAT(shown, HasSubstr("\nsecond 1"));
  EXPECT_EQ(shown.back(), '\n');
}

TEST_F(ConsoleTest, ElsewhereALineEveryTwoSeconds) {
  open(0);
  for (int i = 0; i <= 70; ++i) {
    console->progress("counting", i, 70);
    now += 0.1;
  }
  console.reset();
  const std::string text = text_of(progress);
  EXPECT_EQ(text,
            "counting:  28% | 20/70 | 10.0/s | eta 5s\n"
            "counting:  57% | 40/70 | 10.0/s | eta 3s\n"
            "counting:  85% | 60/70 | 10.0/s | eta 1s\n"
            "counting: 100% | 70/70 | 10.0/s | 7s\n");
}

TEST_F(ConsoleTest, ElsewhereLongJobsSayLess) {
  open(0);
  for (int i = 0; i <= 10000; ++i) {
    console->progress("training", i, 10000);
    now += 1;
  }
  // Every 2 s for 20 s, then at growing distances up to the minute.
  const int lines = count(text_of(progress), '\n');
  EXPECT_GT(lines, 10 + 9400 / 60);
  EXPECT_LT(lines, 50 + 10000 / 60);
}

TEST_F(ConsoleTest, ElsewhereShortJobsAndTalkingJobsLeaveNoLine) {
  open(0);
  for (int i = 0; i <= 10; ++i) {
    console->progress("short", i, 10);
    now += 0.1;
  }
  for (int i = 0; i <= 100; ++i) {
    console->progress("talking", i, 100);
    now += 1;
    console->print("line");
  }
  console.reset();
  EXPECT_EQ(text_of(progress), "");
  EXPECT_EQ(count(text_of(results), '\n'), 101);
}

TEST_F(ConsoleTest, UnknownTotalShowsTheCount) {
  open(0);
  console->progress("reading", 0, 0);
  now += 4;
  console->progress("reading", 4000, 0);
  EXPECT_EQ(text_of(progress), "reading: 4000 | 1000/s | 4s\n");
}

TEST_F(ConsoleTest, JobsSideBySideHaveALineEach) {
  open(20);
  console->show("jobs", {"a | step 1", "b | step 2 of very many"});
  now += 1;
  console->show("jobs", {"a | step 3", "b | step 4"});
  console->print("a is done");
  console->show("jobs", {"b | step 5"});
  console->show("jobs", {});
  EXPECT_EQ(text_of(results), "a is done\n");
  EXPECT_EQ(text_of(progress),
            "\ra | step 1\x1b[K\nb | step 2 of very \x1b[K"
            "\r\x1b[1Aa | step 3\x1b[K\nb | step 4\x1b[K"
            "\r\x1b[1A\x1b[J"
            "\ra | step 3\x1b[K\nb | step 4\x1b[K"
            "\r\x1b[1A\x1b[J");
}

TEST_F(ConsoleTest, JobsSideBySideElsewhereAreToldNowAndThen) {
  open(0);
  for (int i = 0; i <= 5; ++i) {
    console->show("jobs", {"a | step " + std::to_string(i), "b"});
    now += 1;
  }
  console->show("jobs", {});
  EXPECT_EQ(text_of(progress), "a | step 2\nb\na | step 4\nb\n");
}

TEST_F(ConsoleTest, QuietOnesSwallowEverything) {
  open(80, true);
  console->progress("reading", 0, 10);
  console->print("line");
  console.reset();
  EXPECT_EQ(text_of(progress), "");
  EXPECT_EQ(text_of(results), "");
}

TEST(PrintDuration, PicksItsUnit) {
  EXPECT_EQ(print_duration(-1), "0s");
  EXPECT_EQ(print_duration(59.4), "59s");
  EXPECT_EQ(print_duration(59.6), "1m00s");
  EXPECT_EQ(print_duration(398), "6m38s");
  EXPECT_EQ(print_duration(3600 * 26 + 59), "26h00m");
}

}  // namespace
}  // namespace chorus
