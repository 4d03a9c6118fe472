#include "launch/commands/line_vectors.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/scoring/kept_embeddings.h"
#include "core/scoring/text_embeddings.h"
#include "launch/commands/model_setup.h"

namespace chorus {

namespace {

constexpr std::int64_t tokens_at_once = 2048;

}  // namespace

LineVectors::LineVectors(const std::string& base, const std::string& tokenizer,
                         const LineVectorOptions& options, const OptionTable& table,
                         const MakeRuntime& make_runtime)
    : options_(options),
      base_(base),
      tokenizer_(Tokenizer::load(tokenizer)),
      runtime_(make_runtime(options.runtime, facts(table))) {}

std::vector<float> LineVectors::of(std::span<const std::string> texts) {
  if (options_.folder.empty()) return ask(texts);
  KeptEmbeddings kept(options_.folder, maker());
  const std::vector<std::string> missing = kept.missing(texts);
  runtime_->console().print(fmt::format("vectors of {} lines: {} are in {}, {} are made now", texts.size(),
                                        texts.size() - missing.size(), kept.path().string(), missing.size()));
  if (!missing.empty()) kept.add(missing, ask(missing));
  return kept.of(texts);
}

void LineVectors::help() {
  runtime_->activity().now("waiting for lines of the first rank", 0);
  for (;;) {
    const auto texts = nlohmann::json::parse(runtime_->text_of_first("")).get<std::vector<std::string>>();
    if (texts.empty()) return;
    make(texts);
  }
}

void LineVectors::finish() {
  if (others_wait_) runtime_->text_of_first("[]");
}

// Ranks may have other files where they stand, but not other contents.
SharedFacts LineVectors::facts(const OptionTable& table) const {
  SharedFacts facts = facts_of(table, {"base", "input", "output", "tokenizer", "vectors", "features", "side",
                                       "captions", "label-map", "recipe", "auxiliary"});
  add_content(facts, base_, std::nullopt);
  add_content(facts, "tokenizer", tokenizer_.hash());
  return facts;
}

// All that a vector depends on, but for rounding: on how many ranks, and on which processors.
std::map<std::string, std::string> LineVectors::maker() const {
  return {{"base", fmt::format("{:016x}", base_.content_hash())},
          {"tokenizer", fmt::format("{:016x}", tokenizer_.hash())},
          {"precision", std::string(name(options_.model.precision))},
          {"base_precision", std::string(name(options_.model.base_precision))},
          {"longest_text", fmt::format("{}", tokens_at_once)},
          {"vector", "mean of the last hidden states"}};
}

std::vector<float> LineVectors::ask(std::span<const std::string> texts) {
  runtime_->text_of_first(nlohmann::json(texts).dump());
  return make(texts);
}

// Collective. Where one is interrupted, all are, and none waits any more.
std::vector<float> LineVectors::make(std::span<const std::string> texts) {
  others_wait_ = false;
  BaseSetup base_setup = take_base(base_, options_.model, *runtime_);
  base_setup.llama.load(base_);
  ModelSetup setup(base_setup, options_.model, {.tokens = tokens_at_once});
  Console& console = runtime_->console();
  console.print(
      fmt::format("vectors of {} lines | {}", texts.size(), runtime_->description(options_.model.precision)));
  auto vectors = embed_texts(
      setup.model, tokenizer_, texts, tokens_at_once, setup.activations,
      [&](std::int64_t done, std::int64_t total) {
        console.progress("vectors of lines", done, total);
        runtime_->activity().now("vectors of lines", done);
      },
      [&] { return runtime_->stop_requested(); });
  others_wait_ = true;
  console.finish();
  return vectors;
}

}  // namespace chorus
