#include "tests/cuda_emulation/fiber.h"

namespace chorus::cuda_emulation {

const std::size_t stack_bytes = 64 * 1024;

void before_switch(void**, const void*, std::size_t) {}
void after_switch(void*, const void**, std::size_t*) {}

}  // namespace chorus::cuda_emulation
