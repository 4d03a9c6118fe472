// chorus tokenizer --encode and --decode, and whole runs on a base that has a tokenizer.json only.

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/data/tokenizers/tokenizer_json.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Not;

class JsonTokenizerCommands : public testing::Test {
 protected:
  std::string at(const std::string& name) const { return folder_ / name; }
  void refused(const std::vector<std::string>& arguments, ExitCode code, const std::string& part) const {
    const Outcome outcome = run_chorus(arguments);
    EXPECT_EQ(outcome.exit_code, static_cast<int>(code)) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(part));
  }
  void init(const std::string& base, const nlohmann::json& tokenizer) const {
    write_text(at(base + ".json"), tokenizer.dump());
    write_text(at("tokenizer_config.json"), R"({"eos_token": "<|endoftext|>"})");
    run_successfully({"init", "--tokenizer", at(base + ".json"), "--hidden-size", "16", "--layers", "1",
                      "--query-heads", "2", "--key-value-heads", "1", "--head-width", "8", "--max-positions",
                      "2048", "--output", at(base)});
  }
  TemporaryFolder folder_;
};

const std::vector<std::pair<std::string, std::string>> merges{
    {"\u0120", "t"}, {"\u0120t", "h"}, {"e", "r"}, {"o", "u"}};

TEST_F(JsonTokenizerCommands, EncodesAndDecodesLines) {
  write_text(at("base/tokenizer.json"), byte_level_json(merges, true).dump());
  const std::string texts = "\"the ther\"\n\"\"\n\"\\u0000<|begin|>\\ud83d\\ude42\"\n";
  const Outcome encoded = run_chorus_reading(texts, {"tokenizer", "--encode", at("base")});
  ASSERT_EQ(encoded.exit_code, 0) << encoded.err;
  EXPECT_EQ(encoded.out, "[116,104,101,257,258]\n[]\n[0,260,240,159,153,130]\n");
  const Outcome special =
      run_chorus_reading("\"the\"\n\"\"", {"tokenizer", "--encode", at("base/tokenizer.json"), "--special"});
  EXPECT_EQ(special.out, "[260,116,104,101]\n[260]\n");
  const Outcome decoded = run_chorus_reading(encoded.out, {"tokenizer", "--decode", at("base")});
  EXPECT_EQ(decoded.out, "\"the ther\"\n\"\"\n\"\\u0000<|begin|>\U0001F642\"\n");
  EXPECT_EQ(run_chorus_reading("", {"tokenizer", "--encode", at("base")}).out, "");
}

TEST_F(JsonTokenizerCommands, AnInputThatCannotBeReadIsNotTakenForItsEnd) {
  write_text(at("base/tokenizer.json"), byte_level_json().dump());
  const Outcome outcome = run_chorus({"tokenizer", "--encode", at("base")}, {"sh", "-c", R"("$@" </)", "sh"});
  EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::data));
  EXPECT_EQ(outcome.err, "chorus tokenizer: error: the standard input could not be read to its end\n");
}

TEST_F(JsonTokenizerCommands, RefusesLinesAndOptionsThatMakeNoSense) {
  write_text(at("base/tokenizer.json"), byte_level_json().dump());
  const auto said = [&](const std::string& mode, const std::string& lines) {
    const Outcome outcome = run_chorus_reading(lines, {"tokenizer", mode, at("base")});
    EXPECT_EQ(outcome.exit_code, static_cast<int>(ExitCode::data));
    return outcome.err;
  };
  EXPECT_THAT(said("--encode", "\"a\"\n7\n"),
              HasSubstr("line 2 of the standard input: must be a JSON string, is 7"));
  EXPECT_THAT(said("--encode", "a\n"), HasSubstr("line 1 of the standard input: is not valid JSON"));
  EXPECT_THAT(said("--encode", "\"a\xFF\"\n"), HasSubstr("is not valid JSON"));
  EXPECT_THAT(said("--decode", "\"a\"\n"), HasSubstr("must be a JSON list of ids, is \"a\""));
  EXPECT_THAT(said("--decode", "[-1]\n"), HasSubstr("line 1 of the standard input: -1 is no id of a token"));
  EXPECT_THAT(said("--decode", "[258]\n"), HasSubstr("token 258 is outside the vocabulary of 258"));
  const std::string encode = "--encode", base = at("base");
  refused({"tokenizer", encode, base, "--decode", base}, ExitCode::configuration, "give one of them");
  refused({"tokenizer", "--decode", base, "--special"}, ExitCode::configuration, "--special is for --encode");
  refused({"tokenizer", encode, base, "text.txt"}, ExitCode::configuration,
          "--input is for learning a tokenizer");
  refused({"tokenizer", encode, base, "--output", "x"}, ExitCode::configuration, "--output is for learning");
  refused({"tokenizer", "text.txt"}, ExitCode::configuration, "missing: option --output FILE");
  refused({"tokenizer", "--output", "x"}, ExitCode::configuration, "missing: argument FILE");
  refused({"tokenizer", encode, at("none")}, ExitCode::data, "none: no such file");
}

TEST_F(JsonTokenizerCommands, ABaseIsPreparedForTrainedAndAnswersWithIt) {
  run_successfully({"sample", "--train-dialogues", "6", "--dev-dialogues", "2", "--test-dialogues", "3",
                    "--paragraphs", "20", "--output", at("corpus")});
  init("base", byte_level_json(merges));
  EXPECT_FALSE(std::filesystem::exists(at("base/tokenizer.model")));
  const auto config = nlohmann::json::parse(read_text(at("base/config.json")));
  EXPECT_EQ(config["vocab_size"], 262);
  EXPECT_EQ(config["eos_token_id"], 261);
  EXPECT_TRUE(config["bos_token_id"].is_null());
  run_successfully({"prepare", at("corpus"), "--base", at("base"), "--history", "1", "--output", at("data")});
  EXPECT_THAT(run_successfully({"inspect", at("data/test.h5"), "--show", "1", "--base", at("base")}),
              HasSubstr("<|endoftext|>"));
  run_successfully({"train", "--base", at("base"), "--data", at("data"), "--output", at("adapter"),
                    "--lora-rank", "2", "--max-steps", "2"});
  EXPECT_THAT(run_successfully({"generate", "--base", at("base"), "--adapter", at("adapter"),
                                "--max-new-tokens", "3", "there \u00E9"}),
              HasSubstr("there \u00E9"));
  refused({"generate", "--base", at("base"), ""}, ExitCode::configuration,
          "the prompt is empty, and texts of " + at("base") + " begin with no token of their own");
  run_successfully({"evaluate", "--base", at("base"), "--adapter", at("adapter"), "--data", at("data"),
                    "--decode", "greedy", "--max-new-tokens", "3", "--compare-base", "off"});
  run_successfully({"train", "--base", at("base"), "--data", at("data"), "--output", at("full"), "--method",
                    "full", "--max-steps", "1"});
  EXPECT_EQ(read_text(at("full/tokenizer.json")), read_text(at("base/tokenizer.json")));

  // Another one, which fits the base as well.
  init("other", byte_level_json({merges.rbegin(), merges.rend() - 2}, true));
  refused({"prepare", at("corpus"), "--base", at("other"), "--tokenizer", at("base/tokenizer.json"),
           "--output", at("never")},
          ExitCode::configuration, "is another one than " + at("other/tokenizer.json"));
  run_successfully({"prepare", at("corpus"), "--base", at("other"), "--tokenizer", at("other.json"),
                    "--output", at("data of other")});
  EXPECT_THAT(
      run_successfully({"inspect", at("data of other/test.h5"), "--show", "1", "--tokenizer", at("other")}),
      HasSubstr("<|begin|>"));
  std::filesystem::copy_file(at("other/tokenizer.json"), at("base/tokenizer.json"),
                             std::filesystem::copy_options::overwrite_existing);
  refused({"train", "--base", at("base"), "--data", at("data"), "--output", at("never"), "--max-steps", "1"},
          ExitCode::data, "was prepared with the tokenizer ");
}

TEST_F(JsonTokenizerCommands, TheVocabularyOfABaseMayBePaddedButNotCut) {
  init("base", byte_level_json(merges));
  write_text(at("base/tokenizer.json"), byte_level_json({merges.begin(), merges.begin() + 2}).dump());
  EXPECT_THAT(
      run_successfully({"generate", "--base", at("base"), "--max-new-tokens", "2", "a"}),
      HasSubstr(
          "has 262 rows for the 260 pieces of its tokenizer: the last 2 are neither read nor generated"));
  auto more = merges;
  more.emplace_back("a", "n");
  write_text(at("base/tokenizer.json"), byte_level_json(more).dump());
  refused({"generate", "--base", at("base"), "a"}, ExitCode::data,
          "the tokenizer has 263 pieces, and the base model " + at("base") + " has a vocabulary of only 262");
}

}  // namespace
}  // namespace chorus
