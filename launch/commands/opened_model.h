#pragma once

#include <memory>
#include <optional>
#include <string>

#include "launch/commands/model_setup.h"

namespace chorus {

// What is asked, and how it is computed.
struct ModelChoice {
  std::string base, adapter;  // adapter: empty for the base alone
  ModelOptions options;
  RuntimeOptions runtime;
};

// A base, alone or with an adapter, and its tokenizer, of a command that asks them: opened, agreed upon by the ranks, then
// loaded, so that what is wrong is found before the base is read.
class OpenedModel {
 public:
  // Reads all but the weights of the base.
  explicit OpenedModel(const ModelChoice& choice);

  const BaseModel& base() const { return base_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }

  // Makes the runtime. What was read is added to `facts`, which all ranks must have alike.
  void agree(SharedFacts facts, const MakeRuntime& make_runtime);
  Runtime& runtime() { return *runtime_; }

  // Says what is odd (remarks()), and takes and fills the memory.
  void load(const PassLimits& limits, bool generates);
  const Model& model() const { return setup_->model; }
  Arena& activations() { return setup_->activations; }

 private:
  ModelChoice choice_;
  BaseModel base_;
  std::optional<PeftAdapter> adapter_;
  Tokenizer tokenizer_;
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<BaseSetup> base_setup_;
  std::optional<ModelSetup> setup_;
};

}  // namespace chorus
