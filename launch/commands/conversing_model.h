#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/scoring/generator.h"
#include "data/prompts/chat_writer.h"
#include "launch/commands/asked_model.h"

namespace chorus {

struct ConversationOptions {
  std::string system;  // prompt; "": none
  std::int64_t max_new_tokens = 256;
  double temperature = 0;
  std::uint64_t seed = 1;
};

// A model that answers in a conversation, with the chat template of its training. What is wrong with the options is found
// before the base is loaded. `facts` are those of the options; what is read is added to them.
class ConversingModel {
 public:
  ConversingModel(const AskOptions& ask, const ConversationOptions& options, const ChatTemplate& form,
                  SharedFacts facts, const MakeRuntime& make_runtime);

  Runtime& runtime() { return opened_.runtime(); }

  void begin_anew() { turns_.clear(); }
  // Throws DataError where the words alone are too long; the conversation is then as it was.
  std::string answer(const std::string& words);
  // Exchanges that the last answer no longer saw.
  std::int64_t forgotten() const { return forgotten_; }

 private:
  const ConversationOptions& options_;
  OpenedModel opened_;
  std::optional<CachedText> text_;  // the last prompt and its answer
  ChatWriter writer_;
  GenerateOptions answers_as_;
  std::int64_t prompt_tokens_;  // at most
  Message system_;
  std::vector<Message> turns_;
  std::int64_t forgotten_ = 0;
};

}  // namespace chorus
