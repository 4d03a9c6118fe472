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
      base_(ask.base),
      tokenizer_(Tokenizer::load(base_.tokenizer_path())),
      writer_(form, tokenizer_),
      prompt_tokens_(room_for_prompts(ask, options, base_.config())),
      system_{Message::Role::system, options.system, "", true} {
  base_.check_tokenizer_size(tokenizer_.size());
  ModelOptions model_options;
  model_options.precision = ask.precision;
  model_options.base_precision = ask.base_precision;
  if (!ask.adapter.empty()) {
    adapter_.emplace(read_peft(ask.adapter));
    model_options.lora = adapter_->config;
  }
  add_content(facts, base_, adapter_);
  add_content(facts, "tokenizer", tokenizer_.hash());
  facts.emplace_back("chat template", form.json);
  runtime_ = make_runtime(ask.runtime, facts);
  for (const std::string& remark : remarks(base_, adapter_, ask.base_precision, true))
    runtime_->console().print(remark);
  answers_as_ = generate_options(base_, tokenizer_, options.max_new_tokens);
  answers_as_.ends.push_back(writer_.end());
  answers_as_.temperature = options.temperature;
  base_setup_.reset(new BaseSetup(take_base(base_, model_options, *runtime_)));
  base_setup_->llama.load(base_);
  const std::int64_t length =
      std::min(base_.config().longest_text(), prompt_tokens_ + options.max_new_tokens);
  setup_.emplace(
      *base_setup_, model_options,
      pass_limits(
          {.prompt_tokens = std::max<std::int64_t>(2, prompt_tokens_), .sequences = 1, .length = length}));
  if (adapter_) setup_->model.adapters().load(*adapter_);
}

std::string ConversingModel::answer(const std::string& words) {
  const std::vector<Message> former = turns_;
  turns_.push_back({Message::Role::user, words, "", true});
  const Message* system = options_.system.empty() ? nullptr : &system_;
  std::vector<std::vector<std::int32_t>> prompts{writer_.prompt(system, turns_)};
  while (std::ssize(prompts[0]) > prompt_tokens_ && turns_.size() > 1) {
    turns_.erase(turns_.begin(), turns_.begin() + 2);
    prompts[0] = writer_.prompt(system, turns_);
  }
  if (const std::int64_t tokens = std::ssize(prompts[0]); tokens > prompt_tokens_) {
    turns_ = former;
    throw DataError(
        fmt::format("the line is a prompt of {} tokens, and there is room for {}: say less, or "
                    "change --max-tokens or --max-new-tokens",
                    tokens, prompt_tokens_));
  }
  forgotten_ = (std::ssize(former) + 1 - std::ssize(turns_)) / 2;
  // Another number for each turn, so that two that are alike may be answered differently.
  answers_as_.seed = options_.seed + static_cast<std::uint64_t>(turns_.size() / 2);
  const auto answers = generate(setup_->model, prompts, answers_as_, setup_->activations, {},
                                [&] { return runtime_->stop_requested(); });
  const std::string text(trimmed(tokenizer_.decode(answers[0])));
  turns_.push_back({Message::Role::assistant, text, "", true});
  return text;
}

}  // namespace chorus
