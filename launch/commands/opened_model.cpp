#include "launch/commands/opened_model.h"

namespace chorus {

OpenedModel::OpenedModel(const ModelChoice& choice)
    : choice_(choice), base_(choice.base), tokenizer_(Tokenizer::load(base_.tokenizer_path())) {
  base_.check_tokenizer_size(tokenizer_.size());
  if (!choice.adapter.empty()) adapter_.emplace(read_peft(choice.adapter));
}

void OpenedModel::agree(SharedFacts facts, const MakeRuntime& make_runtime) {
  add_content(facts, base_, adapter_);
  add_content(facts, "tokenizer", tokenizer_.hash());
  runtime_ = make_runtime(choice_.runtime, facts);
}

void OpenedModel::load(const PassLimits& limits, bool generates) {
  for (const std::string& remark : remarks(base_, adapter_, choice_.options.base_precision, generates))
    runtime_->console().print(remark);
  ModelOptions options = choice_.options;
  if (adapter_) options.lora = adapter_->config;
  base_setup_.reset(new BaseSetup(take_base(base_, options, *runtime_)));
  base_setup_->llama.load(base_);
  setup_.emplace(*base_setup_, options, limits);
  if (adapter_) setup_->model.adapters().load(*adapter_);
}

}  // namespace chorus
