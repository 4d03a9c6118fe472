#pragma once

#include "core/training/train_config.h"
#include "launch/options/options.h"
#include "launch/process/runtime.h"

namespace chorus {

// All options of a training.
void add_training(OptionTable& table, TrainConfig& c, RuntimeOptions& runtime);

// The configuration of a training can be given where `table` has only some of its options; the others are passed over.
void pass_over_training(OptionTable& table);

// Those that say what a step computes.
void add_lora(OptionTable& table, TrainConfig& c);
void add_optimisation(OptionTable& table, TrainConfig& c);

// Those that say how much it computes, which a plan has as well.
void add_method_choice(OptionTable& table, TrainConfig& c);
void add_adapters(OptionTable& table, TrainConfig& c);
void add_projector(OptionTable& table, TrainConfig& c);
void add_batches(OptionTable& table, TrainConfig& c);  // and how many of them
void add_order(OptionTable& table, TrainConfig& c);    // of samples, and what they share
void add_division_of_work(OptionTable& table, TrainConfig& c);
void add_recompute(OptionTable& table, Recompute& recompute);
// ", blocks recomputed", behind what else is said of a step; nothing where nothing is.
std::string_view recomputed(Recompute recompute);

}  // namespace chorus
