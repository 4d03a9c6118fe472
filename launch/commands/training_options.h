#pragma once

#include "core/training/train_config.h"
#include "launch/options/options.h"
#include "launch/process/runtime.h"

namespace chorus {

// All options of a training.
void add_training(OptionTable& table, TrainConfig& c, RuntimeOptions& runtime);

// The configuration of a training can be given where `table` has only some of its options; the others are passed over.
void pass_over_training(OptionTable& table);

// Options that say what a step computes.
void add_lora(OptionTable& table, TrainConfig& c);
void add_optimisation(OptionTable& table, TrainConfig& c);

// Options that say how much it computes, which a plan has as well.
void add_method_choice(OptionTable& table, Method& method);
void add_adapters(OptionTable& table, LoraConfig& lora);
void add_projector(OptionTable& table, ProjectorConfig& projector);
void add_batches(OptionTable& table, TrainConfig& c);       // and how many of them
void add_order(OptionTable& table, BatchOptions& batches);  // of samples, and what they share
void add_tokens_per_microbatch(OptionTable& table, BatchOptions& batches);
void add_prefix_sharing(OptionTable& table, BatchOptions& batches);
void add_division_of_work(OptionTable& table, ModelOptions& model);
void add_recompute(OptionTable& table, Recompute& recompute);
// ", blocks recomputed", behind what else is said of a step; nothing where nothing is.
std::string_view recomputed(Recompute recompute);

}  // namespace chorus
