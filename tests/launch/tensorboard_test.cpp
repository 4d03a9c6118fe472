// The scalars of train --tensorboard, read back by plain loops and by TensorBoard itself: those of trainer_log.jsonl,
// and no others.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "launch/commands/event_file.h"
#include "ops/base/error.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::ElementsAre;

// [tag][step]
using Series = std::map<std::string, std::map<std::int64_t, float>>;

// A run of six steps; the same, gone on with after step 2 and stopped after step 3; and that one after step 4.
class Tensorboard : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    write_tiny_data(*folder_);
    run_successfully(
        {"train",     "--base",          at("base"), "--data",       at("data"), "--output",
         at("whole"), "--lora-rank",     "2",        "--threads",    "1",        "--max-steps",
         "6",         "--eval-steps",    "2",        "--save-steps", "1",        "--save-total-limit",
         "0",         "--logging-steps", "1",        "--tensorboard"});
    std::filesystem::copy(at("whole"), at("three"), std::filesystem::copy_options::recursive);
    one_step_more("three", 2);
    std::filesystem::copy(at("three"), at("four"), std::filesystem::copy_options::recursive);
    one_step_more("four", 3);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::string at(const std::string& name) { return *folder_ / name; }
  static void one_step_more(const std::string& output, int step) {
    const Outcome outcome =
        run_chorus({"train", at("whole/config.ini"), "--output", at(output), "--resume",
                    at(output + "/checkpoint-" + std::to_string(step)), "--max-time", "1e-6"});
    ASSERT_EQ(outcome.exit_code, static_cast<int>(ExitCode::preempted)) << outcome.err;
  }
  static TemporaryFolder* folder_;
};
TemporaryFolder* Tensorboard::folder_ = nullptr;

Series logged(const std::string& output) {
  const std::map<std::string, std::string> tags{{"loss", "train/loss"},
                                                {"grad_norm", "train/grad_norm"},
                                                {"lr", "train/learning_rate"},
                                                {"epoch", "train/epoch"},
                                                {"throughput", "speed/tokens_per_second"},
                                                {"effective_throughput", "speed/effective_tokens_per_second"},
                                                {"eval_loss", "dev/loss"},
                                                {"eval_weighted_f1", "dev/weighted_f1"},
                                                {"eval_macro_f1", "dev/macro_f1"},
                                                {"eval_accuracy", "dev/accuracy"}};
  Series series;
  std::istringstream lines(read_text(output + "/trainer_log.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto entry = nlohmann::json::parse(line);
    for (const auto& [key, tag] : tags) {
      if (entry.contains(key)) series[tag][entry.at("current_steps")] = entry.at(key);
    }
  }
  return series;
}

// The fields of a protocol buffer: the number of one, or the bytes of its value.
struct Field {
  std::uint64_t number = 0;
  std::string bytes;
};

std::uint64_t read_varint(const std::string& text, std::size_t& at) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<std::uint8_t>(text.at(at++));
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return value;
  }
}

std::multimap<std::uint64_t, Field> fields_of(const std::string& message) {
  std::multimap<std::uint64_t, Field> fields;
  for (std::size_t at = 0; at < message.size();) {
    const std::uint64_t key = read_varint(message, at), type = key & 7;
    Field field;
    if (type == 0) {
      field.number = read_varint(message, at);
    } else {
      const std::size_t size = type == 1 ? 8 : type == 5 ? 4 : read_varint(message, at);
      field.bytes = message.substr(at, size);
      at += size;
    }
    fields.emplace(key >> 3, field);
  }
  return fields;
}

// Of the one file that is not empty.
std::string event_records(const std::string& output) {
  std::vector<std::string> contents;
  for (const auto& entry : std::filesystem::directory_iterator(output + "/tensorboard")) {
    if (entry.file_size() > 0) contents.push_back(read_text(entry.path()));
  }
  EXPECT_EQ(contents.size(), 1U) << output;
  return contents.at(0);
}

// Times must not fall: TensorBoard draws over them, too.
Series read_events(const std::string& output) {
  const std::string text = event_records(output);
  Series series;
  double former = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::uint64_t size = 0;
    std::memcpy(&size, text.substr(at, sizeof size).data(), sizeof size);
    const std::string payload = text.substr(at + 12, size), record = tf_record(payload);
    EXPECT_EQ(text.substr(at, record.size()), record) << "checksums";
    at += record.size();

    const auto event = fields_of(payload);
    double time = 0;
    std::memcpy(&time, event.find(1)->second.bytes.data(), sizeof time);
    if (!event.contains(5)) continue;
    EXPECT_GE(time, former);
    former = time;
    const auto values = fields_of(event.find(5)->second.bytes);
    for (const auto& [number, value] : values) {
      const auto scalar = fields_of(value.bytes);
      float found = 0;
      std::memcpy(&found, scalar.find(2)->second.bytes.data(), sizeof found);
      const auto step = static_cast<std::int64_t>(event.find(2)->second.number);
      EXPECT_TRUE(series[scalar.find(1)->second.bytes].emplace(step, found).second) << "a step stands twice";
    }
  }
  return series;
}

std::vector<std::int64_t> steps(const std::map<std::int64_t, float>& values) {
  std::vector<std::int64_t> steps;
  for (const auto& [step, value] : values) steps.push_back(step);
  return steps;
}

TEST_F(Tensorboard, HoldsTheNumbersOfTheLog) {
  for (const std::string output : {"whole", "three", "four"}) {
    EXPECT_EQ(read_events(at(output)), logged(at(output))) << output;
  }
  EXPECT_EQ(read_events(at("whole")).size(), 10U);
  EXPECT_THAT(steps(read_events(at("whole"))["train/loss"]), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(steps(read_events(at("three"))["train/loss"]), ElementsAre(1, 2, 3));
  EXPECT_THAT(steps(read_events(at("three"))["dev/loss"]), ElementsAre(2));
  EXPECT_THAT(steps(read_events(at("four"))["dev/loss"]), ElementsAre(2, 4));
}

TEST_F(Tensorboard, IsWrittenOnlyWhereAskedForAndThenFromTheStart) {
  run_successfully({"train", at("whole/config.ini"), "--output", at("late"), "--tensorboard", "false"});
  EXPECT_FALSE(std::filesystem::exists(at("late/tensorboard")));
  one_step_more("late", 4);
  EXPECT_EQ(read_events(at("late")), logged(at("late")));
}

TEST_F(Tensorboard, OneOfSeveralRanksWritesIt) {
  if (!has_mpirun()) GTEST_SKIP() << "NOT TESTED: there is no mpirun";
  run_successfully({"train", at("whole/config.ini"), "--output", at("ranks")}, mpirun(2));
  EXPECT_EQ(read_events(at("ranks")), logged(at("ranks")));
}

// Both of TensorBoard's readers.
TEST_F(Tensorboard, TensorBoardShowsTheNumbersOfTheLog) {
  const char* variable = std::getenv("CHORUS_TENSORBOARD_PYTHON");
  const std::string python = variable != nullptr ? variable : CHORUS_TENSORBOARD_PYTHON;
  if (std::system(("'" + python + "' -c 'import tensorboard' 2> /dev/null").c_str()) != 0) {
    GTEST_SKIP() << "NOT TESTED: " << python << " has no TensorBoard; python3 -m venv build/tensorboard && "
                 << "build/tensorboard/bin/pip install tensorboard, or set CHORUS_TENSORBOARD_PYTHON";
  }
  for (const std::string output : {"whole", "three", "four"}) {
    const std::string command = "timeout 120 '" + python + "' " CHORUS_TENSORBOARD_READER " " + at(output) +
                                " > " + at("shown.json") + " 2> " + at("tensorboard.log");
    ASSERT_EQ(std::system(command.c_str()), 0) << read_text(at("tensorboard.log"));
    const auto shown = nlohmann::json::parse(read_text(at("shown.json")));
    for (const char* reader : {"python", "data server"}) {
      Series series;
      for (const auto& [tag, points] : shown.at(reader).items()) {
        EXPECT_EQ(points.size(), logged(at(output))[tag].size()) << "a step stands twice";
        for (const auto& point : points) series[tag][point.at(0)] = point.at(1);
      }
      EXPECT_EQ(series, logged(at(output))) << output << ", " << reader;
    }
  }
}

}  // namespace
}  // namespace chorus
