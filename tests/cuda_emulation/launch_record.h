#pragma once

#include "tests/cuda_emulation/launch.h"

namespace chorus::cuda_emulation {

// Where CUDA_EMULATION_LAUNCHES names a file: keeps the largest block and the most shared memory of each kernel, and
// writes them there when the process ends.
void record_launch(const cudaLaunchConfig_t& config, const KernelCall& call);

}  // namespace chorus::cuda_emulation
