#pragma once

#include "core/config.h"
#include "launch/options.h"

namespace chorus {

// Options that describe a training, for the commands that run one and that plan one.
void add_method_choice(OptionTable& table, TrainConfig& c);
void add_projector(OptionTable& table, TrainConfig& c);
void add_batches(OptionTable& table, TrainConfig& c);  // and how many of them
void add_order(OptionTable& table, TrainConfig& c);    // of samples, and what they share
void add_division_of_work(OptionTable& table, TrainConfig& c);

}  // namespace chorus
