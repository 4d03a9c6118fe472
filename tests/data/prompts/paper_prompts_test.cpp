#include <nlohmann/json.hpp>

#include "data/corpora/side_texts.h"
#include "data/prompts/prompt.h"
#include "data/text/text_file.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

using Json = nlohmann::json;

// [[speaker, text] or [speaker, text, label], …]
Dialogue parse_dialogue(const Json& lines) {
  Dialogue dialogue{"0", {}};
  for (const Json& line : lines) {
    dialogue.utterances.push_back({std::to_string(dialogue.utterances.size()), line[0], line[1],
                                   line.size() > 2 ? line[2].get<std::string>() : "", 0});
  }
  return dialogue;
}

// Recipes can say what the programs of InstructERC and DialogueLLM wrote, byte for byte. paper_prompts.json holds
// recipes of these formats and what they must give.
TEST(PaperPrompts, AreWrittenByteForByte) {
  TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 200; ++i) text += "Please select the emotional label, and the speaker of the line.\n";
  train_tokenizer({{folder.write("text.txt", text)}, 300, folder / "t.model"});
  const Tokenizer tokenizer = Tokenizer::load(folder / "t.model");

  const Json file = Json::parse(read_file(CHORUS_SOURCE_DIR "/tests/data/prompts/paper_prompts.json"));
  ASSERT_EQ(file["cases"].size(), 13U);
  for (const Json& test : file["cases"]) {
    Dialogue dialogue = parse_dialogue(file["dialogue"]);
    const Json captions = test.value("captions", Json::object());
    for (const auto& [turn, caption] : captions.items())
      set_side_text(dialogue.utterances[std::stoul(turn)], "caption",
                    std::make_shared<const std::string>(caption));
    std::vector<Dialogue> elsewhere;
    const Json demonstrations = test.value("demonstrations", Json::array());
    for (const Json& demonstration : demonstrations)
      elsewhere.push_back(parse_dialogue(demonstration["dialogue"]));
    std::vector<Line> examples;
    for (std::size_t i = 0; i < elsewhere.size(); ++i)
      examples.push_back({&elsewhere[i], demonstrations[i]["turn"]});

    const PromptWriter writer(Recipe::parse(test["recipe"].dump(), test["name"]), tokenizer,
                              {test["labels"], 0, test.value("first_speaker", 0)});
    EXPECT_EQ(writer.text({&dialogue, test["turn"]}, examples), test["prompt"].get<std::string>())
        << test["name"];
  }
}

}  // namespace
}  // namespace chorus
