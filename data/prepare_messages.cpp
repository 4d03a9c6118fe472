#include <algorithm>
#include <filesystem>
#include <optional>

#include "data/corpora/conversation.h"
#include "data/corpora/rows.h"
#include "data/corpora/split_files.h"
#include "data/preparation.h"
#include "data/prompts/chat_writer.h"
#include "data/prompts/prompt_form.h"
#include "data/split_features.h"
#include "data/text/text.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

namespace fs = std::filesystem;
using Role = Message::Role;

std::vector<Source> sources_of(const PrepareOptions& options) {
  if (options.inputs.size() != 1 || !fs::is_directory(options.inputs[0]))
    return parse_sources(options.inputs, "train", "split");
  const fs::path folder = options.inputs[0];
  std::vector<std::string> named;
  for (const fs::path& file : split_files(folder, ".jsonl"))
    named.push_back(file.stem().string() + "=" + file.string());
  for (const fs::path& file : split_files(folder, ".json")) {
    // Other JSON files say what a data set is.
    const std::string name = split_name(file.stem().string());
    if (name == "train" || name == "dev" || name == "test") named.push_back(name + "=" + file.string());
  }
  require<DataError>(!named.empty(), folder.string(),
                     ": has no train.jsonl, dev.jsonl, test.jsonl, nor any other .jsonl, and no train.json, "
                     "dev.json or test.json");
  return parse_sources(named, "train", "split");
}

// Cuts conversations at the borders of exchanges, what users say and the answers to it, and makes samples of them.
class ConversationCutter {
 public:
  ConversationCutter(const ChatWriter& writer, const PrepareOptions& options, SplitLedger& ledger)
      : writer_(writer), options_(options), ledger_(ledger) {}

  std::vector<GroupSample> cut(const Conversation& conversation, const RowPlace& place) {
    std::span<const Message> turns(conversation.messages);
    const Message* system = options_.system.empty() ? nullptr : &default_system_;
    if (turns[0].role == Role::system) {
      system = &turns[0];
      turns = turns.subspan(1);
    }
    const std::string objection = writer_.objection(turns);
    require_row(objection.empty(), place, "turns in an order that the chat template has not", objection);
    try {
      samples_.clear();
      const std::vector<std::span<const Message>> exchanges = exchanges_of(turns);
      if (options_.loss_on == LossOn::last) {
        cut_oldest(system, exchanges);
      } else {
        split(system, exchanges);
      }
    } catch (const DataError& error) {
      require_row(false, place, "a token of the chat template in a text", error.what());
    }
    ++ledger_.dialogues;
    ledger_.utterances += std::ssize(turns);
    return std::move(samples_);
  }

 private:
  using Exchange = std::span<const Message>;

  static std::vector<Exchange> exchanges_of(std::span<const Message> turns) {
    std::vector<Exchange> exchanges;
    std::size_t begin = 0;
    for (std::size_t i = 1; i <= turns.size(); ++i) {
      const bool ends =
          i == turns.size() || (turns[i].role == Role::user && turns[i - 1].role == Role::assistant);
      if (!ends) continue;
      exchanges.push_back(turns.subspan(begin, i - begin));
      begin = i;
    }
    return exchanges;
  }

  // What stands behind the last answer is predicted from nothing and predicts nothing.
  static std::ptrdiff_t length_with_last_answer(const Sequence& sequence) {
    const auto is_learned = [](std::int32_t label) { return label != unsupervised; };
    return std::find_if(sequence.labels.rbegin(), sequence.labels.rend(), is_learned).base() -
           sequence.labels.begin();
  }

  bool fits(const Sequence& sequence) const {
    return options_.max_tokens == 0 || length_with_last_answer(sequence) <= options_.max_tokens;
  }

  void append(const Message* system, Exchange exchange, Sequence& sequence) const {
    for (const Message& turn : exchange) writer_.add(system, turn, sequence);
  }

  // Each piece takes as many exchanges as there is room for.
  void split(const Message* system, const std::vector<Exchange>& exchanges) {
    Sequence open;
    for (const Exchange& exchange : exchanges) {
      Sequence longer = open;
      append(system, exchange, longer);
      if (!fits(longer) && !open.tokens.empty()) {
        close(std::exchange(open, {}));
        longer = {};
        append(system, exchange, longer);
      }
      if (fits(longer)) {
        open = std::move(longer);
      } else {
        drop();
      }
    }
    if (!open.tokens.empty()) close(std::move(open));
    if (samples_.size() > 1) {
      ++ledger_.notes["conversations split at the borders of exchanges"];
      ledger_.shortened_samples += std::ssize(samples_);
    }
  }

  // The last answer alone is learned, and what stands before it stays as far as there is room.
  void cut_oldest(const Message* system, const std::vector<Exchange>& exchanges) {
    std::vector<Message> last(exchanges.back().begin(), exchanges.back().end());
    for (std::size_t i = 0; i + 1 < last.size(); ++i) last[i].trained = false;
    for (std::size_t first = 0; first < exchanges.size(); ++first) {
      Sequence sequence;
      for (std::size_t i = first; i + 1 < exchanges.size(); ++i) append(system, exchanges[i], sequence);
      std::ranges::fill(sequence.labels, unsupervised);
      append(system, last, sequence);
      if (!fits(sequence)) {
        ledger_.lines_cut += first + 1 < exchanges.size() ? std::ssize(exchanges[first]) : 0;
        continue;
      }
      if (first > 0) ++ledger_.shortened_samples;
      close(std::move(sequence));
      return;
    }
    drop();
  }

  void drop() { ++ledger_.dropped[fmt::format("exchanges of more than {} tokens", options_.max_tokens)]; }

  void close(Sequence sequence) {
    const auto length = static_cast<std::size_t>(length_with_last_answer(sequence));
    sequence.tokens.resize(length);
    sequence.labels.resize(length);
    if (sequence.tokens.empty()) {
      ++ledger_.notes["pieces of conversations in which nothing is learned, left out"];
      return;
    }
    ledger_.longest_sample = std::max(ledger_.longest_sample, std::int64_t{std::ssize(sequence.tokens)});
    samples_.push_back({std::move(sequence), -1, -1, 1});
  }

  const ChatWriter& writer_;
  const PrepareOptions& options_;
  SplitLedger& ledger_;
  Message default_system_{Role::system, options_.system, "", true};
  std::vector<GroupSample> samples_;
};

// Under which keys a feature file may have what a conversation names: as it stands, without its extension, or as the file
// alone is called, without folder and extension.
std::vector<std::string> keys_of(const std::string& name) {
  std::vector<std::string> keys{name};
  for (const fs::path& shorter : {fs::path(name).replace_extension(), fs::path(name).stem()}) {
    if (!shorter.empty() && shorter.string() != keys.back()) keys.push_back(shorter.string());
  }
  return keys;
}

// Gives each place in the messages its rows.
void take_features(Conversation& conversation, SplitFeatures* features, const RowPlace& place,
                   SplitLedger& ledger) {
  for (Message& message : conversation.messages) {
    for (const std::string& name : message.keys) {
      require_row(features != nullptr, place, "features without a file of them",
                  fmt::format("the conversation shows '{}': give the HDF5 file that holds its vectors with "
                              "--features, or pass over such rows with --skip-bad-rows",
                              name));
      try {
        message.features.push_back(
            features->take(keys_of(name), fmt::format("{}:{}", place.file, place.line), ledger.notes));
      } catch (const DataError& error) {
        throw RowError(error.what(), "features that cannot be taken");
      }
    }
  }
}

// Returns how many places have features.
std::int64_t prepare_conversations(const Source& source, const ChatWriter& writer,
                                   const FeatureFile* feature_file, Preparation& preparation) {
  const PrepareOptions& options = preparation.options;
  SplitLedger& ledger = preparation.ledger.splits.emplace_back();
  ledger.split = source.name;
  ConversationFile file(source.path);
  preparation.ledger.remarks.push_back(fmt::format("{}: {}", source.path, file.form()));
  DatasetOrigin origin = preparation.origin(source.name);
  origin.recipe_name = writer.form().name;
  origin.recipe_text = prompt_text_of(writer.form());
  SplitWriter split = preparation.writer(origin);
  std::optional<SplitFeatures> features;
  if (feature_file != nullptr) features.emplace(*feature_file, options, split);
  ConversationCutter cutter(writer, options, ledger);
  read_rows({options.skip_bad_rows}, ledger, [&] {
    if (ledger.rows_read == file.rows()) return false;
    ++ledger.rows_read;
    std::optional<Conversation> conversation = file.next(ledger);
    const RowPlace place{source.path, conversation->line};
    take_features(*conversation, features ? &*features : nullptr, place, ledger);
    const std::vector<GroupSample> samples = cutter.cut(*conversation, place);
    if (!samples.empty()) {
      split.add_group(samples, fmt::format("{}:{}", place.file, place.line));
      preparation.show_first(source.name, samples[0].sequence);
    }
    preparation.report(source.name, ledger.rows_read, file.rows());
    return true;
  });
  if (features) features->finish();
  Preparation::finish(split, ledger);
  return features ? features->places() : 0;
}

}  // namespace

void prepare_messages(Preparation& preparation) {
  const PrepareOptions& options = preparation.options;
  const ChatWriter writer(
      preparation.chat_template(options.chat_template.empty() ? "auto" : options.chat_template),
      preparation.tokenizer());
  preparation.ledger.recipe = writer.form().name;
  const std::optional<FeatureFile> feature_file = open_feature_file(options);
  std::int64_t places = 0;
  for (const Source& source : sources_of(options))
    places += prepare_conversations(source, writer, feature_file ? &*feature_file : nullptr, preparation);
  require<ConfigurationError>(!feature_file || places > 0, "--features: no conversation of ",
                              joined(options.inputs, ", "), " names arrays of ", options.features,
                              ", in images, videos, audios, features or parts of contents; leave the option "
                              "out, or name them");
}

}  // namespace chorus
