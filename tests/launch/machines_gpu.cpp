#include <cmath>
#include <map>

#include "tests/launch/machines.h"
#include "tests/launch/program.h"

namespace chorus {

std::vector<Machine> machines_under_test() {
  // A rounding to bf16 errs by 2^-9 of the value. About 8 of them lie one after another in a block, a model here has up
  // to 8 blocks, and independent errors add like their squares: 2^-9 √64 of the logits, four times that of gradients,
  // which pass every block twice and are products of two such values. A step of AdamW is as long where the gradient is
  // noise as where it is not, so runs drift apart by as much again with every update, and where they end has no bound.
  // Gradients of q and k are differences of nearly equal numbers: four times as much again for single tensors.
  const double rounding = 0x1p-9 * std::sqrt(64.0);
  Machine bf16{.name = "gpu_bf16_1",
               .ranks = 1,
               .options = {"--device=cuda", "--precision=bf16"},
               .loss = rounding,
               .norm = 4 * rounding,
               .growth = 1,
               .update = 2,
               .tensor_norm = 16 * rounding};
  // The same bounds must do for the CPU: they are about bf16, not about a device.
  Machine cpu = bf16;
  cpu.name = "cpu_bf16_1";
  cpu.options = {"--device=cpu", "--precision=bf16"};
  return {{.name = "gpu_f32_1", .ranks = 1, .options = {"--device=cuda"}},
          {.name = "gpu_f32_2", .ranks = 2, .options = {"--device=cuda"}},
          bf16,
          cpu};
}

std::string missing_machine(int ranks) {
  static std::map<int, std::string> known;
  const auto found = known.find(ranks);
  if (found != known.end()) return found->second;
  const Outcome outcome = run_chorus({"bench", "--device", "cuda", "--step", "off", "--operators", "off",
                                      "--matrix", "8", "--seconds", "0.001"},
                                     ranks == 1 ? std::vector<std::string>{} : mpirun(ranks));
  const bool too_few = outcome.err.find("no usable GPU") != std::string::npos ||
                       outcome.err.find("too few GPUs") != std::string::npos;
  return known[ranks] =
             too_few ? "NOT TESTED: there is no GPU for each of " + std::to_string(ranks) + " ranks" : "";
}

}  // namespace chorus
