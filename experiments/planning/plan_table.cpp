#include <fmt/format.h>

#include "experiments/planning/plan.h"

namespace chorus {

namespace {

std::string duration(double seconds) {
  if (seconds < 1) return fmt::format("{:.1f} ms", 1e3 * seconds);
  if (seconds < 120) return fmt::format("{:.1f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.1f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

std::string bytes_text(double bytes) {
  if (bytes < 1e6) return fmt::format("{:.1f} kB", bytes / 1e3);
  if (bytes < 1e9) return fmt::format("{:.1f} MB", bytes / 1e6);
  return fmt::format("{:.2f} GB", bytes / 1e9);
}

std::string memory_row(std::string_view what, double bytes) {
  return fmt::format("  {:<58}{:>12.1f} MiB\n", what, bytes / (1 << 20));
}
std::string memory_row(std::string_view what, std::int64_t bytes) {
  return memory_row(what, static_cast<double>(bytes));
}

std::string work_row(std::string_view what, const EpochWork& work) {
  return fmt::format("  {:<24}{:>14.0f}{:>14.0f}{:>18.0f}{:>12.4g}\n", what, work.tokens, work.rows,
                     work.pairs, work.flops);
}

std::string work_table(const Plan& plan) {
  std::string table = fmt::format(
      "an epoch: {:.0f} samples in {:.0f} steps\n  {:<24}{:>14}{:>14}{:>18}{:>12}\n", plan.shared.samples,
      plan.shared.steps, "", "tokens", "rows asked", "attended pairs", "FLOP");
  if (plan.request.train.batches.prefix_sharing) table += work_row("shared prefixes", plan.shared);
  return table + work_row("separate prompts", plan.unshared);
}

std::string share_text(double part, double whole) { return fmt::format("{:.1f}%", 100 * part / whole); }

std::string grid_row(const GridPlan& grid, const Machine& machine) {
  const double memory = static_cast<double>(grid.memory.total()) + grid.beside.total();
  const double compute = grid.microbatches.seconds - grid.microbatches.tensor_seconds + grid.update.seconds -
                         grid.update.gradient_seconds - grid.update.tensor_seconds;
  return fmt::format(
      "  {:>5} {:>9}{:>7.1f}{:<5}{:>10}{:>9}{:>8}{:>8}{:>8}{:>11.0f}{:>7}{:>10}{:>11.2f}\n", grid.ranks,
      fmt::format("{} x {}", grid.data, grid.tensor), memory / (1 << 30),
      grid.fits                       ? ""
      : memory > machine.memory_bytes ? " no"
                                      : "",
      duration(grid.step_seconds), share_text(compute - grid.idle_seconds, grid.step_seconds),
      share_text(grid.microbatches.tensor_seconds + grid.update.tensor_seconds, grid.step_seconds),
      share_text(grid.update.gradient_seconds, grid.step_seconds),
      share_text(grid.idle_seconds, grid.step_seconds), grid.step_tokens / grid.step_seconds / grid.ranks,
      share_text(grid.peak_share, 1), duration(grid.epoch_seconds), grid.device_hours);
}

std::string grid_table(const Plan& plan) {
  std::string table = fmt::format(
      "grids, {:.3g} epochs; shares are of a step's time\n"
      "  {:>5} {:>9}{:>7}{:<5}{:>10}{:>9}{:>8}{:>8}{:>8}{:>11}{:>7}{:>10}{:>11}\n",
      plan.epochs, "ranks", "data x P", "GiB", "", "step", "compute", "P sums", "D sums", "idle",
      "tok/s rank", "MFU", "epoch", "rank-hours");
  for (const GridPlan& grid : plan.grids) table += grid_row(grid, plan.request.machine);
  return table;
}

std::string choice(const Plan& plan) {
  const auto line = [&](std::string_view what, const GridPlan& grid) {
    return fmt::format(
        "{}: {} ranks = data {} x tensor {}, {} and {:.3g} rank-hours; a rank sends {} to its tensor "
        "group and {} to others per step\n",
        what, grid.ranks, grid.data, grid.tensor, duration(grid.run_seconds), grid.device_hours,
        bytes_text(grid.microbatches.tensor_bytes + grid.update.tensor_bytes),
        bytes_text(grid.update.gradient_bytes));
  };
  if (!plan.cheapest) {
    return fmt::format(
        "nothing fits into the {:.1f} GiB of {}: use --recompute some or all, fewer --tokens-per-microbatch, "
        "or more --ranks\n",
        plan.request.machine.memory_bytes / (1 << 30), plan.request.machine.name);
  }
  return line("cheapest", plan.grids[*plan.cheapest]) + line("fastest", plan.grids[*plan.fastest]);
}

std::string link_text(const LinkRate& link) {
  return fmt::format("{:.3g} GB/s and {:.3g} us a hop", link.bytes_per_second / 1e9, link.hop_seconds * 1e6);
}

std::string assumptions(const Plan& plan) {
  const Machine& machine = plan.request.machine;
  const DType dtype = plan.request.train.model.precision;
  std::string text = fmt::format(
      "assumed of {}: products at {:.0f} % and attention at {:.0f} % of {:.4g} TFLOP/s ({}), all else at "
      "{:.0f} % of "
      "{:.4g} GB/s, {:.3g} us between operators; sums at {} in a node of {}, {} between nodes\n",
      machine.name, 100 * machine.peak_share, 100 * machine.attention_share, machine.peak_flops(dtype) / 1e12,
      name(dtype), 100 * machine.memory_share, machine.memory_bytes_per_second / 1e9,
      machine.call_seconds * 1e6, link_text(machine.node_link), machine.gpus_per_node,
      link_text(machine.network));
  text += fmt::format(
      "a model, not a measurement: every operator and exchange of {} steps priced one by one; reading, "
      "evaluation, checkpoints and ranks that are slower than others are not in it\n",
      plan.request.sampled_steps);
  for (const GridPlan& grid : plan.grids) {
    if (grid.ranks_looked_at == grid.data) continue;
    return text + fmt::format("of more than 64 data ranks, {} were looked at\n", grid.ranks_looked_at);
  }
  return text;
}

}  // namespace

std::string memory_table(const GridPlan& grid, const Machine& machine) {
  const MemoryKinds& kinds = grid.memory;
  std::string table = fmt::format("memory of a rank of data {} x tensor {}\n", grid.data, grid.tensor);
  if (kinds.in_place > 0) {
    table += memory_row("base weights in their file, shared by a machine's ranks", kinds.in_place);
  }
  if (kinds.weights > 0) table += memory_row("base weights", kinds.weights);
  if (kinds.values > 0) table += memory_row("trained values", kinds.values);
  table += memory_row("masters", kinds.masters) + memory_row("gradients", kinds.gradients) +
           memory_row("moments", kinds.moments) + memory_row("rotary table", kinds.rope_table) +
           memory_row("tokens and targets of a micro-batch", kinds.batch) +
           memory_row("inputs of the blocks", kinds.residuals) +
           memory_row(fmt::format("kept by blocks for backward ({:.1f} MiB each)",
                                  static_cast<double>(kinds.saved_per_block) / (1 << 20)),
                      kinds.saved) +
           memory_row(fmt::format("workspace of backward, or the loss (logits {:.1f} MiB)",
                                  static_cast<double>(kinds.logits) / (1 << 20)),
                      kinds.workspace) +
           memory_row("planned, as train prints it", kinds.total());
  if (grid.beside.workspace > 0) {
    table += memory_row("beside: workspace of the backend", grid.beside.workspace) +
             memory_row("beside: tile lists of attention", grid.beside.tile_lists);
  }
  table += memory_row("beside: buffers of NCCL (assumed, not measured)", grid.beside.communicators) +
           memory_row("beside: context of the driver (assumed)", grid.beside.reserved);
  const double all = static_cast<double>(kinds.total()) + grid.beside.total();
  return table +
         memory_row(fmt::format("all, {:.0f} % of the device", 100 * all / machine.memory_bytes), all);
}

std::string to_table(const Plan& plan) {
  const GridPlan& shown = plan.grids[plan.cheapest.value_or(plan.grids.size() - 1)];
  return work_table(plan) + "\n" + grid_table(plan) + "\n" + choice(plan) + "\n" +
         memory_table(shown, plan.request.machine) + "\n" + assumptions(plan);
}

}  // namespace chorus
