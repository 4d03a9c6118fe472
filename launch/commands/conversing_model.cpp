#include "launch/commands/conversing_model.h"

#include <algorithm>

#include "data/text/text.h"

namespace chorus {

namespace {

// Tokens of prompts at most, so that an answer has room behind them: all that it may have, or half of the positions.
std::int64_t room_for_prompts(const AskOptions& ask, const ConversationOptions& options,
                              const ModelConfig& model) {
  const std::int64_t most = model.longest_text(), answer = std::min(options.max_new_tokens, most / 2);
  return std::min(longest_prompt(ask, model), most - answer);
}

}  // namespace

ConversingModel::ConversingModel(const AskOptions& ask, const ConversationOptions& options,
                                 const ChatTemplate& form, SharedFacts facts, const MakeRuntime& make_runtime)
    : options_(options),
      opened_(ask.model),
      writer_(form, opened_.tokenizer()),
      prompt_tokens_(room_for_prompts(ask, options, opened_.base().config())),
      system_{Message::Role::system, options.system, "", true} {
  facts.emplace_back("chat template", form.json);
  opened_.agree(std::move(facts), make_runtime);
  answers_as_ = generate_options(opened_.base(), opened_.tokenizer(), options.max_new_tokens);
  answers_as_.ends.push_back(writer_.end());
  answers_as_.temperature = options.temperature;
  const std::int64_t length =
      std::min(opened_.base().config().longest_text(), prompt_tokens_ + options.max_new_tokens);
  opened_.load(pass_limits({.prompt_tokens = prompt_tokens_, .sequences = 1, .length = length}), true);
  text_.emplace(opened_.model(), length, opened_.activations());
}

std::string ConversingModel::answer(const std::string& words) {
  const std::vector<Message> former = turns_;
  turns_.push_back({Message::Role::user, words, "", true});
  const Message* system = options_.system.empty() ? nullptr : &system_;
  std::vector<std::int32_t> prompt = writer_.prompt(system, turns_);
  while (std::ssize(prompt) > prompt_tokens_ && turns_.size() > 1) {
    turns_.erase(turns_.begin(), turns_.begin() + 2);
    prompt = writer_.prompt(system, turns_);
  }
  if (const std::int64_t tokens = std::ssize(prompt); tokens > prompt_tokens_) {
    turns_ = former;
    throw DataError(
        fmt::format("the line is a prompt of {} tokens, and there is room for {}: say less, or "
                    "change --max-tokens or --max-new-tokens",
                    tokens, prompt_tokens_));
  }
  forgotten_ = (std::ssize(former) + 1 - std::ssize(turns_)) / 2;
  // Another number for each turn, so that two that are alike may be answered differently.
  answers_as_.seed = options_.seed + static_cast<std::uint64_t>(turns_.size() / 2);
  const std::vector<std::int32_t> answered =
      text_->answer(prompt, answers_as_, [&] { return runtime().stop_requested(); });
  const std::string text(trimmed(opened_.tokenizer().decode(answered)));
  turns_.push_back({Message::Role::assistant, text, "", true});
  return text;
}

}  // namespace chorus
