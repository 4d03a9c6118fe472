#include "core/scoring/generator.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>

#include <gtest/gtest.h>

#include "core/formats/new_base.h"
#include "core/planning/memory_plan.h"
#include "core/planning/rehearsal.h"
#include "ops/cpu/cpu_backend.h"
#include "ops/dry_backend.h"
#include "ops/transfer.h"
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

// Three turns, each behind the last one's answer; then one that forgets aloud, and another conversation.
std::vector<std::int32_t> prompt_of_turn(std::size_t turn, const std::vector<std::int32_t>& text) {
  if (turn == 3) return {1, 5, 6, 8, 30};
  if (turn == 4) return {4, 9};
  std::vector<std::int32_t> prompt = text.empty() ? std::vector<std::int32_t>{1, 5, 6} : text;
  for (const std::int32_t token : {11, 12, 13}) prompt.push_back(token + static_cast<std::int32_t>(turn));
  return prompt;
}
constexpr std::size_t turns = 5;

class CachedTextOnRanks : public testing::TestWithParam<int> {};

TEST_P(CachedTextOnRanks, AnswersAsComputedAnew) {
  run_on_threads(1, GetParam(), [&](const Groups& groups) {
    CpuBackend backend(1);
    ModelOptions options;
    options.lora = test::tiny_lora(0);
    ModelConfig config = test::tiny_config();
    config.eos = {};
    test::TinyModel tiny(config, options, backend, groups);
    const PassLimits passes{.tokens = 30, .cached_sequences = 1, .cached_length = 38};
    Arena arena(backend, plan_memory(config, options, groups.grid, passes).activations, "activation");
    Arena anew(backend, arena.capacity(), "activation");
    CachedText cached(tiny.model, passes.cached_length, arena);
    std::vector<std::int32_t> text;
    for (std::size_t turn = 0; turn < turns; ++turn) {
      const Answers prompt{prompt_of_turn(turn, text)};
      const GenerateOptions as{.max_new_tokens = 5};
      const std::vector<std::int32_t> answer = cached.answer(prompt[0], as);
      EXPECT_EQ(answer, generate(tiny.model, prompt, as, anew, {})[0]) << "turn " << turn;
      EXPECT_EQ(cached.answer(prompt[0], as), answer) << "turn " << turn << ", asked twice";
      text = prompt[0];
      text.insert(text.end(), answer.begin(), answer.end());
    }
    EXPECT_TRUE(
        holds(test::message_of<DataError>([&] { cached.answer(std::vector<std::int32_t>(38, 4), {}); }),
              "a prompt of 38 tokens leaves no room for an answer in a text of 38"));
  });
}

TEST_P(CachedTextOnRanks, ScoresOfTokensBehindACachedBeginningAreThoseOfTheWhole) {
  run_on_threads(1, GetParam(), [&](const Groups& groups) {
    CpuBackend backend(1);
    ModelConfig config = test::tiny_config();
    ModelOptions options;
    options.lora = test::tiny_lora(0);
    test::TinyModel tiny(config, options, backend, groups);
    Arena& arena = tiny.activations;
    const auto caches = tiny.model.take_caches(2, 7, arena);
    // Scores of what follows the last of these tokens of each of two sequences, behind those that are cached.
    const auto scores = [&](const Answers& texts, std::int32_t cached) {
      MicroBatch batch;
      CacheAccess access;
      std::vector<std::int32_t> rows, positions, lengths;
      const auto count = static_cast<std::int32_t>(texts[0].size());
      access.decoding = cached > 0;
      const auto add = [&](std::int32_t sequence, std::int32_t t) {
        batch.tokens.push_back(texts[static_cast<std::size_t>(sequence)][static_cast<std::size_t>(t)]);
        positions.push_back(cached + t);
        lengths.push_back(cached + t + 1);
        rows.push_back(sequence * 7 + cached + t);
      };
      if (access.decoding) {
        for (std::int32_t t = 0; t < count; ++t) {
          for (const std::int32_t sequence : {0, 1}) add(sequence, t);
        }
        batch.targets = {{2 * count - 2, 0, 0}, {2 * count - 1, 0, 0}};
      } else {
        for (const std::int32_t sequence : {0, 1}) {
          for (std::int32_t t = 0; t < count; ++t) add(sequence, t);
        }
        batch.targets = {{count - 1, 0, 0}, {2 * count - 1, 0, 0}};
      }
      batch.forest.tokens = 2 * count;
      batch.forest.segments = {{0, count, -1, 0}, {count, count, -1, 0}};
      batch.token_ids.resize(batch.tokens.size());
      Arena::Scope scope(arena);
      DeviceBatch device = tiny.model.upload(batch, arena);
      access.rows = upload_integers(backend, arena, rows);
      device.positions = upload_integers(backend, arena, positions);
      access.lengths = upload_integers(backend, arena, lengths);
      return tiny.model.logits(device, access, caches, arena);
    };
    const std::vector<float> whole = scores({{1, 5, 6, 30, 12, 7, 9}, {1, 20, 21, 22, 23, 24, 25}}, 0);
    scores({{1, 5, 6}, {1, 20, 21}}, 0);
    const std::vector<float> behind = scores({{30, 12, 7, 9}, {22, 23, 24, 25}}, 3);
    ASSERT_EQ(behind.size(), whole.size());
    float largest = 0;
    for (const float score : whole) largest = std::max(largest, std::abs(score));
    // Sums of up to 37 terms, in the 2 blocks and the head, are added in another order.
    const float tolerance = 8 * std::numeric_limits<float>::epsilon() * std::sqrt(37.0F) * largest;
    for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_NEAR(behind[i], whole[i], tolerance) << i;
  });
}

INSTANTIATE_TEST_SUITE_P(Of, CachedTextOnRanks, testing::Values(1, 2));

// Takes token 0 whatever it has read, and counts what it reads.
class CountingBackend : public DryBackend {
 public:
  void embed(Tensor out, ConstTensor, ConstTensor tokens, std::int64_t) override {
    counts.push_back(tokens.elements());
    require(out.dim(0) == tokens.elements(), "a row for each token");
  }
  std::vector<std::int64_t> counts;  // of tokens, by pass
};

TEST(CachedText, ReadsOnlyWhatIsNew) {
  CountingBackend backend;
  const Rehearsal rank({});
  ModelConfig config = test::tiny_config();
  config.eos = {};
  Arena weights = Arena::measuring(), parameters = Arena::measuring(), arena = Arena::measuring();
  Llama base(config, {}, backend, rank.groups, weights);
  const Model model(base, {}, parameters);
  CachedText text(model, 30, arena);
  const auto counts_of = [&](const std::vector<std::int32_t>& prompt) {
    backend.counts.clear();
    EXPECT_EQ(text.answer(prompt, {.max_new_tokens = 3}), (std::vector<std::int32_t>{0, 0, 0}));
    return backend.counts;
  };
  using Counts = std::vector<std::int64_t>;
  EXPECT_EQ(counts_of({1, 5, 6, 7}), (Counts{4, 1, 1}));
  EXPECT_EQ(counts_of({1, 5, 6, 7, 0, 0, 0, 8, 9}), (Counts{3, 1, 1})) << "the last of an answer is not read";
  EXPECT_EQ(counts_of({1, 5, 6, 7, 0, 0, 0, 8, 9, 0, 4}), (Counts{1, 1, 1}));
  EXPECT_EQ(counts_of({1, 5, 6, 7, 0, 0, 0, 8, 9, 0, 4}), (Counts{1, 1, 1})) << "the last is always read";
  EXPECT_EQ(counts_of({1, 5, 6, 8, 9}), (Counts{2, 1, 1})) << "the history was cut";
  EXPECT_EQ(counts_of({3, 5, 6, 8, 9}), (Counts{5, 1, 1})) << "nothing in common";
  // What the plan foresees is enough for the most that is read behind a beginning.
  std::vector<std::int32_t> longest(27, 3);
  EXPECT_EQ(counts_of(longest), (Counts{26, 1, 1}));
  EXPECT_LE(
      arena.peak_bytes(),
      plan_memory(config, {}, {}, {.tokens = 27, .cached_sequences = 1, .cached_length = 30}).activations);
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
