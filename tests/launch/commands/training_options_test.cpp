#include "launch/commands/training_options.h"

#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/training/run_identity.h"
#include "experiments/studies/job.h"
#include "launch/commands/model_setup.h"
#include "tests/launch/program.h"
#include "tests/support/message_of.h"

namespace chorus {
namespace {

// Options of `train` that leave its results as they are: a run may be resumed with others.
const std::set<std::string> changes_nothing{
    // Which device and how many ranks and threads compute, and what of the work each of them does.
    "device", "tensor-parallel", "threads", "sequence-parallel", "overlap-chunks", "recompute",
    // Rounding: the order in which gradients of samples are added.
    "tokens-per-microbatch", "prefix-sharing",
    // What is written, when, and for how long.
    "output", "resume", "logging-steps", "save-steps", "save-total-limit", "max-time", "hang-limit",
    "log-tensor-norms", "tensorboard",
    // Allows a continuation another number of steps, which is in the identity.
    "extend",
    // What is looked at.
    "check-replicas"};
// Those that are compared by what they name, in TrainCommand.ARunOfAnotherKindIsNotResumed.
const std::set<std::string> by_content{"base", "data", "adapter"};

TEST(ComputationOptions, AreThoseThatStudiesPassOn) {
  ModelOptions model;
  RuntimeOptions runtime;
  OptionTable table("any", "");
  table.group("computation");
  add_computation(table, model, runtime);
  EXPECT_THAT(table.names_in("computation"), testing::UnorderedElementsAreArray(options_of_computation));
}

class TrainingOptions : public testing::Test {
 protected:
  TrainingOptions() {
    write_tiny_data(folder_);
    base_.emplace(folder_ / "base");
    data_ = Dataset::read(folder_ / "data/train.h5");
    dev_ = Dataset::read(folder_ / "data/dev.h5");
    data_.features = {.width = 1, .values = {0}};
  }

  // Of a training with these arguments; nothing where they cannot be read.
  std::optional<nlohmann::ordered_json> identity_with(const std::vector<std::string>& more) const {
    TrainConfig config;
    RuntimeOptions runtime;
    OptionTable table("train", "");
    add_training(table, config, runtime);
    std::vector<std::string> arguments{"--base", "b", "--data", "d", "--output", "o"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    constexpr std::int64_t steps_per_epoch = 40;
    try {
      if (!table.parse(arguments)) return std::nullopt;
      return run_identity(config, {*base_, data_, dev_},
                          make_schedule(config.schedule, total_steps(config, Epochs({steps_per_epoch}, 1))),
                          config.eval_steps.value_or(steps_per_epoch));
    } catch (const ConfigurationError&) {
      return std::nullopt;
    }
  }

  std::set<std::string> names() const {
    TrainConfig config;
    RuntimeOptions runtime;
    OptionTable table("train", "");
    add_training(table, config, runtime);
    std::set<std::string> names;
    std::istringstream lines(table.print_effective());
    for (std::string line; std::getline(lines, line);) {
      const std::size_t end = line.find(" =");
      if (end != std::string::npos && !line.starts_with("#") && !line.starts_with("["))
        names.insert(line.substr(line.find_first_not_of("# "), end - line.find_first_not_of("# ")));
    }
    return names;
  }

  TemporaryFolder folder_;
  std::optional<BaseModel> base_;
  Dataset data_, dev_;
};

// A new option is either in the identity of a run or on the list above.
TEST_F(TrainingOptions, ChangeTheIdentityOfARunOrItsResultsNot) {
  const nlohmann::ordered_json usual = *identity_with({});
  std::set<std::string> unseen;
  for (const std::string& name : names()) {
    bool is_read = false, is_seen = false;
    for (const std::string value :
         {"7", "0.5", "on", "off", "bf16", "linear", "full", "q", "cpu", "nf4", "loss"}) {
      const auto identity = identity_with({"--" + name + "=" + value});
      is_read |= identity.has_value();
      is_seen |= identity && *identity != usual;
    }
    EXPECT_TRUE(is_read) << name << ": no value of the test can be read";
    if (!is_seen) unseen.insert(name);
  }
  std::set<std::string> expected = changes_nothing;
  expected.insert(by_content.begin(), by_content.end());
  EXPECT_EQ(unseen, expected);
}

// Their text is shortest where it is printed, however it was given.
TEST_F(TrainingOptions, TargetsAreReadInPlace) {
  TrainConfig config;
  OptionTable table("train", "");
  add_adapters(table, config.lora);
  EXPECT_THAT(table.help(), testing::HasSubstr("--lora-targets TEXT"));
  ASSERT_TRUE(table.parse({}));
  EXPECT_FALSE(table.changed("lora-targets"));
  ASSERT_TRUE(table.parse({"--lora-targets", "v_proj,q"}));
  EXPECT_EQ(config.lora.targets, (std::vector{Projection::q, Projection::v}));
  EXPECT_TRUE(table.changed("lora-targets"));
  EXPECT_THAT(table.print_effective(), testing::HasSubstr("\nlora-targets = q,v\n"));
  EXPECT_EQ(test::message_of<ConfigurationError>([&] {
              static_cast<void>(table.parse({"--lora-targets", "q,z"}));
            }),
            "--lora-targets q,z: \"z\" is no projection; there are q, k, v, o, gate, up, down and all");
}

}  // namespace
}  // namespace chorus
