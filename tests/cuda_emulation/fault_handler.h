#pragma once

namespace chorus::cuda_emulation {

// Catches accesses to pages that cannot be touched: provides device memory that is touched for the first time, and
// reports all else.
void install_fault_handler();

}  // namespace chorus::cuda_emulation
