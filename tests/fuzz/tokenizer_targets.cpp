// Tokenizers, and the prompts that they write.

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "data/corpora/conversation.h"
#include "data/prompts/chat_template.h"
#include "data/prompts/chat_writer.h"
#include "data/prompts/prompt_form.h"
#include "data/prompts/recipe.h"
#include "data/prompts/tokenizer.h"
#include "data/tokenizers/sentencepiece_training.h"
#include "ops/base/error.h"
#include "tests/data/tokenizers/tokenizer_json.h"
#include "tests/fuzz/target.h"
#include "tests/support/scratch.h"

namespace chorus::fuzz {
namespace {

constexpr const char* sentence =
    "Hello, w\xC3\xB6rld!  I'll  42 <|endoftext|> \xE4\xBD\xA0\xE5\xA5\xBD\n\t\xF0\x9F\x98\x80 </s>";

void use(const Tokenizer& tokenizer, const std::string& text) {
  for (const auto& ids :
       {tokenizer.encode(text), tokenizer.encode_as_text(text), tokenizer.encode_with_special(text)})
    tokenizer.decode(ids);
  for (std::int32_t id = 0; id < std::min(tokenizer.size(), 300); ++id) {
    tokenizer.token(id);
    unless_refused([&] { tokenizer.decode(std::vector{id}); });
  }
  tokenizer.beginning();
  tokenizer.unk();
  unless_refused([&] { tokenizer.eos(); });
}

// A text may stand behind a zero byte, which JSON does not hold.
void read_tokenizer_json(const std::string& input) {
  const auto [json, text] = halves(input);
  use(Tokenizer::load(file("tokenizer-json/tokenizer.json", json)), text.empty() ? sentence : text);
}

void read_sentencepiece(const std::string& input) {
  use(Tokenizer::load(file("sentencepiece/tokenizer.model", input)), sentence);
}

// What stands beside a tokenizer: the end of its texts, and its chat template.
void read_tokenizer_config(const std::string& input) {
  file("tokenizer-config/tokenizer.json", byte_level_json().dump());
  file("tokenizer-config/tokenizer_config.json", input);
  const Tokenizer tokenizer = Tokenizer::load(folder("tokenizer-config"));
  unless_refused([&] { tokenizer.eos(); });
  choose_chat_template("auto", tokenizer);
}

void read_generation_config(const std::string& input) {
  file("generation-config/tokenizer.json", byte_level_json().dump());
  file("generation-config/generation_config.json", input);
  Tokenizer::load(folder("generation-config")).eos();
}

Tokenizer with_tokens_of_shipped_templates() {
  nlohmann::json json = byte_level_json();
  std::set<std::string> tokens;
  for (const ShippedChatTemplate& shipped : shipped_chat_templates()) {
    const ChatTemplate form = ChatTemplate::parse(shipped.json, shipped.name);
    tokens.insert(form.tokens.begin(), form.tokens.end());
  }
  tokens.erase("<|endoftext|>");
  for (const std::string& token : tokens)
    json["added_tokens"].push_back(
        added_token(256 + static_cast<std::int32_t>(json["added_tokens"].size()), token));
  return Tokenizer::load(file("chat-template/tokenizer.json", json.dump()));
}

void read_chat_template(const std::string& input) {
  static const Tokenizer tokenizer = with_tokens_of_shipped_templates();
  const ChatTemplate form = ChatTemplate::parse(input, "template");
  const ChatWriter writer(form, tokenizer);
  const Message system{Message::Role::system, "Be.", "", true},
      user{Message::Role::user, "Hi \xC3\xA9", "input", true},
      answer{Message::Role::assistant, "Yes.", "", true};
  if (!writer.objection(std::vector{user, answer}).empty()) return;
  Sequence sequence;
  writer.add(&system, user, sequence);
  writer.add(nullptr, answer, sequence);
  writer.prompt(&system, std::vector{user});
  marked_text(sequence, tokenizer);
}

void read_recipe(const std::string& input) {
  const Recipe recipe = Recipe::parse(input, "recipe");
  recipe.word("joy");
  recipe.mentions("{utterance}");
  Recipe::parse(recipe.with_history("3", "--history").with_open_answer(!recipe.chat).json, "recipe");
}

void read_prompt_form(const std::string& input) {
  file("prompt-form/prompts.json", input);
  PromptForm::read(folder("prompt-form")).require_askable();
}

std::vector<std::string> trained_sentencepiece() {
  const test::ScratchFolder scratch;
  std::string text;
  for (int i = 0; i < 200; ++i)
    text += "the cat number " + std::to_string(i * i) + " sat on a mat and laughed\n";
  test::write_bytes(scratch / "text", text);
  train_tokenizer(
      {.files = {scratch / "text"}, .vocabulary_size = 320, .output = scratch / "tokenizer.model"});
  return {test::read_bytes(scratch / "tokenizer.model")};
}

std::vector<std::string> tokenizer_jsons() {
  nlohmann::json llama = byte_level_json({{"h", "e"}, {"l", "l"}, {"he", "ll"}}, true),
                 qwen = byte_level_json();
  const nlohmann::json split = nlohmann::json::parse(
      R"({"type": "Split", "pattern": {"Regex": "(?i:'s|'t)|\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false})");
  const nlohmann::json bytes = nlohmann::json::parse(
      R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false})");
  llama["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}};
  llama["model"]["ignore_merges"] = true;
  qwen["added_tokens"].push_back(added_token(258, "<|im_end|>", {{"lstrip", true}, {"rstrip", true}}));
  qwen["normalizer"] = nullptr;
  std::vector<std::string> seeds{llama.dump(), qwen.dump() + std::string(1, '\0') + "Hi <|im_end|> there"};
  // Small ones, in which one byte more often says something else: of three tokens.
  nlohmann::json small = byte_level_json();
  small["model"]["vocab"] = {{"a", 0}, {"b", 1}, {"ab", 2}};
  small["model"]["merges"] = {"a b"};
  small["added_tokens"] = nlohmann::json::array({added_token(3, "<|endoftext|>")});
  seeds.push_back(small.dump() + std::string(1, '\0') + "abab<|endoftext|>ba");
  return seeds;
}

}  // namespace

std::vector<Target> tokenizer_targets() {
  return {
      {"tokenizer-json", tokenizer_jsons, read_tokenizer_json},
      {"sentencepiece", trained_sentencepiece, read_sentencepiece},
      {"tokenizer-config",
       [] {
         return std::vector<std::string>{
             R"({"eos_token": "<|endoftext|>", "chat_template": "{{'<|im_start|>' + message['role']}}"})",
             R"({"eos_token": {"content": "<|endoftext|>"}, "chat_template": [{"name": "default", "template": "[INST] "}]})"};
       },
       read_tokenizer_config},
      {"generation-config",
       [] {
         return std::vector<std::string>{R"({"eos_token_id": [257, 2]})", R"({"eos_token_id": 3})"};
       },
       read_generation_config},
      {"chat-template",
       [] {
         std::vector<std::string> seeds;
         for (const ShippedChatTemplate& shipped : shipped_chat_templates()) seeds.push_back(shipped.json);
         return seeds;
       },
       read_chat_template},
      {"recipe",
       [] {
         std::vector<std::string> seeds;
         for (const ShippedRecipe& shipped : shipped_recipes()) seeds.push_back(shipped.json);
         seeds.push_back(
             R"({"name": "x", "history": 2, "future": "all", "parts": [{"kind": "history", "text": "{utterance}",
             "where": [{"has": ["cue", "a_1"], "text": "{cue}{a_1}"}, {"has": ["cue"], "text": "", "optional": true}]},
             {"kind": "future", "text": "{speaker}"}, {"kind": "answer", "text": "{label}"}]})");
         seeds.push_back(
             Recipe::load("plain")
                 .with_chat_template(ChatTemplate::parse(shipped_chat_templates()[0].json, "template"))
                 .json);
         return seeds;
       },
       read_recipe},
      {"prompt-form",
       [] {
         const test::ScratchFolder scratch;
         PromptForm{Recipe::load("plain"), {"joy", "anger"}}.write(scratch.path());
         return std::vector<std::string>{test::read_bytes(scratch / prompt_form_file)};
       },
       read_prompt_form},
  };
}

}  // namespace chorus::fuzz
