#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/corpora/fraction.h"
#include "data/prompts/demonstrations.h"

namespace chorus {

// Whether </s> follows an answer; bases that never learned that token do better without.
enum class AnswerEnd { as_recipe, end_of_text, none };

// What becomes of lines, or of keys in token lists and conversations, that the feature file does not hold.
enum class MissingFeatures { zeros, refuse };

// Which of an assistant's turns are learned.
enum class LossOn { all, last };

// Of the train split.
enum class DialogueOrder { as_read, difficulty };

struct PrepareOptions {
  // One of dialogue_corpora(): `inputs` is its path. "mixed": several of them as NAME=PATH, in one data set.
  // "tokens": JSON lines {"input_ids": [..], "labels": [..]}, labels aligned with the ids and -100 where nothing is to
  //           be learned; with an optional "group" string, lines of one group become one tree; of those without one,
  //           neighbours that begin alike. An "attention_mask" says what is padding. "features" names the arrays whose rows
  //           stand in the places of `feature_token_id`, in order.
  // "text":   paragraphs between blank lines, each <s> … </s>, joined in their order to samples of `context` tokens.
  // "messages": conversations with an assistant (data/corpora/conversation.h), written by a chat template.
  // For the latter three an input is FILE or SPLIT=FILE, without a name it is train; messages also take a folder of
  // SPLIT.jsonl or SPLIT.json.
  std::string corpus = "meld";
  std::vector<std::string> inputs;
  std::string output;                // folder; must not exist or be empty
  std::string config;                // text of config.ini beside the data sets; "": none
  std::string tokenizer;             // file or folder of a tokenizer; the tokens corpus can do without
  std::int64_t vocabulary_size = 0;  // of the base model; 0: the tokenizer's
  std::int64_t max_tokens = 1024;    // of a prompt with its answer; 0: no limit
  std::int64_t context = 256;        // of the text corpus
  // Of the tokens corpus, at most, where no group is named; 1: nothing is shared.
  std::int64_t lines_per_tree = 16;
  std::int64_t longest_text = 0;  // of the base model; a longer token list is malformed; 0: not known
  std::string bound_of_texts;     // what bounds it: "512 positions"
  // Of the tokens corpus: stands in the place of an array of features. The default is LLaVA's IMAGE_TOKEN_INDEX.
  std::int32_t feature_token_id = -200;
  bool skip_bad_rows = false;                          // count malformed rows instead of stopping
  std::int64_t shard_bytes = std::int64_t{128} << 20;  // a larger split is written in shards

  // Of messages and dialogues: a chat template's name or path, or "auto"; "" is auto of messages, and none of dialogues.
  std::string chat_template;

  // Of messages:
  std::string system;  // the system prompt of conversations that have none; "": none
  LossOn loss_on = LossOn::all;

  // Of dialogues:
  std::string recipe = "shared";  // name or path
  std::string history;            // number of lines or "all"; "": as the recipe says
  AnswerEnd answer_end = AnswerEnd::as_recipe;
  std::string auxiliary;          // a second recipe, asked in training as well; "": none
  double auxiliary_weight = 0.1;  // of its answers in the loss
  // Of answers in the loss of training, LABEL=WEIGHT each, others 1; or "balanced" alone.
  std::vector<std::string> label_weights;
  std::string label_map;  // file; "": labels as they are
  DialogueOrder order = DialogueOrder::as_read;
  std::string emotion_wheel;   // FILE of where labels stand (data/corpora/difficulty.h); "": the usual places
  std::string fraction = "1";  // of the train split's lines that are asked about: "1/4", "0.25"
  Mix mix = Mix::ratio;
  std::uint64_t fraction_seed = 1;
  DemonstrationOptions demonstrations;
  std::vector<std::string> side;  // NAME=FILE of each side text (data/corpora/side_texts.h)
  std::string captions;           // FILE of the one that is called caption; "": none
  std::string feature_key;        // pattern of the features' keys; "": that of their file's layout

  // Of dialogues, of the tokens corpus and of messages:
  std::string features;           // HDF5 file; "": none
  std::int64_t feature_rows = 1;  // of an utterance or key, at most
  bool half_precision_features = false;
  MissingFeatures missing_features = MissingFeatures::zeros;
};

// Tells how far `what` has come.
using PrepareProgress = std::function<void(std::string_view what, std::int64_t done, std::int64_t total)>;

}  // namespace chorus
