// What `chorus verify` says of files, and of the steps of a training on one rank and on several.

#include <cstring>
#include <filesystem>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/launch/shared_folder.h"

namespace chorus {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class VerifyCommand : public SharedFolderTest<VerifyCommand> {
 public:
  static void fill() {
    write_small_data(folder(), 6, 2, 2);
    train(at("adapter"), at("base"));
  }

 protected:
  static void train(const std::string& output, const std::string& base) {
    run_successfully({"train", "--base", base, "--data", at("data"), "--output", output, "--lora-rank", "2",
                      "--max-steps", "2", "--eval-steps", "0", "--device", "cpu"});
  }
  static void write_other_base(const std::string& name, const std::vector<std::string>& more) {
    run_successfully(joined(
        {"init", "--tokenizer", at("a.model"), "--hidden-size", "32", "--layers", "2", "--output", at(name)},
        more));
  }
  static Outcome verify(std::vector<std::string> arguments, const std::vector<std::string>& launcher = {}) {
    arguments.insert(arguments.begin(), "verify");
    return run_chorus(arguments, launcher);
  }
  // Of files, where one part of `parts` is refused for this reason.
  static void expect_refusal(const std::vector<std::string>& arguments, int parts,
                             const std::string& reason) {
    const Outcome outcome = verify(arguments);
    EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::data)) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr(reason));
    EXPECT_THAT(outcome.out, Not(HasSubstr("the files can be used")));
    EXPECT_EQ(outcome.err, fmt::format("chorus verify: error: 1 of {} parts cannot be used\n", parts));
  }
  // With the last bytes replaced.
  static void end_with(const std::string& path, const std::string& bytes) {
    std::string content = read_text(path);
    content.replace(content.size() - bytes.size(), bytes.size(), bytes);
    write_text(path, content);
  }
  // A safetensors file as a program writes it that knows of no hashes.
  static std::string without_metadata(const std::string& file) {
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), sizeof length);
    nlohmann::json header = nlohmann::json::parse(file.substr(sizeof length, length));
    header.erase("__metadata__");
    const std::string text = header.dump();
    const std::uint64_t new_length = text.size();
    return std::string(reinterpret_cast<const char*>(&new_length), sizeof new_length) + text +
           file.substr(sizeof length + length);
  }
  // All that a training of few steps needs to be compared.
  static std::vector<std::string> training(const std::vector<std::string>& more = {}) {
    return joined({"--base", at("base"), "--data", at("data"), "--lora-rank", "2", "--batch-size", "8",
                   "--device", "cpu", "--threads", "1", "--lora-dropout", "0.1", "--warmup-steps", "0"},
                  more);
  }
  static void expect_agreement(const std::vector<std::string>& arguments,
                               const std::vector<std::string>& launcher, const std::string& ranks) {
    const Outcome outcome = verify(arguments, launcher);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.out,
                AllOf(HasSubstr("the files can be used"), HasSubstr("with those of " + ranks),
                      ContainsRegex("\ngradients +[0-9.e-]+ +[0-9.e-]+ +holds +step [1-3], base_model"),
                      ContainsRegex("\ncopies on ranks +0 +0 +holds"),
                      HasSubstr("the steps are those of one rank, up to rounding")));
  }
};
class VerifyOnRanks : public VerifyCommand {
  void SetUp() override { skip_without_mpirun(); }
};

TEST_F(VerifyCommand, FilesThatCanBeUsed) {
  const Outcome outcome =
      verify({"--base", at("base"), "--adapter", at("adapter"), "--data", at("data"), "--steps", "0"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(ContainsRegex("^base +whole: 20 tensors, undamaged, finite\n"),
                    ContainsRegex("\nadapter +whole: 28 tensors, undamaged, finite, fits the base\n"),
                    ContainsRegex("\ndata: train +whole: [0-9,]+ samples, [0-9,]+ tokens, fits the base\n"),
                    ContainsRegex("\ndata: test +whole: "), HasSubstr("the files can be used")));
  EXPECT_THAT(verify({"--adapter", at("adapter")}).out, Not(HasSubstr("fits the base")));
  const Outcome nothing = verify({});
  EXPECT_EQ(nothing.exit_code, static_cast<int>(ExitCode::configuration));
  EXPECT_THAT(nothing.err, HasSubstr("nothing to verify: give --base, --adapter or --data"));
}

TEST_F(VerifyCommand, DamageIsRefused) {
  std::filesystem::copy(at("adapter"), at("flipped"), std::filesystem::copy_options::recursive);
  const std::string weights = at("flipped/adapter_model.safetensors");
  const char last = read_text(weights).back();
  end_with(weights, {static_cast<char>(last ^ 1)});
  expect_refusal({"--base", at("base"), "--adapter", at("flipped")}, 2,
                 "REFUSED: " + weights + ": the tensor ");
  std::filesystem::copy(at("data"), at("flipped data"));
  std::string split = read_text(at("flipped data/dev.h5"));
  split.resize(split.size() - 1);
  write_text(at("flipped data/dev.h5"), split);
  expect_refusal({"--data", at("flipped data")}, 4, "REFUSED: " + at("flipped data/dev.h5"));
}

// A base of another program has no hashes that would tell.
TEST_F(VerifyCommand, AWeightThatIsNoNumberIsRefused) {
  std::filesystem::copy(at("base"), at("foreign"));
  const std::string weights = at("foreign/model.safetensors");
  write_text(weights, without_metadata(read_text(weights)));
  const Outcome outcome = verify({"--base", at("foreign")});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("finite; of another program, without hashes"));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  end_with(weights, {reinterpret_cast<const char*>(&nan), sizeof nan});
  expect_refusal({"--base", at("foreign"), "--data", at("data"), "--steps", "0"}, 5,
                 "REFUSED: " + weights + ": the tensor model.norm.weight holds numbers that are not finite");
}

TEST_F(VerifyCommand, AnAdapterOfAnotherBaseIsRefused) {
  write_other_base("wider", {"--intermediate-size", "48"});
  expect_refusal({"--base", at("wider"), "--adapter", at("adapter")}, 2, "REFUSED: ");
  write_other_base("other seed", {"--seed", "7"});
  expect_refusal({"--base", at("other seed"), "--adapter", at("adapter")}, 2,
                 "the shapes are the same, the weights or their precision are not");
}

TEST_F(VerifyCommand, StepsOfOneRankAreThoseOfSamplesApart) {
  expect_agreement(training({"--recompute"}), {}, "1 rank = data 1 x tensor 1");
  expect_agreement(training({"--precision", "bf16", "--steps", "2"}), {}, "1 rank = data 1 x tensor 1");
  write_text(at("run.ini"), "base = " + at("base") + "\ndata = " + at("data") + "\noutput = " + at("run") +
                                "\nmethod = lora\neval-steps = 2\ndevice = cpu\n");
  expect_agreement({at("run.ini"), "--adapter", at("adapter")}, {}, "1 rank = data 1 x tensor 1");
  EXPECT_FALSE(std::filesystem::exists(at("run"))) << "nothing is written";
}

TEST_F(VerifyCommand, ATrainingThatOneRankCannotHoldIsRefused) {
  const Outcome outcome = verify(training({"--lora-rank", "100000000"}));
  EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::memory)) << outcome.out;
  EXPECT_THAT(outcome.err,
              ContainsRegex("one rank alone, with which this grid is compared, needs [0-9]+ bytes of "
                            "memory, and [0-9]+ are free on host "));
}

TEST_F(VerifyOnRanks, StepsAreThoseOfOneRank) {
  expect_agreement(training(), mpirun(2), "2 ranks = data 2 x tensor 1");
  expect_agreement(training({"--tensor-parallel", "2"}), mpirun(2), "2 ranks = data 1 x tensor 2");
  expect_agreement(training({"--tensor-parallel", "2", "--sequence-parallel", "--adapter", at("adapter")}),
                   mpirun(2), "2 ranks = data 1 x tensor 2");
}

TEST_F(VerifyOnRanks, ATrainingThatChecksItsReplicasIsAnyOther) {
  const auto adapter = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> arguments =
        training({"--output", at(name), "--max-steps", "4", "--eval-steps", "2", "--tensor-parallel", "2"});
    arguments.insert(arguments.begin(), "train");
    arguments.insert(arguments.end(), more.begin(), more.end());
    run_successfully(arguments, mpirun(2));
    return read_text(at(name + "/adapter_model.safetensors"));
  };
  EXPECT_EQ(adapter("checked", {"--check-replicas", "1"}), adapter("unchecked", {}));
}

}  // namespace
}  // namespace chorus
