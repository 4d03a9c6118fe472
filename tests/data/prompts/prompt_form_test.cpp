#include "data/prompts/prompt_form.h"

#include "data/corpora/side_texts.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

PromptForm shipped(const std::string& recipe) { return {Recipe::load(recipe), {"joy", "fear"}}; }

TEST(PromptForm, IsFoundBesideAnAdapterAndAroundACheckpoint) {
  const TemporaryFolder scratch;
  PromptForm form = shipped("window");
  form.recipe = form.recipe.with_history("3", "").with_open_answer(true);
  std::filesystem::create_directories(scratch / "run/checkpoint-4");
  form.write(scratch / "run");
  for (const char* folder : {"run", "run/", "run/checkpoint-4", "run/checkpoint-4/"}) {
    const PromptForm read = PromptForm::read(scratch / folder);
    EXPECT_EQ(read.labels, form.labels) << folder;
    EXPECT_EQ(read.recipe.history, 3);
    EXPECT_TRUE(read.recipe.open_answer);
    EXPECT_EQ(read.recipe.parts.size(), form.recipe.parts.size());
  }
  EXPECT_TRUE(message_of<ConfigurationError>([&] {
                PromptForm::read(scratch.path());
              }).ends_with("name the folder of the data that it was trained on with --data"));
  scratch.write("run/prompts.json", R"({"labels": ["joy"]})");
  EXPECT_TRUE(message_of<DataError>([&] {
                PromptForm::read(scratch / "run");
              }).ends_with("prompts.json: must have the fields 'recipe' and 'labels'"));
}

TEST(PromptForm, ARecipeKeepsItsChatTemplate) {
  const TemporaryFolder scratch;
  PromptForm form = shipped("shared");
  EXPECT_EQ(form.title(), "recipe shared");
  const PromptForm bare = form;
  form.recipe = form.recipe.with_chat_template(ChatTemplate::parse(shipped_chat_templates()[0].json, "t"));
  form.write(scratch.path());
  const PromptForm read = PromptForm::read(scratch.path());
  ASSERT_TRUE(read.recipe.chat.has_value());
  EXPECT_FALSE(read.chat.has_value());
  read.require_askable();
  EXPECT_EQ(read.title(), "recipe shared, chat template " + shipped_chat_templates()[0].name);
  DatasetOrigin origin;
  origin.recipe_text = form.recipe.json;
  EXPECT_TRUE(read.asks_like(PromptForm::of(origin, "train.h5")));
  EXPECT_FALSE(read.asks_like(bare));
  EXPECT_FALSE(read.asks_like({{}, {}, read.recipe.chat}));
}

TEST(PromptForm, SaysWhatLinesAloneCannotAnswer) {
  shipped("shared").require_askable();
  const auto message = [](const char* recipe) {
    return message_of<ConfigurationError>([&] { shipped(recipe).require_askable(); });
  };
  EXPECT_EQ(message("impact"), "recipe impact does not ask for the label of a line");
  EXPECT_TRUE(message("features").starts_with("recipe features shows features"));
  EXPECT_TRUE(message("retrieval").starts_with("recipe retrieval shows examples of a train split"));
  DatasetOrigin tokens;
  EXPECT_EQ(message_of<DataError>([&] { PromptForm::of(tokens, "train.h5"); }),
            "train.h5 has no prompts: it was made of token lists or plain text");
}

TEST(PromptForm, SomeLineMustHaveTheSideTextsThatItsRecipeNeeds) {
  const TemporaryFolder scratch;
  std::string text;
  for (int i = 0; i < 200; ++i)
    text += "You know how people feel when they talk: joy or fear, said Speaker_0.\n";
  train_tokenizer({{scratch.write("text.txt", text)}, 300, scratch / "t.model"});
  const Tokenizer tokenizer = Tokenizer::load(scratch / "t.model");
  std::vector<Dialogue> dialogues{{"0", {{"0", "Mia", "Ha!", ""}, {"1", "Leo", "So?", ""}}}};
  const QuestionLimits limits{.vocabulary_size = tokenizer.size()};
  EXPECT_EQ(
      message_of<ConfigurationError>(
          [&] { questions_about(dialogues, shipped("traits"), tokenizer, limits); }),
      "recipe traits shows {traits}, and no line has it: give the dialogues as JSON lines whose utterances "
      "have \"side\": {\"traits\": \"...\"}");
  const std::string captioned =
      R"({"name": "x", "parts": [{"kind": "text", "text": "a", "captioned": "{caption}"},
      {"kind": "answer", "text": "{label}"}]})";
  const PromptForm optional{Recipe::parse(captioned, "x"), {"joy", "fear"}};
  EXPECT_NO_THROW(questions_about(dialogues, optional, tokenizer, limits)) << "captions may be missing";
  set_side_text(dialogues[0].utterances[1], "traits", std::make_shared<const std::string>("Leo nods."));
  const Dataset asked = questions_about(dialogues, shipped("traits"), tokenizer, limits);
  std::vector<std::int32_t> tokens = asked.sequence(std::ssize(asked.samples) - 1).tokens;
  tokens.erase(tokens.begin());
  expect_contains(tokenizer.decode(tokens), "About Speaker_1: Leo nods.");
}

TEST(PromptForm, LinesAfterTheOneAskedAboutAreShownWhereTheyAreKnown) {
  const TemporaryFolder scratch;
  std::string text;
  for (int i = 0; i < 200; ++i) text += "Mia and Leo ask: joy or fear? Then: So what.\n";
  train_tokenizer({{scratch.write("text.txt", text)}, 300, scratch / "t.model"});
  const Tokenizer tokenizer = Tokenizer::load(scratch / "t.model");
  PromptForm form{
      Recipe::parse(R"({"name": "x", "future": 1, "parts": [{"kind": "text", "text": "{utterance}"},
      {"kind": "future", "text": " Then: {utterance}"}, {"kind": "answer", "text": "{label}"}]})",
                    "x"),
      {"joy", "fear"}};
  form.write(scratch.path());
  form = PromptForm::read(scratch.path());
  const std::vector<Dialogue> dialogues{{"0", {{"0", "Mia", "Ha!", ""}, {"1", "Leo", "So?", ""}}}};
  const auto first_of = [&](bool last_line_only) {
    const Dataset asked = questions_about(
        dialogues, form, tokenizer, {.vocabulary_size = tokenizer.size(), .last_line_only = last_line_only});
    std::vector<std::int32_t> tokens = asked.sequence(0).tokens;
    tokens.erase(tokens.begin());
    return tokenizer.decode(tokens);
  };
  expect_contains(first_of(false), "Then: So?");
  EXPECT_EQ(first_of(true).find("Then:"), std::string::npos) << "as chat asks";
}

TEST(PromptForm, ConversationsAreKeptWithTheirTemplateAndHaveNoLabels) {
  const TemporaryFolder scratch;
  DatasetOrigin origin;
  origin.recipe_text = prompt_text_of(ChatTemplate::parse(shipped_chat_templates()[0].json, "chat template"));
  PromptForm::of(origin, "train.h5").write(scratch.path());
  const PromptForm form = PromptForm::read(scratch.path());
  ASSERT_TRUE(form.chat.has_value());
  EXPECT_EQ(form.chat->name, shipped_chat_templates()[0].name);
  EXPECT_EQ(form.chat->answer.size(), 2U);
  expect_contains(message_of<ConfigurationError>([&] { form.require_askable(); }),
                  "which have no labels: talk with the model by `chorus chat`");
  scratch.write("prompts.json", R"({"chat_template": {"name": "x"}, "labels": []})");
  expect_contains(message_of<DataError>([&] { PromptForm::read(scratch.path()); }), "unknown field 'labels'");
}

}  // namespace
}  // namespace chorus
