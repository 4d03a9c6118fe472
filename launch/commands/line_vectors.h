#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/formats/base_model.h"
#include "core/model/llama.h"
#include "data/prompts/tokenizer.h"
#include "launch/options/options.h"
#include "launch/process/runtime.h"

namespace chorus {

struct LineVectorOptions {
  std::string folder;  // keeps vectors by content; "": nothing is kept
  ModelOptions model;
  RuntimeOptions runtime;
};

// Maps lines to vectors with a base, on all ranks of `prepare`, of which the first asks and the others help. The base is
// loaded when the first asks.
class LineVectors {
 public:
  // `tokenizer` is the file of the data's. `table` holds the options of the command, and outlives this as `options` does.
  LineVectors(const std::string& base, const std::string& tokenizer, const LineVectorOptions& options,
              const OptionTable& table, const MakeRuntime& make_runtime);

  Runtime& runtime() { return *runtime_; }

  // [texts, D], on the first rank. Throws Interrupted on all ranks alike once one is asked to stop.
  std::vector<float> of(std::span<const std::string> texts);
  // On the others: until the first one needs them no more.
  void help();
  // On the first rank, which needs the others no more.
  void finish();

 private:
  SharedFacts facts(const OptionTable& table) const;
  std::map<std::string, std::string> maker() const;
  std::vector<float> ask(std::span<const std::string> texts);
  std::vector<float> make(std::span<const std::string> texts);

  const LineVectorOptions& options_;
  BaseModel base_;
  Tokenizer tokenizer_;
  std::unique_ptr<Runtime> runtime_;
  bool others_wait_ = true;
};

}  // namespace chorus
