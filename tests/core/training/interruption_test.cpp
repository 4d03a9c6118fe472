#include "parallel/interruption.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "core/training/trainer.h"
#include "data/prompts/tokenizer.h"
#include "data/text/files.h"
#include "ops/cpu/cpu_backend.h"
#include "parallel/thread_communicator.h"
#include "tests/core/tiny_base.h"

namespace chorus {
namespace {

// What each rank does of its pieces of work, and whether it is told that the work was given up. Rank 1 is asked to stop
// at its question number `question`; 0: never.
struct Work {
  std::vector<int> done, interrupted;
};
Work work(const std::vector<int>& pieces, int tensor_size, int question) {
  const auto ranks = static_cast<int>(pieces.size());
  Work work{std::vector<int>(pieces.size()), std::vector<int>(pieces.size())};
  run_on_threads(ranks / tensor_size, tensor_size, [&](const Groups& groups) {
    CpuBackend backend(1);
    Arena arena(backend, 1 << 10, "test");
    const auto rank = static_cast<std::size_t>(groups.world.rank());
    int asked = 0;
    StopAgreement agreement([&] { return ++asked == question && rank == 1; }, groups, backend, arena);
    try {
      while (work.done[rank] < pieces[rank] && !agreement.stops()) ++work.done[rank];
      agreement.conclude();
    } catch (const Interrupted& interruption) {
      EXPECT_EQ(interruption.exit_code(), ExitCode::preempted);
      ++work.interrupted[rank];
    }
  });
  return work;
}

TEST(StopAgreement, WithoutARequestEveryRankDoesAllOfItsWork) {
  const Work all = work({2, 0, 5}, 1, 0);
  EXPECT_EQ(all.done, (std::vector{2, 0, 5}));
  EXPECT_EQ(all.interrupted, (std::vector{0, 0, 0}));
}

TEST(StopAgreement, WhatOneRankGivesUpIsGivenUpByAll) {
  const Work stopped = work({2, 4, 0}, 1, 4);
  EXPECT_EQ(stopped.done, (std::vector{2, 3, 0}));
  EXPECT_EQ(stopped.interrupted, (std::vector{1, 1, 1}));
}

TEST(StopAgreement, RanksOfATensorGroupStopBeforeTheSamePiece) {
  const Work stopped = work({6, 6, 3, 3}, 2, 3);
  EXPECT_EQ(stopped.done, (std::vector{2, 2, 3, 3}));
  EXPECT_EQ(stopped.interrupted, (std::vector{1, 1, 1, 1}));
}

struct Observer : TrainingObserver {
  void step_done(const StepReport& report, std::int64_t) override { losses.push_back(report.loss); }
  void evaluated(const TrainingState& state, const Evaluation& evaluation,
                 const DevVerdict& verdict) override {
    ends.push_back(verdict.ends_training);
    evaluations.emplace_back(state.step, evaluation.loss);
    if (after_evaluation) after_evaluation();
  }
  void evaluating(std::int64_t, std::int64_t) override {}
  std::vector<double> losses;
  std::vector<std::pair<std::int64_t, double>> evaluations;
  std::vector<bool> ends;
  std::function<void()> after_evaluation;
};

// One session of a training, as its first rank saw it.
struct Session {
  TrainingSummary summary;
  Observer seen;
  std::vector<int> asked;  // how often each rank was asked whether it should stop
};

class StoppedTraining : public testing::Test {
 protected:
  // Several micro-batches a step; ranks differ in their number.
  TrainConfig config(const std::string& output) const {
    TrainConfig config;
    config.output = scratch_ / output;
    config.lora.rank = 3;
    config.lora.dropout = 0.25;
    config.schedule.peak = 1e-2;
    config.batches.batch_size = 8;
    config.batches.tokens_per_microbatch = 24;
    config.max_steps = 4;
    config.eval_steps = 2;
    config.save_steps = 3;
    return config;
  }

  // Only `rank` is asked to stop, at its question number `question`; 0: never. Goes on where a former session ended.
  Session train(const TrainConfig& config, std::pair<int, int> grid, int rank, int question) {
    Session session;
    session.asked.resize(static_cast<std::size_t>(grid.first * grid.second));
    std::filesystem::create_directories(config.output);
    run_on_threads(grid.first, grid.second, [&](const Groups& groups) {
      CpuBackend backend(1);
      TimedGroups timed(groups);
      test::TinyModel tiny(test::tiny_config(), model_options(config, {}, test::tiny_config()), backend,
                           timed.groups(), config.batches.tokens_per_microbatch);
      int& asked = session.asked[static_cast<std::size_t>(groups.world.rank())];
      const bool signalled = groups.world.rank() == rank;
      Trainer trainer(
          config, {*base_, data_, dev_}, tiny.model,
          {timed, tiny.optimizer_arena, tiny.activations, [&] { return ++asked == question && signalled; }});
      if (const auto checkpoint = newest_checkpoint(config.output)) trainer.resume(*checkpoint);
      Observer observer;
      observer.after_evaluation = after_evaluation_;
      const TrainingSummary summary = trainer.run(observer);
      if (groups.world.rank() == 0) {
        session.summary = summary;
        session.seen = observer;
      }
    });
    return session;
  }

  std::string adapter(const TrainConfig& config) const {
    return test::read_bytes(std::filesystem::path(config.output) / "adapter_model.safetensors");
  }

  test::ScratchFolder scratch_;
  std::unique_ptr<BaseModel> base_ = test::write_tiny_base(scratch_);
  Dataset data_ = test::random_dataset(12, 37, 21), dev_ = test::random_dataset(6, 37, 22);
  std::function<void()> after_evaluation_;
};

// Nothing is said to be the result that is not there.
TEST_F(StoppedTraining, ABestModelThatIsLostMeanwhileIsAnError) {
  for (const std::int64_t save_steps : {3, 0}) {
    TrainConfig run = config(fmt::format("lost {}", save_steps));
    run.save_steps = save_steps;
    const std::filesystem::path best = std::filesystem::path(run.output) / "best";
    after_evaluation_ = [&] { remove_folder(best); };
    const std::string message = test::message_of<DataError>([&] { train(run, {1, 1}, 0, 0); });
    EXPECT_TRUE(test::holds(message, "the best model so far, that of step ")) << message;
    EXPECT_TRUE(test::holds(message, ", is not in " + best.string())) << message;
  }
}

// The checkpoint brings it back.
TEST_F(StoppedTraining, ABestModelThatIsLostBetweenTwoSessionsIsRestored) {
  const TrainConfig straight = config("straight");
  train(straight, {1, 1}, 0, 0);
  const TrainConfig stopped = config("stopped");
  const int last = train(config("counted"), {1, 1}, 0, 0).asked[0];
  ASSERT_TRUE(train(stopped, {1, 1}, 0, last).summary.interrupted);
  remove_folder(std::filesystem::path(stopped.output) / "best");
  train(stopped, {1, 1}, 0, 0);
  EXPECT_EQ(adapter(stopped), adapter(straight));
}

// Wherever the signal comes, in training or in scoring dev, and whichever rank gets it.
TEST_F(StoppedTraining, GoesOnBitForBitFromEveryPlaceOnEveryGridOfRanks) {
  for (const std::pair<int, int>& grid : {std::pair{1, 1}, {3, 1}, {1, 2}}) {
    const std::string name = fmt::format("{}x{}", grid.first, grid.second);
    const TrainConfig straight = config(name);
    const Session whole = train(straight, grid, 0, 0);
    ASSERT_TRUE(whole.summary.finished);
    ASSERT_EQ(whole.seen.evaluations.size(), 2U);
    const int questions = *std::ranges::max_element(whole.asked);
    ASSERT_GE(questions, 8) << "more than steps and evaluations";
    bool stopped_in_evaluation = false;
    for (int question = 1; question <= questions; ++question) {
      const TrainConfig run = config(fmt::format("{} stopped at {}", name, question));
      const int rank = question % (grid.first * grid.second);
      if (question > whole.asked[static_cast<std::size_t>(rank)]) continue;
      const Session first = train(run, grid, rank, question);
      EXPECT_TRUE(first.summary.interrupted && !first.summary.finished);
      EXPECT_TRUE(newest_checkpoint(run.output));
      stopped_in_evaluation = stopped_in_evaluation || first.summary.state.evaluation_due;
      const Session rest = train(run, grid, 0, 0);
      ASSERT_TRUE(rest.summary.finished);
      auto losses = first.seen.losses;
      losses.insert(losses.end(), rest.seen.losses.begin(), rest.seen.losses.end());
      EXPECT_EQ(losses, whole.seen.losses) << run.output;
      auto evaluations = first.seen.evaluations;
      evaluations.insert(evaluations.end(), rest.seen.evaluations.begin(), rest.seen.evaluations.end());
      EXPECT_EQ(evaluations, whole.seen.evaluations) << run.output;
      EXPECT_EQ(adapter(run), adapter(straight)) << run.output;
    }
    EXPECT_TRUE(stopped_in_evaluation);
  }
}

// A job that is preempted again and again still comes to its end.
TEST_F(StoppedTraining, SurvivesManySignalsOnManyRanks) {
  const TrainConfig straight = config("straight"), stopped = config("stopped");
  train(straight, {2, 1}, 0, 0);
  int sessions = 1;
  for (; !train(stopped, {2, 1}, sessions % 2, 5).summary.finished; ++sessions) ASSERT_LT(sessions, 50);
  EXPECT_GT(sessions, 2);
  EXPECT_EQ(adapter(stopped), adapter(straight));
}

// Nothing is learned, so that no scoring of dev is better than the first. A continuation has as little patience left as the
// run had that was stopped.
TEST_F(StoppedTraining, PatienceEndsItWhereverItWasStopped) {
  TrainConfig impatient = config("straight");
  impatient.schedule.peak = 0;
  impatient.max_steps = 8;
  impatient.eval_steps = 1;
  impatient.patience = 2;
  const Session whole = train(impatient, {1, 1}, 0, 0);
  EXPECT_TRUE(whole.summary.finished && whole.summary.stopped_early);
  EXPECT_EQ(whole.summary.state.step, 3);
  EXPECT_EQ(whole.summary.state.best_step, 1);
  EXPECT_EQ(whole.seen.ends, (std::vector<bool>{false, false, true}));
  for (int question = 1; question <= whole.asked[0]; ++question) {
    TrainConfig stopped = impatient;
    stopped.output = config(fmt::format("stopped at {}", question)).output;
    ASSERT_TRUE(train(stopped, {1, 1}, 0, question).summary.interrupted);
    const Session rest = train(stopped, {1, 1}, 0, 0);
    EXPECT_TRUE(rest.summary.finished && rest.summary.stopped_early) << question;
    EXPECT_EQ(rest.summary.state.step, 3) << question;
    EXPECT_EQ(adapter(stopped), adapter(impatient)) << question;
  }
  TrainConfig until_the_end = impatient;
  until_the_end.output = config("until the end").output;
  until_the_end.max_steps = 3;
  const Session ended = train(until_the_end, {1, 1}, 0, 0);
  EXPECT_TRUE(ended.summary.finished && !ended.summary.stopped_early) << "its last step was its end";
}

TEST_F(StoppedTraining, StartedAgainAfterItsEndChangesNothing) {
  TrainConfig run = config("run");
  run.save_steps = 4;
  train(run, {1, 1}, 0, 0);
  const std::string before = adapter(run);
  const Session again = train(run, {1, 1}, 0, 0);
  EXPECT_TRUE(again.summary.finished);
  EXPECT_EQ(again.summary.tokens, 0);
  EXPECT_EQ(adapter(run), before);
}

TEST_F(StoppedTraining, RemainsOfKilledProcessesGo) {
  const TrainConfig run = config("run");
  for (const char* name : {"checkpoint-2.part", "checkpoint-9.removed"}) {
    std::filesystem::create_directories(std::filesystem::path(run.output) / name);
    test::write_bytes(std::filesystem::path(run.output) / name / "adapter_model.safetensors", "half");
  }
  EXPECT_FALSE(newest_checkpoint(run.output)) << "what is not whole is no checkpoint";
  train(run, {1, 1}, 0, 0);
  for (const auto& entry : std::filesystem::directory_iterator(run.output)) {
    const std::string extension = entry.path().extension();
    EXPECT_TRUE(extension != ".part" && extension != ".removed") << entry.path();
  }
}

}  // namespace
}  // namespace chorus
