// -fsanitize=thread makes the compiler call these functions for every access to memory. They are the interface between
// the compiler and ThreadSanitizer's runtime, which is not linked: what happens in them is ours.

#include <cstring>

#include "tests/cuda_emulation/shadow.h"

namespace chorus::cuda_emulation {
namespace {

void see(const void* address, unsigned long bytes, Access access, void* pc) {
  if (current != nullptr && bytes != 0)
    check_access(address, static_cast<unsigned>(bytes), access, Location{}, pc);
}

}  // namespace
}  // namespace chorus::cuda_emulation

using chorus::cuda_emulation::Access;
using chorus::cuda_emulation::see;

extern "C" {

#define CHORUS_HOOKS(bytes)                                                                                  \
  void __tsan_read##bytes(void* p) { see(p, bytes, Access::read, __builtin_return_address(0)); }             \
  void __tsan_write##bytes(void* p) { see(p, bytes, Access::write, __builtin_return_address(0)); }           \
  void __tsan_unaligned_read##bytes(void* p) { see(p, bytes, Access::read, __builtin_return_address(0)); }   \
  void __tsan_unaligned_write##bytes(void* p) { see(p, bytes, Access::write, __builtin_return_address(0)); } \
  void __tsan_read_write##bytes(void* p) {                                                                   \
    see(p, bytes, Access::read, __builtin_return_address(0));                                                \
    see(p, bytes, Access::write, __builtin_return_address(0));                                               \
  }                                                                                                          \
  void __tsan_unaligned_read_write##bytes(void* p) {                                                         \
    see(p, bytes, Access::read, __builtin_return_address(0));                                                \
    see(p, bytes, Access::write, __builtin_return_address(0));                                               \
  }
CHORUS_HOOKS(1)
CHORUS_HOOKS(2)
CHORUS_HOOKS(4)
CHORUS_HOOKS(8)
CHORUS_HOOKS(16)
#undef CHORUS_HOOKS

void __tsan_read_range(void* p, unsigned long bytes) {
  see(p, bytes, Access::read, __builtin_return_address(0));
}
void __tsan_write_range(void* p, unsigned long bytes) {
  see(p, bytes, Access::write, __builtin_return_address(0));
}
void* __tsan_memcpy(void* to, const void* from, unsigned long bytes) {
  see(from, bytes, Access::read, __builtin_return_address(0));
  see(to, bytes, Access::write, __builtin_return_address(0));
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, unsigned long bytes) {
  see(from, bytes, Access::read, __builtin_return_address(0));
  see(to, bytes, Access::write, __builtin_return_address(0));
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, unsigned long bytes) {
  see(to, bytes, Access::write, __builtin_return_address(0));
  return std::memset(to, value, bytes);
}

// A constructor of every instrumented object file calls it.
void __tsan_init() { chorus::cuda_emulation::checked = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}
