#include "data/prompt.h"

#include "tests/data/scratch.h"

namespace chorus {
namespace {

const std::vector<std::string> labels{"neutral", "joy", "anger"};

Dialogue dialogue() {
  return {"0",
          {{"0", "Mia", "Did you win?", "neutral", 2},
           {"1", "Leo", "I won the first prize!", "joy", 3},
           {"2", "Mia", "No way.", "joy", 4},
           {"4", "Omar", "And nobody told me.", "anger", 5}}};
}

class PromptTest : public testing::Test {
 protected:
  static Tokenizer trained(const ScratchFolder& folder) {
    std::string text;
    for (int i = 0; i < 200; ++i)
      text += "Mia and Leo read the line, name the feeling: neutral, joy or anger. Nobody won.\n";
    train_tokenizer({{folder.write("text.txt", text)}, 320, folder / "t.model"});
    return Tokenizer::load(folder / "t.model");
  }

  // What the prompt says, its special tokens left out.
  std::string words(const Sequence& sequence) const {
    std::string text;
    std::vector<std::int32_t> ids;
    for (const std::int32_t id : sequence.tokens) {
      if (id != tokenizer_.bos() && id != tokenizer_.eos()) ids.push_back(id);
    }
    return tokenizer_.decode(ids);
  }
  Prompts write(const Recipe& recipe, std::size_t turn, std::vector<std::int32_t> answers,
                std::int64_t max_tokens = 0) {
    return PromptWriter(recipe, tokenizer_, labels, max_tokens)
        .write(dialogue(), turn, answers, recipe.supervise_all);
  }

  ScratchFolder folder_;
  Tokenizer tokenizer_ = trained(folder_);
};

// Parts are tokenised apart, so that each brings the space that the tokenizer puts before a text.
TEST_F(PromptTest, SharedRecipe) {
  const Prompts prompts = write(Recipe::load("shared"), 2, {1});
  ASSERT_EQ(prompts.sequences.size(), 1U);
  EXPECT_EQ(prompts.lines_cut, 0);
  EXPECT_EQ(words(prompts.sequences[0]),
            "Read the conversation and name the feeling of its last line. Feelings: neutral, joy, anger.\n"
            " Mia: Did you win?\n Leo: I won the first prize!\n Mia: No way.\n Feeling: joy");
}

TEST_F(PromptTest, WindowRecipe) {
  Recipe recipe = Recipe::load("window");
  recipe.history = 1;
  const Prompts prompts = write(recipe, 3, {2});
  const std::string text = words(prompts.sequences.at(0));
  expect_contains(text, " Speaker_0: \"No way.\"\n Speaker_2: \"And nobody told me.\"\n ###\n");
  expect_contains(text, "< Speaker_2: \"And nobody told me.\" > best: neutral, joy, anger?\nFeeling: anger");
  EXPECT_EQ(text.find("prize"), std::string::npos) << "a line outside the window";
  EXPECT_EQ(prompts.lines_cut, 0) << "the recipe's own window cuts nothing";
}

TEST_F(PromptTest, OnlyTheAnswerIsSupervised) {
  const Sequence sequence = write(Recipe::load("shared"), 1, {1}).sequences.at(0);
  std::vector<std::int32_t> expected = tokenizer_.encode("joy");
  expected.push_back(tokenizer_.eos());
  const std::size_t first = sequence.tokens.size() - expected.size();
  EXPECT_EQ(sequence.tokens[0], tokenizer_.bos());
  for (std::size_t i = 0; i < sequence.tokens.size(); ++i) {
    EXPECT_EQ(sequence.labels[i], i < first ? unsupervised : expected[i - first]);
  }
}

TEST_F(PromptTest, OrAllOfIt) {
  Recipe recipe = Recipe::load("shared");
  recipe.supervise_all = true;
  const Sequence sequence = write(recipe, 1, {1}).sequences.at(0);
  EXPECT_EQ(sequence.labels[0], unsupervised);
  EXPECT_TRUE(std::equal(sequence.labels.begin() + 1, sequence.labels.end(), sequence.tokens.begin() + 1));
}

TEST_F(PromptTest, PromptsOfADialogueShareTheirHistory) {
  ForestBuilder builder;
  std::size_t separate = 0;
  for (std::size_t turn = 0; turn < 4; ++turn) {
    for (const Sequence& sequence : write(Recipe::load("shared"), turn, {0, 1, 2}).sequences) {
      builder.add(sequence);
      separate += sequence.tokens.size() - 1;
    }
  }
  EXPECT_LT(builder.tokens().size() * 5, separate);
  EXPECT_EQ(builder.forest().trees().back(), 0) << "one root";
}

TEST_F(PromptTest, TheOldestLinesGoFirst) {
  const Recipe recipe = Recipe::load("shared");
  const Sequence whole = write(recipe, 3, {0}).sequences.at(0);
  // The limit is for the longest label, whatever the answer.
  std::int64_t longest = 0;
  for (const Sequence& s : write(recipe, 3, {0, 1, 2}).sequences)
    longest = std::max(longest, std::int64_t{std::ssize(s.tokens)});
  EXPECT_EQ(write(recipe, 3, {1}, longest).lines_cut, 0);
  const Prompts cut = write(recipe, 3, {0, 1, 2}, longest - 1);
  EXPECT_EQ(cut.lines_cut, 1);
  for (const Sequence& sequence : cut.sequences) {
    EXPECT_EQ(words(sequence).find("Did you win?"), std::string::npos);
    expect_contains(words(sequence), "I won the first prize!");
    expect_contains(words(sequence), "Read the conversation");
    expect_contains(words(sequence), "And nobody told me.\n Feeling:");
    EXPECT_LE(std::ssize(sequence.tokens), longest - 1);
  }
  EXPECT_EQ(write(recipe, 3, {1}, longest - 1).lines_cut, 1) << "the same history for a shorter answer";
}

TEST_F(PromptTest, WithoutRoomThereIsNoPrompt) {
  const Recipe recipe = Recipe::load("shared");
  Recipe no_history = recipe;
  no_history.history = 0;
  std::int64_t least = 0;
  for (const Sequence& s : write(no_history, 3, {0, 1, 2}).sequences)
    least = std::max(least, std::int64_t{std::ssize(s.tokens)});
  EXPECT_EQ(write(recipe, 3, {0, 1, 2}, least).sequences.size(), 3U);
  EXPECT_EQ(write(recipe, 3, {0, 1, 2}, least).lines_cut, 3);
  EXPECT_TRUE(write(recipe, 3, {0, 1, 2}, least - 1).sequences.empty());
}

TEST_F(PromptTest, AnOpenAnswerHasNoEnd) {
  Recipe recipe = Recipe::load("shared");
  const Sequence closed = write(recipe, 2, {1}).sequences[0];
  EXPECT_EQ(closed.tokens.back(), tokenizer_.eos());
  recipe.open_answer = true;
  const Sequence open = write(recipe, 2, {1}).sequences[0];
  EXPECT_EQ(open.tokens, std::vector<std::int32_t>(closed.tokens.begin(), closed.tokens.end() - 1));
  // Without an end, "no" would be a part of "no no".
  recipe.label_words = {{"joy", "no"}, {"anger", "no no"}};
  expect_contains(message_of<DataError>([&] { write(recipe, 2, {1}); }), "one begins like the other");
  recipe.open_answer = false;
  EXPECT_NO_THROW(write(recipe, 2, {1}));
}

TEST_F(PromptTest, LabelWordsMustFitTheCorpus) {
  Recipe recipe = Recipe::load("shared");
  recipe.label_words = {{"joy", "happy"}};
  expect_contains(words(write(recipe, 0, {1}).sequences.at(0)), "neutral, happy, anger.");
  recipe.label_words = {{"mirth", "happy"}};
  expect_contains(message_of<DataError>([&] { write(recipe, 0, {1}); }),
                  "label_words names the label 'mirth', the corpus has neutral, joy, anger");
  recipe.label_words = {{"joy", "anger"}};
  expect_contains(message_of<DataError>([&] { write(recipe, 0, {1}); }), "two labels have the word 'anger'");
}

}  // namespace
}  // namespace chorus
