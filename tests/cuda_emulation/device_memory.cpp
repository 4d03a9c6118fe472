#include "tests/cuda_emulation/device_memory.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <vector>

#include <sys/mman.h>

#include "tests/cuda_emulation/entry_points.h"
#include "tests/cuda_emulation/fault_handler.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/settings.h"
#include "tests/cuda_emulation/shadow.h"

namespace chorus::cuda_emulation {
namespace {

constexpr int poison = 0xff;

class Arena {
 public:
  explicit Arena(char* base, int device)
      : base_(base), device_(device), chunks_(device_address_bytes / chunk_bytes) {}

  void* allocate(std::size_t bytes) {
    // What fills chunks of its own shares none, so that freeing it gives whole chunks back.
    if (bytes >= chunk_bytes / 2) used_ = round_up(used_, chunk_bytes);
    const std::size_t begin = used_, end = begin + round_up(bytes, redzone_bytes) + 2 * redzone_bytes;
    if (end > device_address_bytes) {
      report(Location::current(), "the emulated device has given out all of its {} GiB of addresses",
             device_address_bytes >> 30);
    }
    used_ = bytes >= chunk_bytes / 2 ? round_up(end, chunk_bytes) : end;
    for (std::size_t c = begin / chunk_bytes; c <= (end - 1) / chunk_bytes; ++c) ++chunks_[c].allocations;
    char* data = base_ + begin + redzone_bytes;
    static unsigned number = 0;
    allocations_[data] = {data, bytes, device_, true, ++number};
    bytes_ += bytes;
    return data;
  }

  bool deallocate(void* data) {
    const auto found = allocations_.find(static_cast<char*>(data));
    if (found == allocations_.end() || !found->second.live) return false;
    Allocation& allocation = found->second;
    check_redzones(allocation, [] { return "unknown code"; });
    allocation.live = false;
    bytes_ -= allocation.bytes;
    if (checked) forget_contents(allocation.data, allocation.bytes);
    const auto begin = static_cast<std::size_t>(allocation.data - base_) - redzone_bytes;
    const std::size_t end = begin + round_up(allocation.bytes, redzone_bytes) + 2 * redzone_bytes;
    for (std::size_t c = begin / chunk_bytes; c <= (end - 1) / chunk_bytes; ++c) {
      Chunk& chunk = chunks_[c];
      if (--chunk.allocations == 0 && c != used_ / chunk_bytes) {
        drop(c);
      } else if (chunk.exists) {
        const std::size_t from = std::max(begin, c * chunk_bytes), to = std::min(end, (c + 1) * chunk_bytes);
        std::memset(base_ + from, poison, to - from);
      }
    }
    return true;
  }

  const Allocation* find(const char* p) const {
    auto next = allocations_.upper_bound(const_cast<char*>(p) + redzone_bytes);
    if (next == allocations_.begin()) return nullptr;
    const Allocation& allocation = std::prev(next)->second;
    const bool behind = p >= allocation.data + round_up(allocation.bytes, redzone_bytes) + redzone_bytes;
    return behind ? nullptr : &allocation;
  }

  std::size_t bytes() const { return bytes_; }
  bool exists(const char* p) const { return chunks_[chunk_of(p)].exists; }

  void create(const char* p) {
    Chunk& chunk = chunks_[chunk_of(p)];
    char* begin = base_ + chunk_of(p) * chunk_bytes;
    mprotect(begin, chunk_bytes, PROT_READ | PROT_WRITE);
    std::memset(begin, poison, chunk_bytes);
    chunk.exists = true;
    find_runs();
  }

  void protect(int protection) const {
    for (const auto& [begin, end] : runs_) mprotect(begin, static_cast<std::size_t>(end - begin), protection);
  }

 private:
  struct Chunk {
    std::uint32_t allocations = 0;  // that are live
    bool exists = false;
  };

  static std::size_t round_up(std::size_t n, std::size_t unit) { return (n + unit - 1) / unit * unit; }
  std::size_t chunk_of(const char* p) const { return static_cast<std::size_t>(p - base_) / chunk_bytes; }

  // Whoever touches it now has a stale pointer, and the handler of faults says so.
  void drop(std::size_t c) {
    char* begin = base_ + c * chunk_bytes;
    if (chunks_[c].exists) {
      madvise(begin, chunk_bytes, MADV_DONTNEED);
      mprotect(begin, chunk_bytes, PROT_NONE);
      chunks_[c].exists = false;
      find_runs();
    }
    if (checked) forget_accesses(begin, chunk_bytes);
  }

  void find_runs() {
    runs_.clear();
    for (std::size_t c = 0; c <= used_ / chunk_bytes && c < chunks_.size(); ++c) {
      if (!chunks_[c].exists) continue;
      char* begin = base_ + c * chunk_bytes;
      if (!runs_.empty() && runs_.back().second == begin) {
        runs_.back().second += chunk_bytes;
      } else {
        runs_.emplace_back(begin, begin + chunk_bytes);
      }
    }
  }

  char* base_;
  int device_;
  std::size_t used_ = 0;   // addresses given out
  std::size_t bytes_ = 0;  // live
  std::vector<Chunk> chunks_;
  std::vector<std::pair<char*, char*>> runs_;  // of chunks that exist
  std::map<char*, Allocation> allocations_;
};

std::array<Arena*, most_devices> arenas{};  // live to the end of the process, as devices do
int open_accesses = 0;

char* address_range() {
  static char* const base = [] {
    // Huge pages must begin where they can.
    constexpr std::size_t bytes = most_devices * device_address_bytes;
    void* memory =
        mmap(nullptr, bytes + chunk_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
      report(Location::current(), "no {} GiB of addresses for device memory", bytes >> 30);
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    auto* aligned = reinterpret_cast<char*>((address + chunk_bytes - 1) / chunk_bytes * chunk_bytes);
    madvise(aligned, bytes, MADV_HUGEPAGE);
    install_fault_handler();
    return aligned;
  }();
  return base;
}

Arena& arena(int device) {
  const auto i = static_cast<std::size_t>(device);
  if (arenas[i] == nullptr) arenas[i] = new Arena(address_range() + i * device_address_bytes, device);
  return *arenas[i];
}

void protect_all(int protection) {
  if (!settings().protect) return;
  for (const Arena* arena : arenas) {
    if (arena != nullptr) arena->protect(protection);
  }
}

}  // namespace

const char* device_addresses() { return address_range(); }
std::size_t all_address_bytes() { return most_devices * device_address_bytes; }

void* allocate(std::size_t bytes, int device) {
  if (arena(device).bytes() + bytes > settings().device_bytes) return nullptr;
  ++live().allocations;
  return arena(device).allocate(bytes);
}

bool deallocate(void* data) {
  const int device = device_of(data);
  if (device < 0) return false;
  const DeviceAccess access;
  if (!arena(device).deallocate(data)) return false;
  --live().allocations;
  return true;
}

std::size_t allocated_bytes(int device) { return arena(device).bytes(); }

int device_of(const void* p) {
  const auto* base = address_range();
  const auto* address = static_cast<const char*>(p);
  if (address < base || address >= base + all_address_bytes()) return -1;
  return static_cast<int>(static_cast<std::size_t>(address - base) / device_address_bytes);
}

const Allocation* find_allocation(const void* p) {
  const int device = device_of(p);
  return device < 0 ? nullptr : arena(device).find(static_cast<const char*>(p));
}

void check_range(const void* p, std::size_t bytes, bool write, const char* what, Location where) {
  if (bytes == 0) return;
  const Allocation* allocation = find_allocation(p);
  if (allocation == nullptr) report(where, "{}: {} is not device memory", what, p);
  if (!allocation->live) report(where, "{}: {} lies in freed allocation #{}", what, p, allocation->number);
  const std::ptrdiff_t offset = static_cast<const char*>(p) - allocation->data;
  if (offset < 0 || static_cast<std::size_t>(offset) + bytes > allocation->bytes) {
    report(where, "{}: {} of {} bytes at offset {} of allocation #{}, which has {} bytes", what,
           write ? "write" : "read", bytes, offset, allocation->number, allocation->bytes);
  }
}

void check_redzones(const Allocation& allocation, const std::function<std::string()>& suspect) {
  static const std::array<unsigned char, redzone_bytes> clean = [] {
    std::array<unsigned char, redzone_bytes> bytes{};
    bytes.fill(poison);
    return bytes;
  }();
  const Arena& owner = arena(allocation.device);
  const auto check = [&](char* zone) {
    char* last = zone + redzone_bytes - 1;
    for (char* p = zone; p <= last;) {  // a chunk that does not exist has not been written to
      const std::size_t in_chunk = chunk_bytes - static_cast<std::size_t>(p - address_range()) % chunk_bytes;
      const std::size_t bytes = std::min(in_chunk, static_cast<std::size_t>(last - p) + 1);
      if (owner.exists(p) && std::memcmp(p, clean.data(), bytes) != 0) {
        while (static_cast<unsigned char>(*p) == poison) ++p;
        report(Location::current(),
               "{} wrote out of bounds, at offset {} of allocation #{}, which has {} bytes", suspect(),
               p - allocation.data, allocation.number, allocation.bytes);
      }
      p += bytes;
    }
  };
  check(allocation.data - redzone_bytes);
  check(allocation.data + allocation.bytes);
}

DeviceAccess::DeviceAccess() {
  if (open_accesses++ == 0) protect_all(PROT_READ | PROT_WRITE);
}
DeviceAccess::~DeviceAccess() {
  if (--open_accesses == 0) protect_all(PROT_NONE);
}

bool provide(const void* p) {
  const Allocation* allocation = find_allocation(p);
  if (allocation == nullptr || !allocation->live) return false;
  if (open_accesses == 0 && settings().protect) return false;
  Arena& owner = arena(allocation->device);
  const auto* address = static_cast<const char*>(p);
  if (address < allocation->data || address >= allocation->data + allocation->bytes) return false;
  if (!owner.exists(address)) {
    owner.create(address);
  } else {
    owner.protect(PROT_READ | PROT_WRITE);  // locked before `protect` was switched off
  }
  return true;
}

std::string describe_address(const void* p) {
  const int device = device_of(p);
  const Allocation* allocation = find_allocation(p);
  if (allocation == nullptr) return fmt::format("unallocated device memory at {} of device {}", p, device);
  return fmt::format("{}device memory: offset {} of allocation #{}, which has {} bytes, on device {}",
                     allocation->live ? "" : "freed ", static_cast<const char*>(p) - allocation->data,
                     allocation->number, allocation->bytes, device);
}

}  // namespace chorus::cuda_emulation
