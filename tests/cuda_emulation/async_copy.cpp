// cp.async: the latest moment at which the data may arrive is when they are waited for, and so they do.

#include <cstring>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/shadow.h"

namespace chorus::cuda_emulation {
namespace {

void perform(const AsyncCopy& copy) {
  auto* to = static_cast<char*>(shared_pointer(copy.destination, copy.bytes, true, copy.where));
  if (checked) {
    if (copy.valid > 0) check_access(copy.source, copy.valid, Access::read, copy.where, nullptr);
    check_access(to, copy.bytes, Access::write, copy.where, nullptr);
  }
  std::memcpy(to, copy.source, copy.valid);
  std::memset(to + copy.valid, 0, copy.bytes - copy.valid);
}

}  // namespace

void start_copy(const AsyncCopy& copy) {
  if (copy.valid > copy.bytes)
    report(copy.where, "cp.async: {} of {} bytes are to be read", copy.valid, copy.bytes);
  if (copy.destination % copy.bytes != 0 || reinterpret_cast<std::uintptr_t>(copy.source) % copy.bytes != 0) {
    report(copy.where, "cp.async of {} bytes is misaligned: shared offset {}, global {}", copy.bytes,
           copy.destination, copy.source);
  }
  if (copy.valid > 0) check_range(copy.source, copy.valid, false, "cp.async source", copy.where);
  // Who reads before having waited shall see NaN.
  std::memset(shared_pointer(copy.destination, copy.bytes, true, copy.where), 0xff, copy.bytes);
  current->open_copies.push_back(copy);
}

void commit_copies() {
  current->copy_groups.push_back(std::move(current->open_copies));
  current->open_copies.clear();
}

void wait_for_copies(std::size_t groups_left) {
  auto& groups = current->copy_groups;
  while (groups.size() > groups_left) {
    for (const AsyncCopy& copy : groups.front()) perform(copy);
    groups.pop_front();
  }
}

void wait_for_all_copies() {
  wait_for_copies(0);
  for (const AsyncCopy& copy : current->open_copies) perform(copy);
  current->open_copies.clear();
}

}  // namespace chorus::cuda_emulation
