#include "experiments/studies/study_plan.h"

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::holds;
using test::message_of;

Study study_of(const std::string& rows) {
  return Study::parse(
      R"({"name": "s", "title": "T", "corpora": ["meld", "emorynlp"], "seeds": [1, 2],
          "prepare": {"recipe": "window"}, "train": {"epochs": 3}, "rows": [)" +
          rows + "]}",
      "s.json", "/studies");
}

StudyRequest request_for(std::map<std::string, std::string> inputs) {
  StudyRequest request;
  request.base = "/base";
  request.inputs = std::move(inputs);
  request.output = "/out";
  return request;
}

// The plan as names of jobs with the numbers of those that they need.
std::vector<std::string> names(const StudyPlan& plan) {
  std::vector<std::string> out;
  for (const Job& job : plan.jobs) {
    std::string line = job.name;
    for (const std::size_t needed : job.after) line += fmt::format(" {}", needed);
    out.push_back(std::move(line));
  }
  return out;
}

// Without the hash.
std::string stem(const std::string& name) { return name.substr(0, name.rfind('-')); }

TEST(StudyPlan, PreparesOnceTrainsPerSeedAndEvaluatesEach) {
  const StudyPlan plan = plan_study(study_of(R"({"name": "a"}, {"name": "b", "train": {"lora-rank": 4}})"),
                                    request_for({{"meld", "/meld"}}));
  const auto jobs = names(plan);
  ASSERT_EQ(jobs.size(), 9U);
  EXPECT_EQ(stem(jobs[0]), "data/meld-window");
  EXPECT_EQ(jobs[1], "runs/a/meld/seed-1/train 0");
  EXPECT_EQ(jobs[2], "runs/a/meld/seed-1/evaluate 0 1");
  EXPECT_EQ(jobs[3], "runs/a/meld/seed-2/train 0");
  EXPECT_EQ(jobs[8], "runs/b/meld/seed-2/evaluate 0 7");
  const std::string data = (plan.jobs[0].folder / "output").string();
  EXPECT_EQ(plan.jobs[0].arguments,
            (std::vector<std::string>{"prepare", "/meld", "--corpus", "meld", "--base", "/base", "--recipe",
                                      "window", "--output", data}));
  EXPECT_EQ(
      plan.jobs[7].arguments,
      (std::vector<std::string>{"train", "--base", "/base", "--data", data, "--seed", "2", "--epochs", "3",
                                "--lora-rank", "4", "--output", "/out/runs/b/meld/seed-2/train/output"}));
  EXPECT_EQ(plan.jobs[8].arguments,
            (std::vector<std::string>{"evaluate", "--base", "/base", "--adapter",
                                      "/out/runs/b/meld/seed-2/train/output", "--data", data,
                                      "--compare-base", "off", "--split", "test", "--output",
                                      "/out/runs/b/meld/seed-2/evaluate/output"}));
  ASSERT_EQ(plan.scores.size(), 4U);
  EXPECT_EQ(plan.scores[3].row, 1U);
  EXPECT_EQ(plan.scores[3].seed, 2U);
  EXPECT_EQ(plan.scores[3].job, 8U);
  EXPECT_EQ(plan.left_out, std::vector<std::string>{"emorynlp: no --corpus emorynlp=DIR is given"});
}

TEST(StudyPlan, WhatIsNotTrainedIsEvaluatedOnce) {
  const StudyPlan plan =
      plan_study(study_of(R"({"name": "a", "train": false})"), request_for({{"meld", "/meld"}}));
  ASSERT_EQ(plan.jobs.size(), 2U);
  EXPECT_EQ(plan.jobs[1].name, "runs/a/meld/evaluate");
  EXPECT_EQ(std::ranges::count(plan.jobs[1].arguments, "--adapter"), 0);
  EXPECT_EQ(plan.scores.at(0).seed, std::nullopt);
}

TEST(StudyPlan, StagesHandTheirAdapterOnAndAreShared) {
  const std::string stage = R"("stages": [{"prepare": {"recipe": "speaker"}, "train": {"epochs": 1}}])";
  StudyRequest request = request_for({{"meld", "/meld"}});
  request.seeds = {7};
  const StudyPlan plan = plan_study(study_of(R"({"name": "a", )" + stage + R"(}, {"name": "b", )" + stage +
                                             R"(, "prepare": {"history": 1}})"),
                                    request);
  const auto jobs = names(plan);
  ASSERT_EQ(jobs.size(), 8U);
  EXPECT_EQ(stem(jobs[0]), "data/meld-speaker");
  EXPECT_EQ(stem(plan.jobs[1].name), "stages/meld-seed-7");
  EXPECT_EQ(stem(jobs[2]), "data/meld-window");
  EXPECT_EQ(jobs[3], "runs/a/meld/seed-7/train 2 1");
  EXPECT_EQ(jobs[6], "runs/b/meld/seed-7/train 5 1");
  const auto& arguments = plan.jobs[6].arguments;
  const auto adapter = std::ranges::find(arguments, "--adapter");
  ASSERT_NE(adapter, arguments.end());
  EXPECT_EQ(*(adapter + 1), plan.jobs[1].folder / "output");
}

TEST(StudyPlan, AllWeightsBecomeTheNextBase) {
  StudyRequest request = request_for({{"meld", "/meld"}});
  request.seeds = {1};
  const StudyPlan plan = plan_study(study_of(R"({"name": "a", "train": {"method": "full"}})"), request);
  const auto& arguments = plan.jobs.back().arguments;
  EXPECT_EQ(arguments[1], "--base");
  EXPECT_EQ(arguments[2], "/out/runs/a/meld/seed-1/train/output");
  EXPECT_EQ(std::ranges::count(arguments, "--adapter"), 0);
}

TEST(StudyPlan, MixedRowsHaveOneDataSetAndAScorePerCorpus) {
  StudyRequest request = request_for({{"meld", "/m"}, {"emorynlp", "/e"}});
  request.seeds = {1};
  const StudyPlan plan = plan_study(study_of(R"({"name": "a", "mixed": true})"), request);
  ASSERT_EQ(plan.jobs.size(), 3U);
  EXPECT_EQ(std::vector<std::string>(plan.jobs[0].arguments.begin(), plan.jobs[0].arguments.begin() + 5),
            (std::vector<std::string>{"prepare", "meld=/m", "emorynlp=/e", "--corpus", "mixed"}));
  ASSERT_EQ(plan.scores.size(), 2U);
  EXPECT_EQ(plan.scores[1].corpus, "emorynlp");
  EXPECT_EQ(plan.scores[1].job, 2U);

  const auto refused = [&] {
    plan_study(study_of(R"({"name": "a", "mixed": true})"), request_for({{"meld", "/m"}}));
  };
  EXPECT_TRUE(holds(message_of<ConfigurationError>(refused), "a: mixes corpora, but only meld is given"));
}

TEST(StudyPlan, TheUsersOptionsWin) {
  StudyRequest request = request_for({{"meld", "/meld"}});
  request.seeds = {1};
  request.prepare = {{"recipe", std::nullopt}};
  request.train = {{"epochs", "1"}};
  request.evaluate = {{"split", "dev"}};
  const StudyPlan plan = plan_study(study_of(R"({"name": "a", "train": {"epochs": 9}})"), request);
  EXPECT_EQ(stem(plan.jobs[0].name), "data/meld-default");
  EXPECT_EQ(std::ranges::count(plan.jobs[1].arguments, "9"), 0);
  EXPECT_EQ(std::ranges::count(plan.jobs[1].arguments, "1"), 2);  // seed, epochs
  EXPECT_EQ(std::ranges::count(plan.jobs[2].arguments, "dev"), 1);
}

TEST(StudyPlan, PlaceholdersAreFilledOrTheRowIsLeftOut) {
  const Study study = study_of(
      R"({"name": "a", "prepare": {"captions": "{captions}/{corpus}.jsonl", "fraction-seed": "{seed}"}},
                  {"name": "b"})");
  StudyRequest request = request_for({{"meld", "/meld"}});
  const StudyPlan without = plan_study(study, request);
  EXPECT_EQ(without.left_out.at(1), "a, meld: needs --value captions=...");
  EXPECT_EQ(without.jobs.size(), 5U);
  request.values = {{"captions", "/c"}};
  const StudyPlan with = plan_study(study, request);
  EXPECT_EQ(with.jobs.size(), 11U);  // a data set for each seed of row a
  EXPECT_EQ(std::ranges::count(with.jobs[0].arguments, "/c/meld.jsonl"), 1);
  EXPECT_EQ(std::ranges::count(with.jobs[3].arguments, "2"), 1);
}

TEST(StudyPlan, RefusesWhatTheStudyDoesNotHave) {
  const Study study = study_of(R"({"name": "window-1"}, {"name": "plain"})");
  StudyRequest request = request_for({{"meld", "/meld"}});
  request.rows = {"plian"};
  EXPECT_TRUE(holds(message_of<ConfigurationError>([&] { plan_study(study, request); }),
                    "the study has no row 'plian'; did you mean 'plain'?"));
  request.rows = {"plain"};
  EXPECT_EQ(plan_study(study, request).jobs.size(), 5U);
  EXPECT_TRUE(holds(message_of<ConfigurationError>([&] {
                      plan_study(study, request_for({{"medl", "/meld"}}));
                    }),
                    "the study has no corpus 'medl'; did you mean 'meld'?"));
  EXPECT_TRUE(holds(message_of<ConfigurationError>([&] { plan_study(study, request_for({})); }),
                    "--corpus meld=DIR"));
}

TEST(ShellLine, QuotesWhatAShellWouldRead) {
  EXPECT_EQ(shell_line(std::vector<std::string>{"a", "b c", "it's", "", "x=1/4"}),
            R"(a 'b c' 'it'\''s' '' x=1/4)");
}

// What the base computes while data are prepared, it computes as in evaluate, on ranks, and once for all data.
TEST(StudyPlan, RetrievalByVectorsRunsLikeEvaluate) {
  StudyRequest request = request_for({{"meld", "/meld"}});
  request.evaluate = {{"precision", "bf16"}, {"tensor-parallel", "2"}, {"split", "dev"}};
  const StudyPlan plan =
      plan_study(study_of(R"({"name": "a", "train": false}, {"name": "b", "train": false, "prepare": )"
                          R"({"recipe": "retrieval", "demonstrations": 1, "retrieval": "embedding"}})"),
                 request);
  const auto is_of = [](const char* recipe) {
    return [recipe](const Job& job) {
      return job.kind == JobKind::prepare && std::ranges::count(job.arguments, recipe) == 1;
    };
  };
  const auto vectors = std::ranges::find_if(plan.jobs, is_of("retrieval"));
  ASSERT_NE(vectors, plan.jobs.end());
  EXPECT_TRUE(vectors->on_ranks);
  const std::string line = shell_line(vectors->arguments);
  EXPECT_TRUE(holds(line, "--precision bf16 ")) << line;
  EXPECT_TRUE(holds(line, "--tensor-parallel 2 ")) << line;
  EXPECT_TRUE(holds(line, "--vectors " + (request.output / "vectors").string())) << line;
  EXPECT_FALSE(holds(line, "--split")) << line;
  const auto plain =
      std::ranges::find_if(plan.jobs, [](const Job& job) { return job.kind == JobKind::prepare; });
  EXPECT_FALSE(plain->on_ranks);
  EXPECT_FALSE(holds(shell_line(plain->arguments), "--precision"));
}

}  // namespace
}  // namespace chorus
