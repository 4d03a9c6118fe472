#pragma once

// What ops/cuda/device.cuh includes where nvcc does not compile: CUDA's built-ins, PTX, and launches, on the CPU. The
// types and the declarations of the runtime are NVIDIA's; all definitions are ours.

#include "tests/cuda_emulation/builtins.h"
#include "tests/cuda_emulation/launch.h"
#include "tests/cuda_emulation/ptx.h"

#define cudaLaunchKernelEx ::chorus::cuda_emulation::launch_kernel

#define CHORUS_LIST(...) __VA_ARGS__
#define CHORUS_F_IO(x) ::chorus::cuda_emulation::float_output(x)
#define CHORUS_F_O(x) ::chorus::cuda_emulation::float_output(x)
#define CHORUS_F_I(x) ::chorus::cuda_emulation::float_input(x)
#define CHORUS_R_O(x) ::chorus::cuda_emulation::register_output(x)
#define CHORUS_R_I(x) ::chorus::cuda_emulation::register_input(x)
#define CHORUS_L_I(x) ::chorus::cuda_emulation::address_input(x)
#define CHORUS_N_I(x) ::chorus::cuda_emulation::constant_input(x)
#define CHORUS_PTX(text, outputs, inputs)                                                     \
  do {                                                                                        \
    static constinit ::chorus::cuda_emulation::PtxSite chorus_site{text, nullptr};            \
    ::chorus::cuda_emulation::ptx(chorus_site, ::chorus::cuda_emulation::Location::current(), \
                                  std::make_tuple(CHORUS_LIST outputs),                       \
                                  std::make_tuple(CHORUS_LIST inputs));                       \
  } while (0)

namespace chorus::cuda {

inline void* dynamic_shared_memory() { return cuda_emulation::dynamic_shared_memory(); }

inline void check_vector_access(const void* address, std::size_t bytes, bool is_write,
                                cuda_emulation::Location where = cuda_emulation::Location::current()) {
  cuda_emulation::check_vector(address, static_cast<unsigned>(bytes), is_write, where);
}

}  // namespace chorus::cuda
