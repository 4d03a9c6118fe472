#include "experiments/studies/study.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::holds;
using test::message_of;

// A study with this text among its fields and these rows.
std::string study_text(const std::string& rows, const std::string& more = "") {
  return R"({"name": "s", "title": "T", "corpora": ["meld", "emorynlp"], "seeds": [1, 2], )" + more +
         R"("rows": [)" + rows + "]}";
}

Study parsed(const std::string& text) { return Study::parse(text, "s.json", "/studies/paper"); }

std::string refusal(const std::string& text) {
  return message_of<DataError>([&] { parsed(text); });
}

TEST(Study, IsReadWithAllItsFields) {
  const Study study = parsed(study_text(
      R"({"name": "a", "title": "A", "prepare": {"history": 12, "recipe": null}, "train": {"epochs": 1.5},
          "stages": [{"prepare": {"recipe": "speaker"}, "train": {"recompute": true}}],
          "published": {"llama2": {"meld": 69.15, "emorynlp": 41}}},
         {"name": "b", "train": false, "mixed": true, "evaluate": {"decode": "greedy"}})",
      R"("source": "P", "notes": "N", "prepare": {"recipe": "window"}, "published_base": "llama2",
         "train": {"learning-rate": 2e-4, "lora-targets": ["q", "v"]}, )"));
  EXPECT_EQ(study.seeds, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(study.prepare.at("recipe"), "window");
  EXPECT_EQ(study.train.at("learning-rate"), "0.0002");
  EXPECT_EQ(study.train.at("lora-targets"), "q,v");
  ASSERT_EQ(study.rows.size(), 2U);
  const StudyRow& row = study.rows[0];
  EXPECT_EQ(row.prepare.at("history"), "12");
  EXPECT_EQ(row.prepare.at("recipe"), std::nullopt);
  EXPECT_EQ(row.stages.at(0).train.at("recompute"), "on");
  EXPECT_EQ(row.published.at("llama2").at("meld"), 69.15);
  EXPECT_FALSE(study.rows[1].trained);
  EXPECT_TRUE(study.rows[1].mixed);
  EXPECT_EQ(study.rows[1].title, "b");
}

TEST(Study, FilesStandBesideIt) {
  const Study study = parsed(study_text(
      R"({"name": "a", "prepare": {"recipe": "own.json", "label-map": "../labels.json", "auxiliary": "impact",
          "captions": "{captions}/meld.jsonl", "side": ["traits=traits.jsonl", "cue={cues}/c.jsonl", "x=/x.jsonl"], "features": "/data/f.h5", "fraction": "1/4"}})"));
  const CommandOptions& prepare = study.rows[0].prepare;
  EXPECT_EQ(prepare.at("recipe"), "/studies/paper/own.json");
  EXPECT_EQ(prepare.at("label-map"), "/studies/labels.json");
  EXPECT_EQ(prepare.at("auxiliary"), "impact");
  EXPECT_EQ(prepare.at("captions"), "{captions}/meld.jsonl");
  EXPECT_EQ(prepare.at("side"), "traits=/studies/paper/traits.jsonl,cue={cues}/c.jsonl,x=/x.jsonl");
  EXPECT_EQ(prepare.at("features"), "/data/f.h5");
  EXPECT_EQ(prepare.at("fraction"), "1/4");
}

TEST(Study, IsReadStrictly) {
  EXPECT_TRUE(holds(refusal("{"), "s.json: is not valid JSON"));
  EXPECT_TRUE(holds(refusal("[]"), "s.json: must be an object, is array"));
  EXPECT_TRUE(holds(refusal(study_text(R"({"name": "a"})", R"("seed": 1, )")),
                    "s.json: unknown field 'seed'; did you mean 'seeds'?"));
  EXPECT_TRUE(holds(refusal(study_text(R"({"name": "a", "trian": {}})")),
                    "s.json: row 1: unknown field 'trian'; did you mean 'train'?"));
  EXPECT_TRUE(holds(refusal(study_text("")), "field 'rows' must be a list that is not empty"));
  EXPECT_TRUE(holds(refusal(study_text(R"({"name": "a"}, {"name": "a"})")), "row 2: the name 'a' is taken"));
  EXPECT_TRUE(holds(refusal(study_text(R"({"name": "a/b"})")), "row 1: the name 'a/b' must be of small"));
  EXPECT_TRUE(holds(refusal(study_text(R"({"name": "a", "train": {"epochs": {}}})")),
                    "row 1: option 'epochs' of train must be a string"));
  EXPECT_TRUE(holds(refusal(study_text(R"({"name": "a", "train": {"--epochs": 1}})")), "without dashes"));
  EXPECT_TRUE(
      holds(refusal(study_text(R"({"name": "a", "train": false, "stages": [{}]})")), "\"train\": false"));
  EXPECT_TRUE(
      holds(refusal(R"({"name": "s", "title": "T", "corpora": ["meld"], "seeds": [1, 1], "rows": []})"),
            "the seed 1 stands there twice"));
}

TEST(Study, PublishedScoresAreOfKnownCorporaAndABase) {
  const std::string row = R"({"name": "a", "published": {"llama2": {"meld": 1}}})";
  EXPECT_TRUE(holds(refusal(study_text(R"({"name": "a", "published": {"llama2": {"medl": 1}}})")),
                    "row 1: published for llama2: unknown field 'medl'; did you mean 'meld'?"));
  EXPECT_TRUE(holds(refusal(study_text(row)), "'published_base' must say"));
  EXPECT_TRUE(holds(refusal(study_text(row, R"("published_base": "llama", )")), "for llama2"));
}

TEST(CommandOptionsText, IsReadLikeACommandLine) {
  const CommandOptions options =
      parse_command_options("--epochs 1 --recompute --name='a b' --text \"c d\" --shuffle off", "--x");
  EXPECT_EQ(options.at("epochs"), "1");
  EXPECT_EQ(options.at("recompute"), "on");
  EXPECT_EQ(options.at("name"), "a b");
  EXPECT_EQ(options.at("text"), "c d");
  EXPECT_EQ(options.at("shuffle"), "off");
  EXPECT_TRUE(parse_command_options("", "--x").empty());
  EXPECT_TRUE(holds(message_of<ConfigurationError>([] { parse_command_options("epochs 1", "--x"); }),
                    "--x: 'epochs' stands where the name of an option should"));
  EXPECT_TRUE(holds(message_of<ConfigurationError>([] { parse_command_options("--a 'b", "--x"); }),
                    "--x: a quote is not closed"));
}

TEST(CommandOptionsText, OverlaysDefaults) {
  const CommandOptions options = overlaid({{"a", "1"}, {"b", "2"}}, {{"b", std::nullopt}, {"c", "3"}});
  EXPECT_EQ(options, (CommandOptions{{"a", "1"}, {"b", std::nullopt}, {"c", "3"}}));
}

// What lies in experiments/PAPER and says itself that it is a study.
TEST(Study, AllShippedOnesAreReadAndNameFilesThatAreThere) {
  int studies = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(CHORUS_SOURCE_DIR "/experiments")) {
    if (entry.path().extension() != ".json") continue;
    if (!holds(test::read_bytes(entry.path()), "\"rows\":")) continue;
    SCOPED_TRACE(entry.path());
    ++studies;
    const Study study = Study::load(entry.path());
    std::vector<CommandOptions> all{study.prepare};
    for (const StudyRow& row : study.rows) all.push_back(row.prepare);
    for (const CommandOptions& options : all) {
      for (const auto& [name, value] : options) {
        if (!value || !value->starts_with("/")) continue;
        EXPECT_TRUE(std::filesystem::exists(*value)) << name << " " << *value;
      }
    }
  }
  EXPECT_GE(studies, 10);
}

}  // namespace
}  // namespace chorus
