// Trained and written-by-others models against logits and texts of independent implementations, on 1 and 2 ranks.

#include <algorithm>
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/formats/base_model.h"
#include "core/planning/model_setup.h"
#include "core/scoring/generator.h"
#include "core/scoring/text_logits.h"
#include "data/prompts/tokenizer.h"
#include "data/text/json.h"
#include "ops/checked_backend.h"
#include "ops/cpu/cpu_backend.h"
#include "parallel/thread_communicator.h"
#include "tests/support/families.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

constexpr DType precision = DType::f32;

std::vector<int> possible_ranks(const ModelConfig& config) {
  std::vector<int> ranks{1};
  if (config.key_value_heads % 2 == 0 && config.intermediate_size % 2 == 0) ranks.push_back(2);
  return ranks;
}

// Logits [N, V] of a text on a number of tensor ranks.
std::vector<float> logits_of(const BaseModel& base, const std::vector<std::int32_t>& tokens, int ranks) {
  std::vector<float> result;
  run_on_threads(1, ranks, [&](const Groups& groups) {
    CpuBackend cpu(1);
    CheckedBackend backend(cpu);
    BaseSetup base_setup(base.config(), {.precision = precision}, backend, groups);
    base_setup.llama.load(base);
    ModelSetup setup(base_setup, {.precision = precision}, {.tokens = std::ssize(tokens), .logits = true});
    const auto logits = text_logits(setup.model, tokens, setup.activations);
    if (groups.world.rank() == 0) result = logits;
  });
  return result;
}

std::vector<std::int32_t> continue_greedily(const BaseModel& base, const std::vector<std::int32_t>& prompt,
                                            std::int64_t new_tokens, int ranks) {
  std::vector<std::int32_t> result;
  run_on_threads(1, ranks, [&](const Groups& groups) {
    CpuBackend cpu(1);
    CheckedBackend backend(cpu);
    const std::vector<std::vector<std::int32_t>> prompts{prompt, prompt};
    const GenerateOptions options{.max_new_tokens = new_tokens};
    const GenerationLimits limits = generation_limits(prompts, options, base.config());
    BaseSetup base_setup(base.config(), {.precision = precision}, backend, groups);
    base_setup.llama.load(base);
    ModelSetup setup(base_setup, {.precision = precision},
                     {.tokens = limits.prompt_tokens,
                      .cached_sequences = limits.sequences,
                      .cached_length = limits.length});
    const auto answers = generate(setup.model, prompts, options, setup.activations, {});
    EXPECT_EQ(answers[0], answers[1]);
    if (groups.world.rank() == 0) result = answers[0];
  });
  return result;
}

// Relative to the largest logit.
void expect_close(std::span<const float> logits, const std::vector<double>& expected, double tolerance,
                  const std::string& what) {
  ASSERT_EQ(logits.size(), expected.size()) << what;
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(logits[i], expected[i], tolerance * largest) << what << " logit " << i;
  }
}

class TrainedModels : public testing::TestWithParam<std::string> {};

TEST_P(TrainedModels, GiveTheReferenceLogitsAndText) {
  const auto folder = test::shared_path("models/" + GetParam());
  if (!folder) GTEST_SKIP() << test::missing_shared("models/" + GetParam());
  const BaseModel base(*folder);
  const nlohmann::json reference = read_json_file(*folder / "reference.json");
  const auto text = reference.at("text_ids").get<std::vector<std::int32_t>>();
  const auto nll = reference.at("text_token_nll").get<std::vector<double>>();
  const auto last = reference.at("last_logits_of_text").get<std::vector<double>>();
  const auto prompt = reference.at("prompt_ids").get<std::vector<std::int32_t>>();
  const auto greedy = reference.at("greedy_ids").get<std::vector<std::int32_t>>();
  const auto vocabulary = static_cast<std::size_t>(base.config().vocabulary_size);

  const Tokenizer tokenizer = Tokenizer::load(base.tokenizer_path());
  EXPECT_EQ(base.check_tokenizer_size(tokenizer.size()), 0);
  EXPECT_EQ(tokenizer.decode(greedy), reference.at("greedy_text").get<std::string>());

  for (const int ranks : possible_ranks(base.config())) {
    const std::string what = fmt::format("{} on {} ranks", GetParam(), ranks);
    const std::vector<float> logits = logits_of(base, text, ranks);
    expect_close(std::span(logits).last(vocabulary), last, 1e-4, what);
    for (std::size_t t = 0; t + 1 < text.size(); ++t) {
      const std::span<const float> row = std::span(logits).subspan(t * vocabulary, vocabulary);
      double sum = 0;
      for (const float value : row) sum += std::exp(static_cast<double>(value));
      const double own = std::log(sum) - static_cast<double>(row[static_cast<std::size_t>(text[t + 1])]);
      ASSERT_NEAR(own, nll[t], 1e-4 * (1 + nll[t])) << what << " token " << t;
    }
    const auto count = static_cast<std::int64_t>(greedy.size() - prompt.size());
    std::vector<std::int32_t> continued = prompt;
    const std::vector<std::int32_t> answer = continue_greedily(base, prompt, count, ranks);
    continued.insert(continued.end(), answer.begin(), answer.end());
    EXPECT_EQ(continued, greedy) << what;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TrainedModels, testing::Values("stories260K", "stories3M", "babyllama-tok105"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(ReferenceModels, AgreeWithTransformers) {
  const auto folder = test::shared_path("models/fixture-tiny-llama-hf-golden");
  if (!folder) GTEST_SKIP() << test::missing_shared("models/fixture-tiny-llama-hf-golden");
  const BaseModel base(*folder);
  const nlohmann::json golden = read_json_file(*folder / "golden.json");
  for (const auto& [name, golden_case] : golden.at("cases").items()) {
    const auto logits = golden_case.at("logits").get<std::vector<double>>();
    const auto sequences = golden_case.at("input_ids").get<std::vector<std::vector<std::int32_t>>>();
    if (logits.size() !=
        sequences.size() * sequences[0].size() * static_cast<std::size_t>(base.config().vocabulary_size)) {
      continue;  // cases of single positions
    }
    const std::size_t each = logits.size() / sequences.size();
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      const std::vector<double> expected(logits.begin() + static_cast<std::ptrdiff_t>(s * each),
                                         logits.begin() + static_cast<std::ptrdiff_t>((s + 1) * each));
      for (const int ranks : possible_ranks(base.config())) {
        expect_close(logits_of(base, sequences[s], ranks), expected, 1e-4,
                     fmt::format("{} on {} ranks", name, ranks));
      }
    }
  }
}

class Families : public testing::TestWithParam<std::string> {};

// And what they continue through the cache is what whole passes make most likely.
TEST_P(Families, GiveTheLogitsOfTransformers) {
  const auto folder = test::shared_path("golden/families/" + GetParam());
  if (!folder) GTEST_SKIP() << test::missing_shared("golden/families/" + GetParam());
  const BaseModel base(*folder / "model");
  const auto vocabulary = static_cast<std::size_t>(base.config().vocabulary_size);
  const auto tokens = read_json_file(*folder / "batches.json")
                          .at("batches")[0]
                          .at("input_ids")[0]
                          .get<std::vector<std::int32_t>>();
  const SafetensorsFile file(*folder / "logits_first_sample.safetensors");
  const std::vector<float> expected = read_tensor(file.tensor("logits"));
  const std::vector<std::int32_t> prompt(tokens.begin(),
                                         tokens.begin() + std::min<std::ptrdiff_t>(12, std::ssize(tokens)));
  for (const int ranks : possible_ranks(base.config())) {
    const std::string what = fmt::format("{} on {} ranks", GetParam(), ranks);
    expect_close(logits_of(base, tokens, ranks), {expected.begin(), expected.end()}, 1e-5, what);

    std::vector<std::int32_t> continued = prompt;
    const std::vector<std::int32_t> answer = continue_greedily(base, prompt, 8, ranks);
    EXPECT_FALSE(answer.empty()) << what;
    continued.insert(continued.end(), answer.begin(), answer.end());
    const std::vector<float> logits = logits_of(base, continued, ranks);
    for (std::size_t row = prompt.size() - 1; row + 1 < continued.size(); ++row) {
      const std::span<const float> scores = std::span(logits).subspan(row * vocabulary, vocabulary);
      EXPECT_EQ(std::ranges::max_element(scores) - scores.begin(), continued[row + 1])
          << what << " row " << row;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Families, test::golden_families(), test::family_name);

// Trained on two trillion tokens: words, ids, the most likely next tokens and what follows them, by transformers in f32.
TEST(ReferenceModels, SmolLM2GivesTheLogitsAndTextsOfTransformers) {
  const auto folder = test::smollm2();
  if (!folder) GTEST_SKIP() << test::missing_smollm2();
  const auto golden = test::shared_path("golden/smollm2-135m-qv/reference.json");
  if (!golden) GTEST_SKIP() << test::missing_shared("golden/smollm2-135m-qv/reference.json");
  const BaseModel base(*folder);
  const Tokenizer tokenizer = Tokenizer::load(base.tokenizer_path());
  const auto vocabulary = static_cast<std::size_t>(base.config().vocabulary_size);
  for (const nlohmann::json& reference : read_json_file(*golden)) {
    const auto text = reference.at("text").get<std::string>();
    const auto tokens = reference.at("ids").get<std::vector<std::int32_t>>();
    auto greedy = reference.at("greedy_ids").get<std::vector<std::int32_t>>();
    EXPECT_EQ(tokenizer.encode(text), tokens) << text;
    EXPECT_EQ(tokenizer.decode(greedy), reference.at("greedy_text").get<std::string>());
    // The reference went on behind the end.
    greedy.erase(std::ranges::find(greedy, tokenizer.eos()), greedy.end());
    EXPECT_EQ(continue_greedily(base, tokens, std::ssize(greedy), 1), greedy) << text;

    const std::vector<float> logits = logits_of(base, tokens, 1);
    const std::span<const float> last = std::span(logits).last(vocabulary);
    const auto top = reference.at("last_logits_top5").get<std::vector<std::pair<std::size_t, double>>>();
    for (const auto& [token, logit] : top) EXPECT_NEAR(last[token], logit, 1e-5 * top[0].second) << text;
    const double fifth = top.back().second * (1 + 1e-5);
    EXPECT_EQ(std::ranges::count_if(last, [&](double logit) { return logit > fifth; }), 4) << text;
  }
}

TEST(ReferenceModels, TwoShardsAndAnExplicitHeadWidth) {
  const auto folder = test::shared_path("models/fixture-tiny-llama-2shard");
  if (!folder) GTEST_SKIP() << test::missing_shared("models/fixture-tiny-llama-2shard");
  const BaseModel base(*folder);
  EXPECT_NE(base.config().head_width * base.config().query_heads, base.config().hidden_size);
  const std::vector<std::int32_t> tokens{1, 5, 9, 63, 0, 17, 33, 2, 8, 40};
  const std::vector<float> one = logits_of(base, tokens, 1), two = logits_of(base, tokens, 2);
  expect_close(two, {one.begin(), one.end()}, 1e-5, "two ranks");
}

TEST(ReferenceModels, AllInBfloat16) {
  const auto source = test::shared_path("models/fixture-tiny-llama-bf16");
  if (!source) GTEST_SKIP() << test::missing_shared("models/fixture-tiny-llama-bf16");
  test::ScratchFolder folder;
  std::filesystem::copy_file(*source / "tiny_llama.safetensors", folder / "model.safetensors");
  ModelConfig config;
  config.vocabulary_size = 112;
  config.hidden_size = 96;
  config.intermediate_size = 192;
  config.layers = 2;
  config.query_heads = 4;
  config.key_value_heads = 2;
  config.head_width = 24;
  config.norm_epsilon = 1e-5;
  config.max_positions = 64;
  write_model_config(folder.path(), config, "bfloat16");
  const std::vector<std::int32_t> tokens{94, 87, 60, 29, 75, 85, 18, 15, 47, 102, 105, 36, 63, 49,
                                         54, 76, 47, 36, 34, 19, 22, 81, 55, 102, 57,  62, 59, 51,
                                         68, 62, 68, 74, 89, 13, 45, 77, 37, 41,  72,  33};
  const std::string bytes = test::read_bytes(*source / "tiny_llama_golden.bin");
  std::vector<float> golden(bytes.size() / sizeof(float));
  std::memcpy(golden.data(), bytes.data(), bytes.size());
  ASSERT_EQ(golden.size(), tokens.size() * 112);
  const BaseModel base(folder.path());
  for (const int ranks : possible_ranks(base.config())) {
    expect_close(logits_of(base, tokens, ranks), {golden.begin(), golden.end()}, 1e-4,
                 fmt::format("{} ranks", ranks));
  }
}

}  // namespace
}  // namespace chorus
