#include "launch/training_options.h"

namespace chorus {

void add_method_choice(OptionTable& table, TrainConfig& c) {
  table.choice("method", c.method, {{"lora", Method::lora}, {"full", Method::full}},
               "train adapters on the frozen base, or all of its weights");
}

void add_projector(OptionTable& table, TrainConfig& c) {
  table.choice("projector", c.projector, {{"linear", ProjectorKind::linear}, {"mlp", ProjectorKind::mlp}},
               "what maps their rows into the model: one layer, or two with a ReLU between");
  table.add("projector-hidden", c.projector_hidden, "width between the two layers; 0: the model's")
      .at_least(0);
}

void add_batches(OptionTable& table, TrainConfig& c) {
  table.add("batch-size", c.batch_size, "samples per optimizer step, over all ranks").at_least(1);
  table.add("tokens-per-microbatch", c.tokens_per_microbatch, "what one rank computes at once").at_least(1);
  table.add("epochs", c.epochs, "passes over the data").at_least(0);
  table.add("max-steps", c.max_steps, "optimizer steps, instead of --epochs; 0: off").at_least(0);
}

void add_order(OptionTable& table, TrainConfig& c) {
  table.add("seed", c.seed, "of initial adapters, dropout and shuffling");
  table.add("shuffle", c.shuffle, "new order of the dialogues in every epoch; off: as in the file");
  table.add("prefix-sharing", c.prefix_sharing, "compute the common beginning of prompts once; same result");
}

void add_division_of_work(OptionTable& table, TrainConfig& c) {
  table.add("recompute", c.recompute, "less memory for about a third more work");
  table.add("sequence-parallel", c.sequence_parallel,
            "tensor ranks divide norms and residuals too: less memory, same result");
  table
      .add("overlap-chunks", c.overlap_chunks,
           "send each of so many pieces of o and down while the next is multiplied; same result")
      .at_least(1);
}

}  // namespace chorus
