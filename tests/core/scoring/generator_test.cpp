#include "core/scoring/generator.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>

#include <gtest/gtest.h>

#include "core/formats/new_base.h"
#include "core/planning/memory_plan.h"
#include "ops/cpu/cpu_backend.h"
#include "parallel/thread_communicator.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"

namespace chorus {
namespace {

using test::holds;
using Answers = std::vector<std::vector<std::int32_t>>;

const Answers prompts{{1, 5, 6}, {1, 9, 30, 12, 7}, {1, 20}};

// What a tiny model with adapters answers on two tensor ranks; `change` may alter its adapters.
Answers answers_of(GenerateOptions options, const std::function<void(ParameterSet&)>& change = {}) {
  Answers answers;
  run_on_threads(1, 2, [&](const Groups& groups) {
    CpuBackend backend(1);
    ModelOptions model;
    model.lora = test::tiny_lora(0);
    ModelConfig config = test::tiny_config();
    config.eos = {};
    test::TinyModel tiny(config, model, backend, groups);
    if (change) change(tiny.model.parameters());
    options.max_new_tokens = 8;
    const GenerationLimits limits = generation_limits(prompts, options, config);
    const PassLimits passes{
        .tokens = limits.prompt_tokens, .cached_sequences = limits.sequences, .cached_length = limits.length};
    Arena arena(backend, plan_memory(config, model, groups.grid, passes).activations, "activation");
    const Answers found = generate(tiny.model, prompts, options, arena, {});
    if (groups.world.rank() == 0) answers = found;
  });
  return answers;
}

TEST(Generate, AnEndThatOnlyTheTokenizerKnowsEndsAnAnswer) {
  const Answers whole = answers_of({});
  ASSERT_EQ(whole[1].size(), 8U);
  const std::int32_t end = whole[1][4];
  GenerateOptions options;
  options.ends = {end};
  const Answers ended = answers_of(options);
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    const auto stop = std::find(whole[p].begin(), whole[p].end(), end);
    EXPECT_EQ(ended[p], std::vector<std::int32_t>(whole[p].begin(), stop)) << "prompt " << p;
  }
}

TEST(Generate, RowsWithoutAPieceAreNeverTaken) {
  std::int32_t largest = 0;
  for (const auto& answer : answers_of({})) largest = std::max(largest, *std::ranges::max_element(answer));
  GenerateOptions options;
  options.pieces = largest;
  for (const auto& answer : answers_of(options)) {
    EXPECT_EQ(answer.size(), 8U);
    for (const std::int32_t token : answer) EXPECT_LT(token, largest);
  }
}

TEST(Generate, DrawsAsTheTemperatureSaysAndTheSeedDecides) {
  const Answers best = answers_of({});
  EXPECT_EQ(answers_of({.temperature = 1e-6}), best) << "nearly cold";
  const Answers drawn = answers_of({.temperature = 1, .seed = 3});
  EXPECT_NE(drawn, best);
  EXPECT_EQ(answers_of({.sequences_at_once = 2, .temperature = 1, .seed = 3}), drawn)
      << "whatever is decoded together";
  EXPECT_NE(answers_of({.temperature = 1, .seed = 4}), drawn);
  GenerateOptions few{.pieces = 20, .temperature = 1e6};
  std::set<std::int32_t> tokens;
  for (few.seed = 0; few.seed < 12; ++few.seed) {
    for (const auto& answer : answers_of(few)) tokens.insert(answer.begin(), answer.end());
  }
  EXPECT_EQ(tokens.size(), 20U) << "all alike where it is hot, and no others";
}

TEST(Generate, ScoresThatAreNotFiniteAreRefused) {
  const auto spoil = [](ParameterSet& parameters) {
    Parameter& parameter = parameters.all().front();
    std::vector<float> values(static_cast<std::size_t>(parameter.full.elements()), 0.5F);
    values[1] = std::numeric_limits<float>::quiet_NaN();
    parameters.assign(parameter, values);
  };
  GenerateOptions options;
  EXPECT_TRUE(holds(test::message_of<DataError>([&] { answers_of(options, spoil); }),
                    "prompt 0: the scores of the next token are not finite: a weight of the base"));
  options.name_of_prompt = [](std::int64_t prompt) { return fmt::format("line {}", 10 + prompt); };
  EXPECT_TRUE(holds(test::message_of<DataError>([&] { answers_of(options, spoil); }), "line 10: "));
}

class AnswerEndsTest : public testing::Test {
 protected:
  AnswerEndsTest() {
    std::ofstream text(folder_ / "text.txt");
    for (int i = 0; i < 40; ++i)
      text << "the rain in spain stays mainly in the plain, number " << i * i << "\n";
    text.close();
    train_tokenizer({{folder_ / "text.txt"}, 300, folder_ / "tokenizer.model"});
  }
  // Of a base whose config.json has these ends.
  AnswerEnds ends(std::vector<std::int32_t> eos, const std::string& generation_config = "") {
    const std::filesystem::path base = folder_ / fmt::format("base-{}", bases_++);
    ModelConfig config = test::tiny_config();
    config.vocabulary_size = 300;
    config.eos = std::move(eos);
    write_new_base(base, config, folder_ / "tokenizer.model", 1);
    if (!generation_config.empty()) test::write_bytes(base / "generation_config.json", generation_config);
    return answer_ends(BaseModel(base), Tokenizer::load(base / "tokenizer.model"));
  }
  test::ScratchFolder folder_;
  int bases_ = 0;
};

TEST_F(AnswerEndsTest, AreThoseOfTheTokenizerAndOfGenerationConfig) {
  EXPECT_EQ(ends({2}).tokens, (std::vector<std::int32_t>{2}));
  EXPECT_EQ(ends({2}).contradiction, "");
  EXPECT_EQ(ends({7, 2}).contradiction, "");
  EXPECT_EQ(ends({2}, R"({"eos_token_id": [2, 9]})").tokens, (std::vector<std::int32_t>{2, 9, 2}));
  EXPECT_EQ(ends({1}, R"({"eos_token_id": 2})").contradiction, "");
}

TEST_F(AnswerEndsTest, ContradictionsAreSaid) {
  EXPECT_TRUE(
      holds(ends({1}).contradiction,
            ": config.json ends texts with token 1, the tokenizer with 2 (</s>): answers end with any"));
  EXPECT_TRUE(holds(ends({}).contradiction, "config.json ends texts with no token, the tokenizer with 2"));
  EXPECT_EQ(ends({}).tokens, (std::vector<std::int32_t>{2}));
}

}  // namespace
}  // namespace chorus
