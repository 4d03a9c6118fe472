#pragma once

// Device memory: one range of addresses for all devices, of which host code can touch nothing. Addresses are never used
// twice, so that a pointer to freed memory is known as such for ever.
//
// Memory comes into being in chunks, when it is first touched, and begins as NaN: an allocation costs nothing.

#include <cstddef>
#include <functional>
#include <string>

#include "tests/cuda_emulation/device.h"

namespace chorus::cuda_emulation {

struct Allocation {
  char* data;
  std::size_t bytes;
  int device;
  bool live;
  unsigned number;  // counts all allocations of the process from 1
};

constexpr std::size_t chunk_bytes = std::size_t{2} << 20;  // a huge page: locking many of them is quick
constexpr std::size_t redzone_bytes = 512;                 // before and after each allocation
constexpr std::size_t device_address_bytes = std::size_t{128} << 30;

// Where device 0 begins; the others follow, device_address_bytes apart.
const char* device_addresses();
std::size_t all_address_bytes();

// Null: no room.
void* allocate(std::size_t bytes, int device);
bool deallocate(void* data);
std::size_t allocated_bytes(int device);

// The live or freed allocation at `p`, redzones included, or null.
const Allocation* find_allocation(const void* p);
// Its device, or -1.
int device_of(const void* p);
inline bool is_device_memory(const void* p) { return device_of(p) >= 0; }

// Reports a range that is not within one live allocation. For those that read and write in a kernel's stead.
void check_range(const void* p, std::size_t bytes, bool write, const char* what,
                 Location where = Location::current());
// Reports what was written just before or after the allocation.
void check_redzones(const Allocation& allocation, const std::function<std::string()>& suspect);

// While one lives, device memory can be touched.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

// For the handler of faults: whether the access at `p` was good, and its memory is there now.
bool provide(const void* p);
std::string describe_address(const void* p);

void* allocate_pinned(std::size_t bytes);
bool deallocate_pinned(void* data);
bool is_pinned(const void* p);

}  // namespace chorus::cuda_emulation
