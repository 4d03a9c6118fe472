// chorus predict and chorus chat: what they say of lines is what `chorus evaluate` says of the same lines in a split.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/text/text.h"
#include "ops/base/error.h"
#include "tests/launch/program.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using Json = nlohmann::ordered_json;

std::vector<Json> lines_of(const std::string& text) {
  std::vector<Json> lines;
  for (const NumberedLine& line : filled_lines(text)) lines.push_back(Json::parse(line.text));
  return lines;
}

class PredictCommand : public testing::Test {
 protected:
  PredictCommand() {
    write_tiny_data(folder_);  // with one line of history, which is not what the recipe says
    run_successfully({"train", "--base", at("base"), "--data", at("data"), "--max-steps", "3",
                      "--learning-rate", "3e-2", "--batch-size", "4", "--output", at("run")});
  }
  std::string at(const std::string& name) const { return folder_ / name; }
  std::vector<std::string> command(const std::string& name, const std::string& run,
                                   const std::vector<std::string>& more) const {
    std::vector<std::string> words{name, "--base", at("base"), "--adapter", at(run)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  // Labels and probabilities of `run`, from a file, typed, and in a chat, are those of the test split of `data`.
  void expect_answers_of_evaluate(const std::string& data, const std::string& run) const;
  void refused(const std::vector<std::string>& arguments, ExitCode code, const std::string& part) const {
    const Outcome outcome = run_chorus(arguments);
    EXPECT_EQ(outcome.exit_code, static_cast<int>(code)) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(part));
  }

  TemporaryFolder folder_;
};

void PredictCommand::expect_answers_of_evaluate(const std::string& data, const std::string& run) const {
  run_successfully({"evaluate", "--base", at("base"), "--adapter", at(run), "--data", at(data),
                    "--compare-base", "off", "--predictions", at("scored.jsonl")});
  const std::vector<Json> scored = lines_of(read_text(at("scored.jsonl")));
  std::string plain, json;
  Json dialogue;
  const auto close = [&] {
    if (!dialogue.is_null()) json += dialogue.dump() + "\n";
  };
  for (const Json& line : scored) {
    if (dialogue.is_null() || dialogue["id"] != line["dialogue"]) {
      close();
      dialogue = Json{{"id", line["dialogue"]}, {"utterances", Json::array()}};
      plain += "\n";
    }
    dialogue["utterances"].push_back(
        {{"id", line["utterance"]}, {"speaker", line["speaker"]}, {"text", line["text"]}});
    plain += line["speaker"].get<std::string>() + ": " + line["text"].get<std::string>() + "\n";
  }
  close();
  write_text(at("lines.jsonl"), json);
  write_text(at("lines.txt"), plain);
  const std::string table =
      run_successfully(command("predict", run, {at("lines.jsonl"), "--output", at("predicted.jsonl")}));
  const std::vector<Json> predicted = lines_of(read_text(at("predicted.jsonl")));
  ASSERT_EQ(predicted.size(), scored.size());
  for (std::size_t i = 0; i < scored.size(); ++i) {
    EXPECT_EQ(predicted[i]["dialogue"], scored[i]["dialogue"]);
    EXPECT_EQ(predicted[i]["utterance"], scored[i]["utterance"]);
    EXPECT_EQ(predicted[i]["label"], scored[i]["predicted"]);
    double sum = 0, all = 0;
    for (const auto& [label, score] : scored[i]["scores"].items()) sum += std::exp(score.get<double>());
    for (const auto& [label, score] : scored[i]["scores"].items()) {
      const double probability = predicted[i]["probabilities"][label];
      EXPECT_NEAR(probability, std::exp(score.get<double>()) / sum, 1e-6) << i << " " << label;
      all += probability;
    }
    EXPECT_NEAR(all, 1, 1e-12);
    EXPECT_THAT(table, HasSubstr(scored[i]["speaker"].get<std::string>() + ": " +
                                 scored[i]["text"].get<std::string>()));
  }
  // The same from lines of plain text on the standard input; with the prompts of the data instead of the adapter's; one by
  // one in a chat.
  const Outcome typed = run_chorus_reading(plain, command("predict", run, {"-", "--output", "-"}));
  ASSERT_EQ(typed.exit_code, 0) << typed.err;
  const Outcome by_data =
      run_chorus_reading(plain, command("predict", run, {"-", "--output", "-", "--data", at(data)}));
  const std::vector<Json> of_text = lines_of(typed.out);
  ASSERT_EQ(of_text.size(), scored.size());
  EXPECT_EQ(by_data.out, typed.out);
  const Outcome chat = run_chorus_reading(plain, command("chat", run, {}));
  const std::vector<NumberedLine> said = filled_lines(chat.out);
  ASSERT_EQ(said.size(), 2 * scored.size()) << chat.out << chat.err;
  for (std::size_t i = 0; i < scored.size(); ++i) {
    EXPECT_EQ(of_text[i]["label"], scored[i]["predicted"]);
    EXPECT_THAT(said[2 * i + 1].text,
                testing::StartsWith("  " + scored[i]["predicted"].get<std::string>() + " "));
  }
}

TEST_F(PredictCommand, AnswersAsEvaluateDoes) { expect_answers_of_evaluate("data", "run"); }

TEST_F(PredictCommand, AnswersWithinTheChatTemplateOfTheTraining) {
  run_successfully({"prepare", "--base", at("base"), "--history", "1", "--chat-template", "alpaca",
                    "--output", at("wrapped"), at("corpus")});
  run_successfully({"train", "--base", at("base"), "--data", at("wrapped"), "--max-steps", "3",
                    "--learning-rate", "3e-2", "--batch-size", "4", "--output", at("wrapped-run")});
  EXPECT_EQ(
      Json::parse(read_text(at("wrapped-run/prompts.json"))).at("recipe").at("chat_template").at("name"),
      "alpaca");
  expect_answers_of_evaluate("wrapped", "wrapped-run");
  const std::vector<std::string> asked{"--adapter", at("run"), "--compare-base", "off", "--data"};
  const auto evaluate = [&](const std::string& data) {
    std::vector<std::string> words{"evaluate", "--base", at("base")};
    words.insert(words.end(), asked.begin(), asked.end());
    words.push_back(at(data));
    return run_successfully(words);
  };
  EXPECT_THAT(evaluate("wrapped"),
              HasSubstr("was trained with the prompts of recipe shared, those of the data are "
                        "of recipe shared, chat template alpaca"));
  EXPECT_THAT(evaluate("data"), testing::Not(HasSubstr("was trained with the prompts of")));
}

// Of a base of zeros every token is as probable as any other, so that labels of one length are.
TEST_F(PredictCommand, NoLabelIsTheAnswerWhereTwoAreTheMostProbable) {
  const std::string line = R"({"speaker": "Mia", "text": "Oh!", "label": "q"})";
  write_text(at("own/labels.json"), R"(["q", "x", "z"])");
  for (const std::string split : {"train", "dev", "test"})
    write_text(at("own/" + split + ".jsonl"), R"({"id": "y", "utterances": [)" + line + "]}");
  run_successfully({"prepare", "--corpus", "jsonl", at("own"), "--base", at("base"), "--output", at("tied")});
  const std::string weights = at("base/model.safetensors");
  std::string bytes = read_text(weights);
  // Without the metadata, whose hashes tell a damaged file.
  const std::size_t metadata = bytes.find("\"__metadata__\""), behind = bytes.find("},", metadata) + 2;
  ASSERT_LT(metadata, behind);
  bytes.replace(metadata, behind - metadata, behind - metadata, ' ');
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(sizeof header + header), bytes.end(), '\0');
  std::filesystem::remove(weights);
  write_text(weights, bytes);
  run_successfully(
      {"evaluate", "--base", at("base"), "--data", at("tied"), "--predictions", at("scored.jsonl")});
  EXPECT_TRUE(lines_of(read_text(at("scored.jsonl"))).at(0).at("predicted").is_null());
  write_text(at("lines.txt"), "Mia: Oh!\n");
  const std::vector<std::string> asked{"--base", at("base"), "--data", at("tied")};
  const auto ask = [&](std::vector<std::string> words) {
    words.insert(words.end(), asked.begin(), asked.end());
    return words;
  };
  const std::string table =
      run_successfully(ask({"predict", at("lines.txt"), "--output", at("predicted.jsonl")}));
  EXPECT_THAT(table, HasSubstr("(no label)   33 %  Mia: Oh!\n"));
  EXPECT_THAT(table, HasSubstr("1 of 1 lines have no label: several are the most probable, exactly alike"));
  const Json predicted = lines_of(read_text(at("predicted.jsonl"))).at(0);
  EXPECT_TRUE(predicted.at("label").is_null());
  EXPECT_EQ(predicted.at("probabilities").at("x"), predicted.at("probabilities").at("z"));
  const Outcome chat = run_chorus_reading("Mia: Oh!\n", ask({"chat"}));
  EXPECT_THAT(chat.out, HasSubstr("  (no label)  q 33 %   x 33 %   z 33 %"));
}

TEST_F(PredictCommand, ShowsSideTextsAndLaterLines) {
  const std::string line =
      R"({"id": "y", "utterances": [{"speaker": "Mia", "text": "Oh!", "label": "joy", "side": {"cue": "loud"}},)"
      R"({"speaker": "Leo", "text": "What is it?", "label": "fear"}]})";
  for (const std::string split : {"train", "dev", "test"}) write_text(at("own/" + split + ".jsonl"), line);
  write_text(at("recipe.json"), R"({"name": "around", "parts": [
      {"kind": "text", "text": "{utterance}\n", "where": [{"has": ["cue"], "text": "{utterance} ({cue})\n"}]},
      {"kind": "future", "text": "Then {utterance}\n"}, {"kind": "answer", "text": "{label}"}]})");
  run_successfully({"prepare", "--corpus", "jsonl", at("own"), "--recipe", at("recipe.json"), "--base",
                    at("base"), "--output", at("around")});
  const auto with = [&](std::vector<std::string> words, const std::string& data) {
    words.insert(words.end(), {"--base", at("base"), "--data", at(data)});
    return words;
  };
  run_successfully(with({"evaluate", "--predictions", at("scored.jsonl")}, "around"));
  run_successfully(with({"predict", at("own/test.jsonl"), "--output", at("predicted.jsonl")}, "around"));
  const std::vector<Json> scored = lines_of(read_text(at("scored.jsonl"))),
                          predicted = lines_of(read_text(at("predicted.jsonl")));
  ASSERT_EQ(scored.size(), 2U);
  ASSERT_EQ(predicted.size(), 2U);
  for (std::size_t i = 0; i < scored.size(); ++i) {
    const double joy = scored[i]["scores"]["joy"], fear = scored[i]["scores"]["fear"];
    EXPECT_NEAR(predicted[i]["probabilities"]["joy"].get<double>(), 1 / (1 + std::exp(fear - joy)), 1e-6);
  }
  write_text(at("bare.txt"), "Mia: Oh!\n");
  refused(with({"predict", at("bare.txt")}, "around"), ExitCode::configuration,
          "recipe around shows {cue}, and no line has it");
  refused(with({"chat"}, "around"), ExitCode::configuration,
          "recipe around shows {cue}, which lines that are typed do not have: use `chorus predict`");

  write_text(at("recipe.json"), R"({"name": "later", "parts": [{"kind": "text", "text": "{utterance}\n"},
      {"kind": "future", "text": "Then {utterance}\n"}, {"kind": "answer", "text": "{label}"}]})");
  run_successfully({"prepare", "--corpus", "jsonl", at("own"), "--recipe", at("recipe.json"), "--base",
                    at("base"), "--output", at("later")});
  const Outcome chat = run_chorus_reading("Mia: Oh!\nLeo: What is it?\n", with({"chat"}, "later"));
  ASSERT_EQ(chat.exit_code, 0) << chat.err;
  const std::string remark = "Recipe later also shows lines after the one asked about";
  EXPECT_EQ(chat.out.find(remark), chat.out.rfind(remark)) << "said once";
  EXPECT_THAT(chat.out, HasSubstr(remark));
}

TEST_F(PredictCommand, SaysWhatIsMissing) {
  write_text(at("lines.txt"), "Ann: Hi!\n");
  refused({"predict", "--base", at("base"), at("lines.txt")}, ExitCode::configuration, "--data");
  refused({"predict", "--base", at("base"), "--adapter", at("run"), at("nowhere.txt")}, ExitCode::data,
          "nowhere.txt");
  refused(command("predict", "run", {at("lines.txt"), "--output", at("lines.txt")}), ExitCode::configuration,
          "--output");
  refused(command("predict", "run", {at("lines.txt"), "--max-tokens", "10"}), ExitCode::data,
          "more than 10 tokens even without history");
  if (has_mpirun()) {
    const Outcome ranks = run_chorus(command("predict", "run", {"-"}), mpirun(2));
    EXPECT_EQ(ranks.exit_code, static_cast<int>(ExitCode::configuration));
    EXPECT_THAT(ranks.err, HasSubstr("standard input to one rank only"));
  }
  std::filesystem::remove(at("run/prompts.json"));
  refused(command("predict", "run", {at("lines.txt")}), ExitCode::configuration, "prompts.json");
}

}  // namespace
}  // namespace chorus
