#include "tests/cuda_emulation/shadow.h"

#include <bit>
#include <cstring>

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/report.h"

extern "C" const char __executable_start, _end;

namespace chorus::cuda_emulation {
namespace {

constexpr unsigned launches_told_apart = 2048;

// An access, in 64 bits. All zero: none.
struct Tag {
  std::uint64_t thread : 10;
  std::uint64_t bytes : 2;  // of the two that a cell stands for
  std::uint64_t atomic : 1;
  std::uint64_t launch : 11;
  std::uint64_t time : 18;   // of the warp
  std::uint64_t block : 22;  // from 1
  bool operator==(const Tag& other) const {
    return std::bit_cast<std::uint64_t>(*this) == std::bit_cast<std::uint64_t>(other);
  }
};

// The last accesses to two bytes. Two readers are remembered if they are of different warps.
struct Cell {
  Tag writer, reader, other_reader;
};

struct Shadow {
  const char* begin;
  std::size_t bytes;
  std::uint8_t* written;  // one for each byte
  Cell* cells;            // one for each two bytes
  bool shared;

  bool contains(const char* p) const { return static_cast<std::size_t>(p - begin) < bytes; }
};

template <typename T>
T* zeros(std::size_t count) {
  void* memory = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) report(Location::current(), "no addresses for the shadow of device memory");
  return static_cast<T*>(memory);
}

Shadow make(const char* begin, std::size_t bytes, bool shared) {
  return {begin, bytes, zeros<std::uint8_t>(bytes), zeros<Cell>(bytes / 2), shared};
}

const Shadow& device_shadow() {
  static const Shadow shadow = make(device_addresses(), all_address_bytes(), false);
  return shadow;
}
const Shadow& shared_shadow() {
  static const Shadow shadow =
      make(shared_window().begin, shared_window().bytes + SharedWindow::guard_bytes, true);
  return shadow;
}

const Shadow* shadow_of(const char* p) {
  static const Shadow& shared = shared_shadow();
  static const Shadow& device = device_shadow();
  return shared.contains(p) ? &shared : device.contains(p) ? &device : nullptr;
}

// Sets memory to zero; whole pages by giving them back, which takes no time where they were never touched.
void clear(void* memory, std::size_t bytes) {
  constexpr std::size_t page = 4096;
  auto* begin = static_cast<char*>(memory);
  char* end = begin + bytes;
  auto* first = reinterpret_cast<char*>((reinterpret_cast<std::uintptr_t>(begin) + page - 1) / page * page);
  auto* last = reinterpret_cast<char*>(reinterpret_cast<std::uintptr_t>(end) / page * page);
  if (first >= last) {
    std::memset(begin, 0, bytes);
    return;
  }
  std::memset(begin, 0, static_cast<std::size_t>(first - begin));
  madvise(first, static_cast<std::size_t>(last - first), MADV_DONTNEED);
  std::memset(last, 0, static_cast<std::size_t>(end - last));
}

// The allocation that was found last: most accesses are to the same few.
struct {
  const char* begin = nullptr;
  const char* end = nullptr;
} known_good;

// The place of an instruction, by the tool that reads debug information. Only on the way to a report.
std::string place_of(Location where, void* pc) {
  Dl_info info;
  if (where.line() != 0 || dladdr(pc, &info) == 0) return place(where);
  const auto offset =
      static_cast<std::size_t>(static_cast<char*>(pc) - static_cast<char*>(info.dli_fbase)) - 1;
  const std::string command = fmt::format("addr2line -se /proc/{}/exe {:#x} 2>/dev/null", getpid(), offset);
  std::string line;
  if (FILE* pipe = popen(command.c_str(), "r"); pipe != nullptr) {
    for (int c = std::fgetc(pipe); c != EOF && c != '\n'; c = std::fgetc(pipe)) line += static_cast<char>(c);
    pclose(pipe);
  }
  return line;
}

const char* verb(Access access) { return access == Access::read ? "reads" : "writes"; }

void check_host_access(const char* p, Access access, Location where, void* pc) {
  const auto* arguments = reinterpret_cast<const char*>(kernel_call.get());
  if (access == Access::read && p >= arguments && p < arguments + kernel_call->object_bytes()) return;
  const bool global = p >= &__executable_start && p < &_end;
  if (global && access == Access::read) return;  // constants
  report_fault(place_of(where, pc),
               fmt::format("the kernel {} {} at {}", verb(access),
                           global ? "a global of the host" : "host memory", static_cast<const void*>(p)));
}

bool all_written(const std::uint8_t* written, unsigned bytes) {
  constexpr std::uint64_t ones = 0x0101010101010101U;
  std::uint64_t value = 0, next = 0;
  switch (bytes) {
    case 1:
      return *written == 1;
    case 2:
    case 4:
    case 8:
      std::memcpy(&value, written, bytes);
      return value == ones >> (64 - 8 * bytes);
    case 16:
      std::memcpy(&value, written, 8);
      std::memcpy(&next, written + 8, 8);
      return value == ones && next == ones;
    default:
      return std::memchr(written, 0, bytes) == nullptr;
  }
}

void check_shared_bounds(const char* p, unsigned bytes, Access access, Location where, void* pc) {
  if (p >= block->shared && p + bytes <= block->shared + block->shared_bytes) return;
  report_fault(
      place_of(where, pc),
      fmt::format(
          "out of bounds: the kernel {} {} bytes at offset {} of its block's {} bytes of shared memory",
          verb(access), bytes, p - block->shared, block->shared_bytes));
}

void check_device_bounds(const char* p, unsigned bytes, Access access, Location where, void* pc) {
  if (p >= known_good.begin && p + bytes <= known_good.end) return;
  const Allocation* allocation = find_allocation(p);
  const bool good = allocation != nullptr && allocation->live && p >= allocation->data &&
                    p + bytes <= allocation->data + allocation->bytes;
  if (!good) {
    const char* fault = allocation != nullptr && !allocation->live ? "use after free" : "out of bounds";
    report_fault(place_of(where, pc), fmt::format("{}: the kernel {} {} bytes of {}", fault, verb(access),
                                                  bytes, describe_address(p)));
  }
  known_good = {allocation->data, allocation->data + allocation->bytes};
}

// Not all of it was written before: the first write to it, or a fault.
void check_unwritten(const Shadow& shadow, const char* p, unsigned bytes, Access access, Location where,
                     void* pc) {
  if (shadow.shared) {
    check_shared_bounds(p, bytes, access, where, pc);
  } else {
    check_device_bounds(p, bytes, access, where, pc);
  }
  std::uint8_t* written = shadow.written + (p - shadow.begin);
  if (access == Access::write) {
    std::memset(written, 1, bytes);
    return;
  }
  const auto* first = static_cast<const std::uint8_t*>(std::memchr(written, 0, bytes));
  const std::string what =
      shadow.shared ? fmt::format("shared memory, offset {}", p - block->shared) : describe_address(p);
  report_fault(place_of(where, pc),
               fmt::format("uninitialised read of {} bytes of {}; byte {} was never written", bytes, what,
                           first - written));
}

Tag own_tag(Access access) {
  Tag tag{};
  tag.thread = current->linear & 0x3ffU;
  tag.atomic = access == Access::atomic;
  tag.launch = launch_number % launches_told_apart;
  tag.time = block->times[current->warp] & 0x3ffff;
  tag.block = (block->number + 1) & 0x3fffff;
  return tag;
}

struct RaceCheck {
  Tag own;
  bool shared;
  const WarpTimes& seen;

  // Nothing orders the access `other` before this one.
  bool races_with(const Tag& other) const {
    if ((other.bytes & own.bytes) == 0 || (other.atomic && own.atomic)) return false;
    if (other.block == 0 || other.launch != own.launch) return false;
    if (other.block != own.block) return !shared;  // shared memory had another owner then
    return other.thread != own.thread && other.time >= seen[other.thread / warp_size];
  }

  [[noreturn]] void fail(const char* what, const char* p, const Tag& other, Location where, void* pc) const {
    const std::string target =
        shared ? fmt::format("shared memory, offset {}", p - block->shared) : describe_address(p);
    report_fault(place_of(where, pc),
                 fmt::format("race: {} of {}; the other access was by thread {} of block {}", what, target,
                             static_cast<unsigned>(other.thread), static_cast<unsigned>(other.block) - 1));
  }

  void write(Cell& cell, const char* p, Location where, void* pc) const {
    if (cell.writer == own) return;
    if (races_with(cell.writer)) fail("two writes", p, cell.writer, where, pc);
    if (races_with(cell.reader)) fail("a write after a read", p, cell.reader, where, pc);
    if (races_with(cell.other_reader)) fail("a write after a read", p, cell.other_reader, where, pc);
    cell.writer = own;
  }
  void read(Cell& cell, const char* p, Location where, void* pc) const {
    if (cell.reader == own) return;
    if (races_with(cell.writer)) fail("a read after a write", p, cell.writer, where, pc);
    const Tag& last = cell.reader;
    if (last.block != 0 && (last.thread / warp_size != own.thread / warp_size || last.block != own.block)) {
      cell.other_reader = last;
    }
    cell.reader = own;
  }
};

}  // namespace

void check_access(const void* address, unsigned bytes, Access access, Location where, void* pc) {
  const auto* p = static_cast<const char*>(address);
  const Fiber& fiber = current->fiber;
  if (p >= fiber.stack_begin && p < fiber.stack_end) return;
  const Shadow* shadow = shadow_of(p);
  if (shadow == nullptr) return check_host_access(p, access, where, pc);
  const auto offset = static_cast<std::size_t>(p - shadow->begin);
  if (!all_written(shadow->written + offset, bytes)) check_unwritten(*shadow, p, bytes, access, where, pc);
  RaceCheck check{own_tag(access), shadow->shared, block->seen[current->warp]};
  const std::size_t end = offset + bytes;
  for (std::size_t c = offset / 2; c <= (end - 1) / 2; ++c) {
    const bool low = c * 2 >= offset, high = c * 2 + 1 >= offset && c * 2 + 1 < end;
    check.own.bytes = ((low ? 1U : 0U) | (high ? 2U : 0U)) & 3U;
    if (access == Access::read) {
      check.read(shadow->cells[c], p, where, pc);
    } else {
      check.write(shadow->cells[c], p, where, pc);
    }
  }
}

void check_atomic(void* address, unsigned bytes, Location where) {
  if (current == nullptr) report(where, "an atomic operation outside a kernel");
  if (checked) check_access(address, bytes, Access::atomic, where, nullptr);
}

void check_vector(const void* address, unsigned bytes, bool is_write, Location where) {
  if (reinterpret_cast<std::uintptr_t>(address) % bytes != 0) {
    report(where, "misaligned {} of {} bytes at {}", is_write ? "write" : "read", bytes, address);
  }
  if (checked && current != nullptr) {
    check_access(address, bytes, is_write ? Access::write : Access::read, where, nullptr);
  }
}

void mark_written(const void* address, std::size_t bytes) {
  const Shadow& shadow = device_shadow();
  std::memset(shadow.written + (static_cast<const char*>(address) - shadow.begin), 1, bytes);
}

std::ptrdiff_t first_unwritten(const void* address, std::size_t bytes) {
  const Shadow& shadow = device_shadow();
  const std::uint8_t* written = shadow.written + (static_cast<const char*>(address) - shadow.begin);
  const void* first = bytes == 0 ? nullptr : std::memchr(written, 0, bytes);
  return first == nullptr ? -1 : static_cast<const std::uint8_t*>(first) - written;
}

void begin_launch() {
  if (launch_number % launches_told_apart != 0) return;
  // Tags begin anew: older ones would be taken for those of this launch.
  for (const Shadow* shadow : {&device_shadow(), &shared_shadow()}) {
    clear(shadow->cells, shadow->bytes / 2 * sizeof(Cell));
  }
}

void forget_shared() {
  const Shadow& shadow = shared_shadow();
  std::memset(shadow.written + (block->shared - shadow.begin), 0, block->shared_bytes);
}

void forget_contents(const void* address, std::size_t bytes) {
  const Shadow& shadow = device_shadow();
  clear(shadow.written + (static_cast<const char*>(address) - shadow.begin), bytes);
  known_good = {};
}

void forget_accesses(const void* address, std::size_t bytes) {
  const Shadow& shadow = device_shadow();
  clear(shadow.cells + (static_cast<const char*>(address) - shadow.begin) / 2, bytes / 2 * sizeof(Cell));
}

}  // namespace chorus::cuda_emulation
