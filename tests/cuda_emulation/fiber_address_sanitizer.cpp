#include <sanitizer/common_interface_defs.h>

#include "tests/cuda_emulation/fiber.h"

namespace chorus::cuda_emulation {

const std::size_t stack_bytes = 256 * 1024;  // variables lie between guards of the sanitizer

void before_switch(void** state, const void* stack, std::size_t bytes) {
  __sanitizer_start_switch_fiber(state, stack, bytes);
}
void after_switch(void* state, const void** stack_left, std::size_t* bytes_left) {
  __sanitizer_finish_switch_fiber(state, stack_left, bytes_left);
}

}  // namespace chorus::cuda_emulation
