#include "data/prompts/prompt.h"

#include <algorithm>

#include "data/corpora/side_texts.h"
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
  static Tokenizer trained(const TemporaryFolder& folder) {
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
    return PromptWriter(recipe, tokenizer_, {labels, max_tokens})
        .write({&dialogue_, turn}, answers, recipe.supervise_all);
  }
  std::string text(const std::string& json, std::size_t turn, std::vector<Line> demonstrations = {},
                   std::int64_t first_speaker = 0) {
    return PromptWriter(Recipe::parse(json, "mine.json"), tokenizer_, {labels, 0, first_speaker})
        .text({&dialogue_, turn}, demonstrations);
  }

  Dialogue dialogue_ = dialogue();
  TemporaryFolder folder_;
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

TEST_F(PromptTest, AChatTemplateIsNeverCut) {
  const Recipe bare = Recipe::load("shared"),
               recipe = bare.with_chat_template(choose_chat_template("llama-2", tokenizer_).form);
  EXPECT_EQ(recipe.title(), "shared, chat template llama-2");
  const auto longest = [](const Prompts& prompts) {
    std::int64_t most = 0;
    for (const Sequence& each : prompts.sequences)
      most = std::max(most, std::int64_t{std::ssize(each.tokens)});
    return most;
  };
  const std::int64_t whole = longest(write(recipe, 3, {0, 1, 2}));
  std::int64_t cut = 0;
  for (std::int64_t room = whole; room > 0; --room) {
    const Prompts prompts = write(recipe, 3, {0, 1, 2}, room);
    if (prompts.sequences.empty()) break;
    EXPECT_GE(prompts.lines_cut, cut);
    cut = prompts.lines_cut;
    EXPECT_LE(longest(prompts), room);
    for (const Sequence& each : prompts.sequences) {
      EXPECT_TRUE(words(each).starts_with("[INST] Read the conversation")) << words(each);
      expect_contains(words(each), "Omar: And nobody told me.\nFeeling: [/INST]");
      EXPECT_EQ(each.tokens.back(), tokenizer_.eos());
    }
  }
  EXPECT_EQ(cut, 3) << "without history it is shortest";
  EXPECT_EQ(write(recipe, 3, {1}, whole - 1).lines_cut, 1);
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

// A target in two parts: labels are paths, which part where their words do.
TEST_F(PromptTest, LabelWordsMayHaveTwoParts) {
  Recipe recipe = Recipe::load("shared");
  recipe.label_words = {{"neutral", "calm: neutral"}, {"joy", "strong: joy"}, {"anger", "strong: anger"}};
  const std::vector<Sequence> answers = write(recipe, 2, {0, 1, 2}).sequences;
  const auto common = [&](std::size_t a, std::size_t b) {
    const auto &left = answers[a].tokens, &right = answers[b].tokens;
    return std::ranges::mismatch(left, right).in1 - left.begin();
  };
  const auto first_learned =
      std::ranges::find_if(answers[1].labels, [](std::int32_t label) { return label != unsupervised; }) -
      answers[1].labels.begin();
  EXPECT_GE(common(1, 2), first_learned + 3) << "the first part is learned, and shared";
  EXPECT_LT(common(0, 1), common(1, 2));
  expect_contains(words(answers[2]), "strong: anger");
}

std::string recipe_of(const std::string& parts, const std::string& fields = "") {
  return R"({"name": "x", )" + fields + R"("parts": [)" + parts +
         R"(, {"kind": "answer", "text": "{label}"}]})";
}

TEST_F(PromptTest, SpeakersHaveNumbers) {
  const std::string parts = R"({"kind": "text", "text": "{speaker} {speaker_number}"})";
  EXPECT_EQ(text(recipe_of(parts), 1), "Leo 1");
  EXPECT_EQ(text(recipe_of(parts, R"("speakers": "numbered", )"), 2), "Speaker_0 0");
  EXPECT_EQ(text(recipe_of(parts, R"("speakers": "numbered", )"), 3, {}, 10), "Speaker_12 12");
  EXPECT_EQ(text(recipe_of(parts, R"("speakers": "numbered", "speaker_numbers": {"Leo": 0, "Mia": 1}, )"), 0),
            "Speaker_1 1");
}

TEST_F(PromptTest, ABlockIsThereOnlyWhereItHasLines) {
  const std::string recipe = recipe_of(
      R"({"kind": "history", "before": "Before:\n", "text": "{utterance}\n", "after": "--\n"},
         {"kind": "text", "text": "{utterance}"})",
      R"("history": 2, )");
  EXPECT_EQ(text(recipe, 0), "Did you win?");
  EXPECT_EQ(text(recipe, 3), "Before:\nI won the first prize!\nNo way.\n--\nAnd nobody told me.");
}

const std::string around =
    R"({"kind": "history", "text": "{utterance}\n"}, {"kind": "text", "text": "{utterance}\n"},
    {"kind": "future", "before": "Then:\n", "text": "{speaker}: {utterance}\n", "after": "--\n"})";

TEST_F(PromptTest, LinesAfterItAreShownAsManyAsTheRecipeSays) {
  const std::string all = recipe_of(around), one = recipe_of(around, R"("future": 1, "history": 0, )");
  EXPECT_EQ(text(all, 1),
            "Did you win?\nI won the first prize!\nThen:\nMia: No way.\nOmar: And nobody told me.\n--\n");
  EXPECT_EQ(text(one, 1), "I won the first prize!\nThen:\nMia: No way.\n--\n");
  EXPECT_EQ(text(one, 3), "And nobody told me.\n") << "nothing follows the last line";
  EXPECT_EQ(text(recipe_of(around, R"("future": 0, )"), 1), "Did you win?\nI won the first prize!\n");
  dialogue_.utterances[2].label = "";
  EXPECT_EQ(text(one, 1), "I won the first prize!\nThen:\nMia: No way.\n--\n");
}

TEST_F(PromptTest, TheFarthestLinesGoFirstOfTwoTheLaterOne) {
  const Recipe recipe = Recipe::parse(recipe_of(around), "mine.json");
  // From line 2 of 4: two before, one after; line 0 is the farthest, then line 3, then line 1.
  const std::vector<std::vector<std::string>> kept{
      {"Did you win?", "first prize", "told me"}, {"first prize", "told me"}, {"first prize"}, {}};
  std::int64_t room = 0;
  for (const Sequence& each : write(recipe, 2, {0, 1, 2}).sequences)
    room = std::max(room, std::int64_t{std::ssize(each.tokens)});
  std::int64_t cut = 0;
  for (; room > 0; --room) {
    const Prompts prompts = write(recipe, 2, {0, 1, 2}, room);
    if (prompts.sequences.empty()) break;
    EXPECT_TRUE(prompts.lines_cut == cut || prompts.lines_cut == cut + 1) << prompts.lines_cut;
    cut = prompts.lines_cut;
    for (const Sequence& each : prompts.sequences) EXPECT_LE(std::ssize(each.tokens), room);
    const std::string prompt = words(prompts.sequences[0]);
    expect_contains(prompt, "No way.");
    for (const std::string& line : kept[0]) {
      const std::vector<std::string>& still = kept.at(static_cast<std::size_t>(cut));
      EXPECT_EQ(prompt.find(line) != std::string::npos, std::ranges::find(still, line) != still.end())
          << line << " of " << prompt;
    }
  }
  EXPECT_EQ(cut, 3);
}

TEST_F(PromptTest, LinesAfterItLeaveTheHistoryShared) {
  const Recipe with = Recipe::parse(recipe_of(around, R"("future": 1, )"), "mine.json");
  ForestBuilder builder;
  builder.add(write(with, 1, {0}).sequences.at(0));
  const std::size_t before = builder.tokens().size();
  builder.add(write(with, 2, {0}).sequences.at(0));
  const auto tokens = [&](const std::string& part) { return std::size(tokenizer_.encode(part)); };
  // What is new: the line asked about, what follows it, and the answer's tokens that a model reads.
  EXPECT_LE(builder.tokens().size() - before, tokens("No way.\n") + tokens("Then:\n") +
                                                  tokens("Omar: And nobody told me.\n") + tokens("--\n") +
                                                  tokens("neutral"));
}

TEST_F(PromptTest, LinesWithACaptionReadOtherwise) {
  set_side_text(dialogue_.utterances[1], "caption", std::make_shared<const std::string>("He jumps."));
  const std::string recipe = recipe_of(
      R"({"kind": "history", "text": "{utterance}\n", "captioned": "({caption}) {utterance}\n"},
         {"kind": "text", "text": "", "captioned": "Seen: {caption}\n"}, {"kind": "text", "text": "{utterance}"})");
  EXPECT_EQ(text(recipe, 1), "Did you win?\nSeen: He jumps.\nI won the first prize!");
  EXPECT_EQ(text(recipe, 2), "Did you win?\n(He jumps.) I won the first prize!\nNo way.");
}

TEST_F(PromptTest, TheFirstVariantWhoseSideTextsALineHasStands) {
  const auto give = [](Utterance& line, const char* name, const char* text) {
    set_side_text(line, name, std::make_shared<const std::string>(text));
  };
  give(dialogue_.utterances[0], "cue", "loud");
  give(dialogue_.utterances[1], "cue", "slow {utterance}");
  give(dialogue_.utterances[1], "traits", "calm");
  give(dialogue_.utterances[2], "traits", "proud");
  Dialogue other{"9", {{"0", "Zoe", "It burns!", "anger", 1}, {"1", "Ann", "So good.", "joy", 2}}};
  give(other.utterances[1], "cue", "warm");
  const std::string variants =
      R"("where": [{"has": ["cue", "traits"], "text": "{traits}, {cue}: {utterance}\n"},
                                            {"has": ["cue"], "text": "{cue}: {utterance}\n"}])";
  const std::string recipe = recipe_of(R"({"kind": "demonstrations", "text": "{utterance}\n", )" + variants +
                                       R"(}, {"kind": "history", "text": "{utterance}\n", )" + variants +
                                       R"(}, {"kind": "text", "text": "{utterance}\n", )" + variants + "}");
  EXPECT_EQ(
      text(recipe, 1, {{&other, 0}, {&other, 1}}),
      "It burns!\nwarm: So good.\nloud: Did you win?\ncalm, slow {utterance}: I won the first prize!\n");
  EXPECT_EQ(text(recipe, 2), "loud: Did you win?\ncalm, slow {utterance}: I won the first prize!\nNo way.\n");
}

TEST_F(PromptTest, TheTraitsRecipeIsTheWindowWithTraitsBeforeTheQuestion) {
  const std::string traits = Recipe::load("traits").json, window = text(Recipe::load("window").json, 2);
  EXPECT_EQ(text(traits, 2), window) << "of a line without";
  set_side_text(dialogue_.utterances[2], "traits", std::make_shared<const std::string>("Mia doubts."));
  std::string expected = window;
  const std::size_t question = expected.find("Which of these");
  ASSERT_NE(question, std::string::npos);
  expected.insert(question, "About Speaker_0: Mia doubts.\n");
  EXPECT_EQ(text(traits, 2), expected);
  EXPECT_EQ(text(traits, 3), text(Recipe::load("window").json, 3)) << "another one speaks";
}

TEST_F(PromptTest, DemonstrationsTellTheirLabel) {
  const Dialogue other{"9", {{"0", "Zoe", "It burns!", "anger", 1}, {"1", "Ann", "So good.", "joy", 2}}};
  const std::string recipe = recipe_of(
      R"({"kind": "text", "text": "{utterance} "},
         {"kind": "demonstrations", "before": "[", "text": "{speaker}: {utterance} = {label}; ", "after": "]"})",
      R"("speakers": "numbered", "label_words": {"joy": "happy"}, )");
  EXPECT_EQ(text(recipe, 0, {{&other, 0}, {&other, 1}}),
            "Did you win? [Speaker_0: It burns! = anger; Speaker_1: So good. = happy; ]");
  EXPECT_EQ(text(recipe, 0), "Did you win? ");
}

TEST_F(PromptTest, AsAWholeATextIsOnePieceForTheTokenizer) {
  const std::string parts = R"({"kind": "history", "text": "{speaker}: {utterance}\n"},
                              {"kind": "text", "text": "{utterance} Feeling:"})";
  const Recipe whole = Recipe::parse(recipe_of(parts, R"("tokenise": "whole", )"), "mine.json");
  const Sequence sequence = write(whole, 2, {1}).sequences.at(0);
  std::vector<std::int32_t> expected{tokenizer_.bos().value()};
  const auto append = [&](const std::string& words) {
    for (const std::int32_t token : tokenizer_.encode(words)) expected.push_back(token);
  };
  append("Mia: Did you win?\nLeo: I won the first prize!\nNo way. Feeling:");
  append("joy");
  expected.push_back(tokenizer_.eos());
  EXPECT_EQ(sequence.tokens, expected);
  const Sequence by_parts = write(Recipe::parse(recipe_of(parts), "mine.json"), 2, {1}).sequences.at(0);
  EXPECT_NE(by_parts.tokens, expected);
}

TEST_F(PromptTest, FeaturesTakeThePlaceOfTokens) {
  dialogue_.utterances[0].first_feature = 4;
  dialogue_.utterances[0].features = 2;
  dialogue_.utterances[1].first_feature = 6;
  dialogue_.utterances[1].features = 1;
  for (const char* tokenise : {"parts", "whole"}) {
    const Recipe recipe = Recipe::parse(
        recipe_of(
            R"({"kind": "history", "text": "{features}{utterance}\n"}, {"kind": "text", "text": "a {features}"})",
            fmt::format(R"("supervise": "all", "tokenise": "{}", )", tokenise)),
        "mine.json");
    const Sequence sequence = write(recipe, 1, {1}).sequences.at(0);
    std::vector<std::int32_t> expected{tokenizer_.bos().value(), feature_token(4), feature_token(5)};
    const auto append = [&](const std::string& words) {
      for (const std::int32_t token : tokenizer_.encode(words)) expected.push_back(token);
    };
    if (std::string(tokenise) == "parts") {
      append("Did you win?\n");
      append("a ");
    } else {
      append("Did you win?\na ");
    }
    expected.push_back(feature_token(6));
    append("joy");
    expected.push_back(tokenizer_.eos());
    EXPECT_EQ(sequence.tokens, expected) << tokenise;
    for (std::size_t i = 1; i < expected.size(); ++i)
      EXPECT_EQ(sequence.labels[i], is_feature(expected[i]) ? unsupervised : expected[i])
          << "no feature is to be learned";
  }
}

TEST_F(PromptTest, TheImpactTaskSharesTheHistoryOfTheSharedRecipe) {
  ForestBuilder builder;
  builder.add(write(Recipe::load("shared"), 3, {1}).sequences.at(0));
  const std::size_t before = builder.tokens().size();
  builder.add(write(Recipe::load("impact"), 3, {1}).sequences.at(0));
  const std::vector<std::int32_t> question = tokenizer_.encode("Next speaks Omar. Feeling:");
  EXPECT_LE(builder.tokens().size() - before, question.size() + tokenizer_.encode("joy").size());
}

}  // namespace
}  // namespace chorus
