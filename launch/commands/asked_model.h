#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/scoring/predictions.h"
#include "data/prompts/prompt_form.h"
#include "data/sets/batches.h"
#include "launch/commands/opened_model.h"

namespace chorus {

struct AskOptions {
  ModelChoice model;
  std::string data;  // prepared data to take the prompts from; empty: prompts.json beside the adapter or base
  std::int64_t max_tokens = 0;  // of a prompt; 0: as `chorus prepare` has it, or the base's positions
  BatchOptions batches;
};

void add_asking(OptionTable& table, AskOptions& options);

// How the model was asked in training: by the data that is named, or by what stands beside the adapter, or without one
// beside the base.
PromptForm form_of(const AskOptions& options);
// Tokens of a prompt at most.
std::int64_t longest_prompt(const AskOptions& options, const ModelConfig& model);

// A line, and how probable each label is, the most probable first.
struct AskedLine {
  std::string dialogue, utterance, speaker, text;
  std::string label;  // the most probable; "": several are, exactly alike
  std::vector<std::pair<std::string, double>> probabilities;
};

// A model that labels lines as it was trained to. What is wrong with the options is found before the base is loaded.
// `facts` are those of the options; what is read is added to them.
class AskedModel {
 public:
  AskedModel(const AskOptions& options, PromptForm form, SharedFacts facts, const MakeRuntime& make_runtime);

  Runtime& runtime() { return opened_.runtime(); }

  // Asks for every line, or for the last of each dialogue. Collective.
  std::vector<AskedLine> ask(std::span<const Dialogue> dialogues, bool last_line_only,
                             const Progress& progress = {});

 private:
  const AskOptions& options_;
  PromptForm form_;
  OpenedModel opened_;
};

}  // namespace chorus
