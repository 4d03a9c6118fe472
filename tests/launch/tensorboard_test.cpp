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
#include "tests/launch/shared_folder.h"
#include "tests/support/source_folder.h"

namespace chorus {
namespace {

using testing::ElementsAre;

// [tag][step]
using Series = std::map<std::string, std::map<std::int64_t, float>>;

// A run of six steps; the same, gone on with after step 2 and stopped after step 3; and that one after step 4.
class Tensorboard : public SharedFolderTest<Tensorboard> {
 public:
  static void fill() {
    write_tiny_data(folder());
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

 protected:
  static void one_step_more(const std::string& output, int step) {
    const Outcome outcome =
        run_chorus({"train", at("whole/config.ini"), "--output", at(output), "--resume",
                    at(output + "/checkpoint-" + std::to_string(step)), "--max-time", "1e-6"});
    ASSERT_EQ(outcome.exit_code, static_cast<int>(ExitCode::preempted)) << outcome.err;
  }
};

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

// docs/trackers.py, which wants Python alone: MLflow's store on the disk, and what Weights & Biases is told.
TEST_F(Tensorboard, OtherTrackersGetTheNumbersOfTheLog) {
  if (std::system("command -v python3 > /dev/null") != 0) GTEST_SKIP() << "NOT TESTED: there is no python3";
  const std::string script = "python3 '" + (source_folder() / "docs/trackers.py").string() + "' ";
  const auto convert = [&](const std::string& arguments) {
    return std::system((script + arguments + " > " + at("converted.txt") + " 2>&1").c_str());
  };
  std::filesystem::copy(at("whole"), at("cut"), std::filesystem::copy_options::recursive);
  write_text(at("cut/trainer_log.jsonl"), read_text(at("whole/trainer_log.jsonl")) + "{\"current_st");
  for (const std::string run : {"whole", "three", "cut"}) {
    const std::string store = at("store of " + run);
    // Twice, as during a training and after it.
    for (int time = 0; time < 2; ++time)
      ASSERT_EQ(convert("mlflow '" + at(run) + "' --store '" + store + "'"), 0)
          << read_text(at("converted.txt"));
    EXPECT_EQ(read_text(at("converted.txt")).find("the last line is cut") != std::string::npos, run == "cut");
    std::vector<std::filesystem::path> runs;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(store)) {
      if (entry.path().filename() == "metrics") runs.push_back(entry.path().parent_path());
    }
    ASSERT_EQ(runs.size(), 1U);
    Series series;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(runs[0] / "metrics")) {
      if (!entry.is_regular_file()) continue;
      std::istringstream lines(read_text(entry.path().string()));
      std::int64_t time = 0, step = 0;
      for (double value = 0; lines >> time >> value >> step;)
        series[entry.path().lexically_relative(runs[0] / "metrics").string()][step] =
            static_cast<float>(value);
    }
    EXPECT_EQ(series, logged(at(run == "cut" ? "whole" : run)));
    EXPECT_EQ(read_text((runs[0] / "params/seed").string()), "42");
    EXPECT_NE(
        read_text((runs[0] / "meta.yaml").string()).find(run == "three" ? "status: 5\n" : "status: 3\n"),
        std::string::npos)
        << "killed, or finished";
  }
  write_text(at("stub/wandb.py"), R"(import json, types
class Run:
    def __init__(self, **given): self.told, self.summary, self.given = [], {}, given
    def log(self, values, step): self.told.append([step, values])
    def finish(self): json.dump([self.given, self.told, self.summary], open('told.json', 'w'))
init = Run
)");
  ASSERT_EQ(std::system(("cd '" + at("stub") + "' && PYTHONPATH=. " + script + "wandb '" + at("whole") +
                         "' > out.txt 2>&1")
                            .c_str()),
            0)
      << read_text(at("stub/out.txt"));
  const auto told = nlohmann::json::parse(read_text(at("stub/told.json")));
  EXPECT_EQ(told.at(0).at("mode"), "offline");
  EXPECT_EQ(told.at(0).at("config").at("seed"), "42");
  EXPECT_EQ(told.at(2).at("finished"), true);
  Series series;
  std::int64_t former = 0;
  for (const auto& entry : told.at(1)) {
    EXPECT_GT(entry.at(0), former) << "steps only rise";
    former = entry.at(0);
    for (const auto& [tag, value] : entry.at(1).items()) series[tag][former] = value;
  }
  EXPECT_EQ(series, logged(at("whole")));
  write_text(at("cut/trainer_log.jsonl"), "{\"current_st\n{\"current_steps\": 1}\n");
  EXPECT_NE(convert("mlflow '" + at("cut") + "' --store '" + at("store of damage") + "'"), 0);
  EXPECT_NE(read_text(at("converted.txt")).find("trainer_log.jsonl:1: is not valid JSON"), std::string::npos);
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
