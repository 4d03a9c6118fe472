#include "data/prompts/recipe.h"

#include "data/text/text.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

const std::string answer = R"({"kind": "answer", "text": "{label}"})";

std::string message_for(const std::string& json) {
  return message_of<DataError>([&] { Recipe::parse(json, "mine.json"); });
}

// A recipe with more fields, or other parts.
std::string with(const std::string& fields) {
  return R"({"name": "x", )" + fields + R"(, "parts": [)" + answer + "]}";
}
std::string with_parts(const std::string& parts) { return R"({"name": "x", "parts": [)" + parts + "]}"; }

TEST(Recipe, ReadsEveryField) {
  const Recipe recipe = Recipe::parse(R"({
    "name": "mine", "description": "words", "history": 3, "speakers": "numbered", "supervise": "all",
    "answer_end": "none",
    "label_words": {"joy": "happy"}, "label_separator": " / ",
    "parts": [{"kind": "text", "text": "{{{labels}}}\n"}, {"kind": "history", "text": "{index} {speaker} {utterance}"},
              {"kind": "answer", "text": "It is {label}."}]})",
                                      "mine.json");
  EXPECT_EQ(recipe.name, "mine");
  EXPECT_EQ(recipe.description, "words");
  EXPECT_EQ(recipe.history, 3);
  EXPECT_TRUE(recipe.numbered_speakers);
  EXPECT_TRUE(recipe.supervise_all);
  EXPECT_TRUE(recipe.open_answer);
  EXPECT_EQ(recipe.word("joy"), "happy");
  EXPECT_EQ(recipe.word("fear"), "fear");
  EXPECT_EQ(recipe.label_separator, " / ");
  ASSERT_EQ(recipe.parts.size(), 3U);
  EXPECT_EQ(recipe.parts[1].kind, Recipe::PartKind::history);
  EXPECT_EQ(fill_in(recipe.parts[0].text, {{"labels", "a, b"}}, ""), "{a, b}\n");
}

TEST(Recipe, DefaultsAreTheSharedOnes) {
  const Recipe recipe = Recipe::parse(with_parts(answer), "mine.json");
  EXPECT_EQ(recipe.history, std::nullopt);
  EXPECT_EQ(recipe.future, std::nullopt);
  EXPECT_FALSE(recipe.numbered_speakers);
  EXPECT_FALSE(recipe.supervise_all);
  EXPECT_FALSE(recipe.open_answer);
  EXPECT_EQ(recipe.label_separator, ", ");
}

TEST(Recipe, UnknownFieldsNameTheNearest) {
  expect_contains(message_for(with(R"("histroy": 3)")),
                  "mine.json: unknown field 'histroy'; did you mean 'history'?");
  expect_contains(message_for(with_parts(R"({"kind": "text", "txt": "a"}, )" + answer)),
                  "mine.json: part 1: unknown field 'txt'; did you mean 'text'?");
}

TEST(Recipe, RefusesWhatDescribesNoPrompt) {
  expect_contains(message_for("{"), "mine.json: is not valid JSON");
  expect_contains(message_for("[]"), "must be an object");
  expect_contains(message_for(R"({"parts": []})"), "field 'name' is missing");
  expect_contains(message_for(R"({"name": "", "parts": []})"), "field 'name' is empty");
  expect_contains(message_for(R"({"name": "x"})"), "field 'parts' is missing");
  expect_contains(message_for(with(R"("history": "some")")),
                  "must be a number of lines or \"all\", is \"some\"");
  expect_contains(message_for(with(R"("history": -1)")), "must be a number of lines");
  expect_contains(message_for(with(R"("speakers": "both")")), "is 'both', it must be one of names, numbered");
  expect_contains(message_for(with(R"("supervise": 1)")), "field 'supervise' must be a string, is number");
  expect_contains(message_for(with(R"("label_words": {"joy": ""})")), "the word for label 'joy'");
  const std::string exactly_one = "exactly one part must be the answer, and it must be the last";
  expect_contains(message_for(with_parts("")), exactly_one);
  expect_contains(message_for(with_parts(answer + "," + answer)), exactly_one);
  expect_contains(message_for(with_parts(answer + R"(,{"kind": "text", "text": "a"})")), exactly_one);
  expect_contains(
      message_for(with_parts(R"({"kind": "question", "text": "a"})")),
      "part 1: field 'kind' is 'question', it must be one of text, history, future, demonstrations, answer");
  const std::string history = R"({"kind": "history", "text": "a"},)";
  expect_contains(message_for(with_parts(history + history + answer)), "more than one history");
  const std::string future = R"({"kind": "future", "text": "a"},)";
  expect_contains(message_for(with_parts(future + future + answer)), "more than one future");
  expect_contains(message_for(with(R"("future": 2)")),
                  "field 'future' says how many lines a part of kind future shows, and there is none");
  expect_contains(message_for(R"({"name": "x", "future": -1, "parts": [)" + future + answer + "]}"),
                  "field 'future' must be a number of lines or \"all\", is -1");
}

TEST(Recipe, RefusesPlaceholdersThatMeanNothing) {
  const auto text = [](const std::string& kind, const std::string& words) {
    return with_parts(R"({"kind": ")" + kind + R"(", "text": ")" + words + "\"}," + answer);
  };
  expect_contains(message_for(text("text", "{lables}")),
                  "unknown placeholder {lables}; here can stand {features} {index} {labels}");
  expect_contains(message_for(text("history", "{labels}")), "part 1: unknown placeholder {labels}");
  expect_contains(message_for(text("future", "{label}")), "part 1: unknown placeholder {label}");
  expect_contains(message_for(text("text", "{label}")), "unknown placeholder {label}");
  expect_contains(message_for(text("text", "a } b")), "a single '}' in the text");
  expect_contains(message_for(text("text", "a { b")), "a single '{' in the text");
  expect_contains(message_for(with_parts(R"({"kind": "answer", "text": "yes"})")),
                  "does not contain {label}");
}

TEST(Recipe, RefusesPromptsThatTellTheAnswer) {
  const auto task = [](const std::string& fields, const std::string& words) {
    return R"({"name": "x", )" + fields + R"(, "parts": [{"kind": "text", "text": ")" + words + "\"}," +
           answer + "]}";
  };
  const std::string speaker = R"("task": "speaker", "speakers": "numbered")", impact = R"("task": "impact")";
  expect_contains(message_for(task(speaker, "{speaker}")), "unknown placeholder {speaker}");
  expect_contains(message_for(task(speaker, "{speaker_number}")), "unknown placeholder {speaker_number}");
  expect_contains(message_for(task(impact, "{utterance}")), "unknown placeholder {utterance}");
  expect_contains(message_for(task(impact, "{features}")), "unknown placeholder {features}");
  EXPECT_NO_THROW(Recipe::parse(task(speaker, "{utterance} {labels}"), "mine.json"));
  EXPECT_NO_THROW(Recipe::parse(task(impact, "{speaker}"), "mine.json"));
  expect_contains(
      message_for(R"({"name": "x", "task": "impact", "parts": [{"kind": "future", "text": "a"},)" + answer +
                  "]}"),
      "an impact recipe asks before the line is known, so that no later ones can be shown");
  expect_contains(message_for(task(R"("task": "speaker")", "a")), "\"speakers\" must be \"numbered\"");
}

TEST(Recipe, RefusesFieldsWhereTheyMeanNothing) {
  const auto part = [](const std::string& fields) { return with_parts("{" + fields + "}," + answer); };
  expect_contains(message_for(part(R"("kind": "text", "text": "a", "before": "b")")),
                  "'before' and 'after' are for history, future and demonstrations");
  expect_contains(message_for(R"({"name": "x", "task": "impact", "parts": [{"kind": "text", "text": "a",
                                "captioned": "b"},)" +
                              answer + "]}"),
                  "fields 'where' and 'captioned' are for lines whose side texts may be shown");
  expect_contains(message_for(with_parts(R"({"kind": "answer", "text": "{label}", "captioned": "{label}"})")),
                  "fields 'where' and 'captioned' are for lines whose side texts may be shown");
  expect_contains(message_for(part(R"("kind": "history", "text": "a", "captioned": "{label}")")),
                  "unknown placeholder {label}");
  expect_contains(message_for(part(R"("kind": "history", "text": "a", "after": "{speaker}")")),
                  "unknown placeholder {speaker}");
  expect_contains(message_for(with(R"("speaker_numbers": {"M": -1})")),
                  "the number of speaker 'M' must not be below 0");
}

TEST(Recipe, SideTextsAreNamedWhereTheyStand) {
  const auto where = [](const std::string& variants) {
    return with_parts(R"({"kind": "history", "text": "a", "captioned": "{caption}", "where": )" + variants +
                      "}," + answer);
  };
  const Recipe recipe = Recipe::parse(
      where(
          R"([{"has": ["cue", "traits"], "text": "{cue} {traits}"}, {"has": ["mood"], "text": "b", "optional": true}])"),
      "mine.json");
  EXPECT_EQ(recipe.side_texts(), (std::set<std::string>{"caption", "cue", "mood", "traits"}));
  EXPECT_EQ(recipe.needed_side_texts(), (std::set<std::string>{"cue", "traits"}));
  EXPECT_TRUE(recipe.mentions("caption"));
  const std::string first = "mine.json: part 1: ";
  expect_contains(message_for(where(R"([{"has": ["cue"], "text": "{cue} {traits}"}])")),
                  first + "unknown placeholder {traits}; here can stand {cue} {features}");
  expect_contains(message_for(where(R"([{"has": ["label"], "text": "{label}"}])")),
                  first + "'label' in 'where': a side text's name has small letters");
  expect_contains(message_for(where("[]")), first + "field 'where' must be a list that is not empty");
  expect_contains(message_for(where(R"([{"has": [], "text": ""}])")),
                  first + "where 1: has: must be a list of names");
  expect_contains(message_for(where(R"([{"has": ["cue"], "txt": ""}])")),
                  first + "where 1: unknown field 'txt'; did you mean 'text'?");
}

TEST(Recipe, NoSideTextHasTheNameOfAnotherPlaceholder) {
  // With every kind of part, the message names what else can stand there.
  for (const char* kind : {"text", "history", "demonstrations"}) {
    const std::string message =
        message_for(with_parts(R"({"kind": ")" + std::string(kind) + R"(", "text": "{?}"},)" + answer));
    const std::string known = message.substr(message.find("stand ") + 6);
    ASSERT_FALSE(known.empty());
    for (std::size_t open = known.find('{'); open != std::string::npos; open = known.find('{', open + 1)) {
      const std::string name = known.substr(open + 1, known.find('}', open) - open - 1);
      expect_contains(message_for(with_parts(R"({"kind": "text", "text": "", "where": [{"has": [")" + name +
                                             R"("], "text": ""}]},)" + answer)),
                      "'" + name + "' in 'where': ");
    }
  }
}

TEST(Recipe, ShippedOnesAreFoundByName) {
  std::vector<std::string> names;
  for (const ShippedRecipe& shipped : shipped_recipes()) {
    names.push_back(shipped.name);
    EXPECT_EQ(Recipe::load(shipped.name).name, shipped.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"shared", "window", "plain", "retrieval", "impact", "speaker",
                                             "dialogue", "features", "traits"}));
  EXPECT_EQ(Recipe::load("shared").history, std::nullopt);
  EXPECT_EQ(Recipe::load("window").history, 12);
  expect_contains(message_of<ConfigurationError>([] { Recipe::load("sharde"); }),
                  "--recipe sharde is neither a file nor a recipe of this program (shared, window, plain, "
                  "retrieval, impact, speaker, dialogue, features, traits)");
}

TEST(Recipe, FilesOfTheUserAreRead) {
  const TemporaryFolder folder;
  EXPECT_EQ(Recipe::load(folder.write("mine.json", with_parts(answer))).name, "x");
}

TEST(Recipe, ParseHistory) {
  EXPECT_EQ(parse_history("all", "--history"), std::nullopt);
  EXPECT_EQ(parse_history("5", "--history"), 5);
  expect_contains(message_of<ConfigurationError>([] { parse_history("5x", "--history"); }),
                  "--history is '5x', it must be a number of lines or 'all'");
}

}  // namespace
}  // namespace chorus
