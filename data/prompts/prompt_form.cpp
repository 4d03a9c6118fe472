#include "data/prompts/prompt_form.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/corpora/side_texts.h"
#include "data/prompts/prompt.h"
#include "data/text/files.h"
#include "data/text/json.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr const char* chat_field = "chat_template";

// A recipe, which may have a chat template as well, has parts.
bool is_of_conversations(const nlohmann::json& json) {
  return json.contains(chat_field) && !json.contains("parts");
}

PromptForm form_of_conversations(const nlohmann::json& json, const std::string& where) {
  const JsonFields fields(json, where, {chat_field});
  return {{}, {}, ChatTemplate::parse(fields.get(chat_field).dump(), where + ": " + chat_field)};
}

void require_side_texts(std::span<const Dialogue> dialogues, const Recipe& recipe) {
  for (const std::string& name : recipe.needed_side_texts()) {
    const bool any = std::ranges::any_of(dialogues, [&](const Dialogue& dialogue) {
      return std::ranges::any_of(dialogue.utterances, [&](const Utterance& utterance) {
        return side_text(utterance, name) != nullptr;
      });
    });
    require<ConfigurationError>(
        any, "recipe ", recipe.name, " shows {", name,
        "}, and no line has it: give the dialogues as JSON lines whose utterances have "
        "\"side\": {\"",
        name, "\": \"...\"}");
  }
}

}  // namespace

std::string prompt_text_of(const ChatTemplate& chat) {
  return nlohmann::ordered_json{{chat_field, nlohmann::ordered_json::parse(chat.json)}}.dump(2) + "\n";
}

PromptForm PromptForm::of(const DatasetOrigin& origin, const std::string& where) {
  require<DataError>(!origin.recipe_text.empty(), where,
                     " has no prompts: it was made of token lists or plain text");
  const nlohmann::json json = parse_json(origin.recipe_text, where + ": recipe");
  if (is_of_conversations(json)) return form_of_conversations(json, where + ": recipe");
  return {Recipe::parse(origin.recipe_text, where + ": recipe"), origin.labels};
}

std::optional<std::filesystem::path> PromptForm::find(const std::filesystem::path& folder) {
  // Whether or not the name ends with a slash.
  const std::filesystem::path around =
      (std::filesystem::absolute(folder) / "").lexically_normal().parent_path().parent_path();
  for (const std::filesystem::path& each : {folder, around}) {
    if (std::filesystem::path file = each / prompt_form_file; std::filesystem::exists(file)) return file;
  }
  return std::nullopt;
}

PromptForm PromptForm::read(const std::filesystem::path& folder) {
  const std::optional<std::filesystem::path> found = find(folder);
  require<ConfigurationError>(
      found.has_value(), folder.string(), " has no ", prompt_form_file,
      ", which `chorus train` writes beside an adapter and which says how to ask it: name the folder of the "
      "data that it was trained on with --data");
  const std::string file = found->string();
  const nlohmann::json json = read_json_file(*found);
  if (is_of_conversations(json)) return form_of_conversations(json, file);
  const JsonFields fields(json, file, {"recipe", "labels"});
  require<DataError>(fields.has("recipe") && fields.has("labels"), file,
                     ": must have the fields 'recipe' and 'labels'");
  return {Recipe::parse(fields["recipe"].dump(), file + ": recipe"),
          parse_names(fields["labels"], file + ": labels")};
}

void PromptForm::write(const std::filesystem::path& folder) const {
  std::string text;
  if (chat) {
    text = prompt_text_of(*chat);
  } else {
    const nlohmann::ordered_json json{{"labels", labels},
                                      {"recipe", nlohmann::ordered_json::parse(recipe.json)}};
    text = json.dump(2) + "\n";
  }
  write_file_atomically(folder / prompt_form_file, text);
}

std::string PromptForm::title() const {
  return chat ? "conversations, chat template " + chat->name : "recipe " + recipe.title();
}

bool PromptForm::asks_like(const PromptForm& other) const {
  if (chat.has_value() != other.chat.has_value()) return false;
  const auto text = [](const PromptForm& form) {
    return nlohmann::json::parse(form.chat ? form.chat->json : form.recipe.json);
  };
  return text(*this) == text(other);
}

void PromptForm::require_askable() const {
  require<ConfigurationError>(
      !chat, "the prompts are conversations with an assistant, written by chat template ",
      chat ? chat->name : "", ", which have no labels: talk with the model by `chorus chat`");
  const std::string begin = "recipe " + recipe.name;
  require<ConfigurationError>(recipe.task == Recipe::Task::emotion, begin,
                              " does not ask for the label of a line");
  require<ConfigurationError>(!recipe.mentions("features"), begin,
                              " shows features, which these lines do not have: prepare them as a split with "
                              "--features, and evaluate that");
  require<ConfigurationError>(!recipe.has(Recipe::PartKind::demonstrations), begin,
                              " shows examples of a train split: prepare these dialogues as another split "
                              "beside it, and evaluate that");
}

Dataset questions_about(std::span<const Dialogue> dialogues, const PromptForm& form,
                        const Tokenizer& tokenizer, const QuestionLimits& limits) {
  form.require_askable();
  require_side_texts(dialogues, form.recipe);
  PromptWriter writer(form.recipe, tokenizer, {form.labels, limits.max_tokens});
  DatasetOrigin origin;
  origin.corpora = {"asked"};
  origin.split = "asked";
  origin.recipe_name = form.recipe.title();
  origin.recipe_text = form.recipe.json;
  origin.tokenizer_hash = tokenizer.hash();
  origin.vocabulary_size = static_cast<std::int32_t>(limits.vocabulary_size);
  origin.labels = form.labels;
  origin.label_words = writer.words();
  DatasetBuilder builder(origin);
  std::vector<std::int32_t> answers(form.labels.size());
  std::iota(answers.begin(), answers.end(), 0);
  for (const Dialogue& dialogue : dialogues) {
    std::vector<GroupSample> samples;
    for (std::size_t turn = limits.last_line_only ? dialogue.utterances.size() - 1 : 0;
         turn < dialogue.utterances.size(); ++turn) {
      const Line line{&dialogue, turn};
      const Utterance& utterance = line.utterance();
      Prompts prompts = writer.write(line, answers, false);
      require<DataError>(!prompts.sequences.empty(), "line ", utterance.line, ", '",
                         utterance.text.substr(0, 40), "…', has more than ", limits.max_tokens,
                         " tokens even without history");
      const std::int32_t index =
          builder.add_utterance({0, dialogue.id, utterance.id, utterance.speaker, utterance.text, -1});
      for (std::size_t i = 0; i < answers.size(); ++i)
        samples.push_back({std::move(prompts.sequences[i]), index, answers[i], 1});
    }
    builder.add_group(samples, "dialogue " + dialogue.id);
  }
  return builder.finish();
}

}  // namespace chorus
