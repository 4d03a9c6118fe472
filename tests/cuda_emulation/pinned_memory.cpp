#include <iterator>
#include <map>

#include <sys/mman.h>

#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/entry_points.h"

namespace chorus::cuda_emulation {
namespace {

std::map<const char*, std::size_t>& sizes() {
  static std::map<const char*, std::size_t> result;
  return result;
}

}  // namespace

void* allocate_pinned(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  sizes()[static_cast<const char*>(memory)] = bytes;
  ++live().pinned;
  return memory;
}

bool deallocate_pinned(void* data) {
  const auto found = sizes().find(static_cast<const char*>(data));
  if (found == sizes().end()) return false;
  munmap(data, found->second);
  sizes().erase(found);
  --live().pinned;
  return true;
}

bool is_pinned(const void* p) {
  const auto* address = static_cast<const char*>(p);
  const auto next = sizes().upper_bound(address);
  return next != sizes().begin() && address < std::prev(next)->first + std::prev(next)->second;
}

}  // namespace chorus::cuda_emulation
