#include "launch/options/nearest_name.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <utility>

#include "data/text/text.h"

namespace chorus {
namespace {

std::string comparable(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    plain += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return plain;
}

// Names of transformers, PEFT and the trainers built on them, and of Megatron, as comparable() writes them.
constexpr std::pair<std::string_view, std::string_view> other_trainers[]{
    {"adapter-name-or-path", "adapter"},
    {"base-model", "base"},
    {"base-model-name-or-path", "base"},
    {"bf16", "precision"},
    {"block-size", "context"},
    {"checkpoint", "resume"},
    {"clip-grad", "max-grad-norm"},
    {"cutoff-len", "max-tokens"},
    {"data-path", "data"},
    {"dataset", "data"},
    {"dataset-dir", "data"},
    {"dtype", "precision"},
    {"evaluation-steps", "eval-steps"},
    {"finetuning-type", "method"},
    {"fp16", "precision"},
    {"fp32", "precision"},
    {"global-batch-size", "batch-size"},
    {"gradient-accumulation-steps", "tokens-per-microbatch"},
    {"gradient-checkpointing", "recompute"},
    {"gradient-clipping", "max-grad-norm"},
    {"lora-r", "lora-rank"},
    {"lora-target", "lora-targets"},
    {"lora-target-modules", "lora-targets"},
    {"lora-weights", "adapter"},
    {"loraplus-lr-ratio", "lora-plus-ratio"},
    {"lr", "learning-rate"},
    {"lr-scheduler", "schedule"},
    {"lr-scheduler-type", "schedule"},
    {"lr-warmup-iters", "warmup-steps"},
    {"max-length", "max-tokens"},
    {"max-length", "max-new-tokens"},
    {"max-seq-len", "max-tokens"},
    {"max-seq-length", "max-tokens"},
    {"max-tokens", "max-new-tokens"},
    {"micro-batch-size", "tokens-per-microbatch"},
    {"model", "base"},
    {"model-name", "base"},
    {"model-name-or-path", "base"},
    {"model-path", "base"},
    {"num-epochs", "epochs"},
    {"num-train-epochs", "epochs"},
    {"out", "output"},
    {"output-dir", "output"},
    {"peft-model-id", "adapter"},
    {"per-device-eval-batch-size", "tokens-per-microbatch"},
    {"per-device-train-batch-size", "batch-size"},
    {"report-to", "tensorboard"},
    {"resume-from-checkpoint", "resume"},
    {"save-dir", "output"},
    {"tensor-model-parallel-size", "tensor-parallel"},
    {"torch-dtype", "precision"},
    {"tp", "tensor-parallel"},
    {"train-batch-size", "batch-size"},
    {"train-iters", "max-steps"},
    {"use-rslora", "rslora"},
    {"wd", "weight-decay"},
};

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  const std::string wanted = comparable(name.substr(std::min(name.find_first_not_of('-'), name.size())));
  std::string best;
  const auto letters = static_cast<std::int64_t>(wanted.size());
  std::int64_t fewest = letters < 5 ? letters / 3 : std::max<std::int64_t>(2, letters / 3);
  for (const std::string& candidate : known) {
    const std::string other = comparable(candidate);
    const bool part = wanted.size() >= 3 && other != wanted && other.find(wanted) != std::string::npos;
    const std::int64_t edits = part ? 1 : edit_distance(wanted, other);
    if (edits > fewest || (edits == fewest && !best.empty())) continue;
    best = candidate;
    fewest = edits;
  }
  return best;
}

std::string name_elsewhere(std::string_view name, const std::vector<std::string>& known) {
  const std::string wanted = comparable(name);
  for (const auto& [theirs, ours] : other_trainers) {
    if (theirs == wanted && std::ranges::count(known, ours) > 0) return std::string(ours);
  }
  return "";
}

std::string suggestion(std::string_view before, std::string_view name, std::string_view after) {
  return name.empty()
             ? ""
             : "; did you mean " + std::string(before) + std::string(name) + std::string(after) + "?";
}

}  // namespace chorus
