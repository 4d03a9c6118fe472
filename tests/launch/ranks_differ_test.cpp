// Ranks that do not have the same, as on machines with disks of their own.

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/launch/shared_folder.h"

namespace chorus {
namespace {

using testing::HasSubstr;

class RanksDiffer : public SharedFolderTest<RanksDiffer> {
 public:
  static void fill() { write_small_data(folder(), 6, 3, 3); }

 protected:
  void SetUp() override { skip_without_mpirun(); }

  static std::vector<std::string> training(const std::string& output,
                                           const std::vector<std::string>& more = {}) {
    return joined(small_training(output, {"--device", "cpu", "--max-steps", "4", "--eval-steps", "2"}), more);
  }
  // Two ranks, of which the second does this with its words, $@, before it begins.
  static std::vector<std::string> ranks_with(const std::string& change) {
    return joined(
        mpirun(2),
        {"bash", "-c", "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then " + change + "; fi; exec \"$@\"", "bash"});
  }
  static void expect_refusal(const std::vector<std::string>& arguments, const std::string& change,
                             const std::string& message) {
    const Outcome outcome = run_chorus(arguments, ranks_with(change));
    EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::configuration)) << change << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(message)) << change;
    EXPECT_THAT(outcome.err, HasSubstr("all ranks must have the same")) << change;
  }
};

TEST_F(RanksDiffer, InAnOption) {
  const auto in = [](const std::string& option, const std::string& value, const std::string& tensor_ranks) {
    expect_refusal(training("o", {"--tensor-parallel", tensor_ranks}),
                   "set -- \"$@\" --" + option + " " + value,
                   ") has " + option + " " + value + ", rank 0 (host ");
  };
  in("learning-rate", "0.5", "1");
  in("max-steps", "3", "1");
  in("save-steps", "1", "1");
  in("device", "auto", "1");
  in("tokens-per-microbatch", "300", "1");
  in("seed", "3", "2");
  in("lora-rank", "4", "2");
  expect_refusal(training("o"), "set -- \"$@\" --tensor-parallel 2",
                 ") has tensor-parallel 2, rank 0 (host ");
  EXPECT_FALSE(std::filesystem::exists(at("o"))) << "nothing is written before ranks are compared";
}

TEST_F(RanksDiffer, InWhatTheyRead) {
  run_successfully({"init", "--tokenizer", at("base/tokenizer.model"), "--seed", "7", "--hidden-size", "32",
                    "--layers", "2", "--query-heads", "4", "--key-value-heads", "2", "--head-width", "8",
                    "--output", at("base of rank 1")});
  const auto other = [](const std::string& name) {
    return "set -- \"${@/" + name + "/" + name + " of rank 1}\"";
  };
  const std::string base = at("base"), data = at("data");
  const auto renamed = [](const std::string& path) {
    std::string pattern;
    for (const char c : path) pattern += c == '/' ? std::string("\\/") : std::string(1, c);
    return pattern;
  };
  expect_refusal(training("o"), other(renamed(base)), ") has content of the base ");
  std::filesystem::copy(data, data + " of rank 1");
  std::filesystem::copy_file(data + "/dev.h5", data + " of rank 1/train.h5",
                             std::filesystem::copy_options::overwrite_existing);
  expect_refusal(training("o"), other(renamed(data)), ") has content of the data ");
  std::filesystem::copy_file(data + "/train.h5", data + " of rank 1/train.h5",
                             std::filesystem::copy_options::overwrite_existing);
  std::filesystem::remove(data + " of rank 1/dev.h5");
  expect_refusal(training("o"), other(renamed(data)), ") has content of dev none, rank 0 (host ");
  EXPECT_FALSE(std::filesystem::exists(at("o")));
  // The same under another name is the same.
  std::filesystem::copy(base, at("moved"));
  run_successfully(training("o"),
                   ranks_with("set -- \"${@/" + renamed(base) + "/" + renamed(at("moved")) + "}\""));

  const std::vector<std::string> evaluate{"evaluate", "--base", base,        "--data", data,
                                          "--split",  "dev",    "--threads", "1"};
  expect_refusal(evaluate, other(renamed(base)), ") has content of the base ");
  expect_refusal(evaluate, "set -- \"$@\" --tokens-per-microbatch 300", ") has tokens-per-microbatch 300");
  expect_refusal({"generate", "--base", base, "a b"}, "set -- \"${@/a b/c}\"",
                 ") has prompt c, rank 0 (host ");
}

// Only the first rank writes, so that only it has a checkpoint where the output is on a disk of its own.
TEST_F(RanksDiffer, InTheCheckpoint) {
  const auto stop_a_run = [](const std::string& output, const std::string& seed) {
    const Outcome outcome =
        run_chorus(training(output, {"--max-time", "0.000001", "--seed", seed}), mpirun(2));
    EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::preempted)) << outcome.err;
  };
  stop_a_run("own disk", "42");
  expect_refusal(training("own disk", {"--resume", "auto"}), "set -- \"${@/own disk/own disk of rank 1}\"",
                 ") has the checkpoint none, rank 0 (host ");
  stop_a_run("own disk of rank 1", "7");
  expect_refusal(training("own disk", {"--resume", "auto"}), "set -- \"${@/own disk/own disk of rank 1}\"",
                 ") has the checkpoint checkpoint-1 with content ");
}

}  // namespace
}  // namespace chorus
