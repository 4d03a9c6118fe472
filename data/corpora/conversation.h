#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/corpora/ledger.h"
#include "data/corpora/message.h"
#include "data/text/text.h"
#include "data/text/text_file.h"

namespace chorus {

// A system prompt, if there is one, stands first; then users and assistants, an assistant at the end.
struct Conversation {
  std::vector<Message> messages;
  std::int64_t line = 0;
};

// A file of conversations, as JSON lines or as one JSON array, in one of three forms, recognised by the first object:
//   OpenAI's   {"messages": [{"role": "system|user|assistant", "content": "…"}]}; "developer" is "system", the content
//              may be a list of parts, and "weight": 0 says of an answer that it is not learned
//   ShareGPT's {"conversations": [{"from": "system|human|gpt", "value": "…"}], "system": "…"}
//   Alpaca's   {"instruction": "…", "input": "…", "output": "…", "system": "…", "history": [["…", "…"]]}
// Where a row names images, videos or sounds (feature_places.h), messages have places of features and keys, but no rows yet.
// docs/formats.md says what else may stand in them. A row is in memory while it is read.
class ConversationFile {
 public:
  // Throws DataError for a file that cannot be read or whose objects are of none of these forms.
  explicit ConversationFile(const std::filesystem::path& path);
  ConversationFile(const ConversationFile&) = delete;
  ConversationFile& operator=(const ConversationFile&) = delete;

  std::int64_t rows() const { return count_; }
  const std::string& form() const { return form_; }
  // The next row; nothing behind the last. Throws RowError with file and line for what is none: no JSON, another form, an
  // unknown role, calls of tools, an empty text, places of features that do not fit their keys, a system prompt that does not
  // stand first, no answer; the row behind it is then the next. Adds to the notes of the ledger what it leaves out.
  std::optional<Conversation> next(SplitLedger& ledger);

 private:
  MappedText file_;
  std::function<std::optional<NumberedView>()> rows_;  // the next, each one object
  std::int64_t count_ = 0;
  std::string form_;
};

}  // namespace chorus
