#include "tests/cuda_emulation/fault_handler.h"

#include <csignal>
#include <string>

#include <execinfo.h>
#include <unistd.h>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/report.h"

namespace chorus::cuda_emulation {
namespace {

std::string fault_at(const char* p) {
  const char* who = current == nullptr ? "host code" : "a kernel";
  if (is_device_memory(p)) return fmt::format("{} touched {}", who, describe_address(p));
  const SharedWindow& window = shared_window();
  constexpr std::ptrdiff_t guard = SharedWindow::guard_bytes;
  if (p >= window.begin - guard && p < window.end() + guard) {
    return fmt::format("{} touched shared memory out of bounds, at offset {}", who,
                       block == nullptr ? p - window.begin : p - block->shared);
  }
  if (current != nullptr && p < current->fiber.stack_begin && p >= current->fiber.stack_begin - guard) {
    return fmt::format("{} needs more than {} bytes of stack", who, stack_bytes);
  }
  return fmt::format("{} touched the invalid address {}", who, static_cast<const void*>(p));
}

// The access that faults is one of ours or of the program: no lock of the C library is held where device memory is
// touched, hence formatting text is safe enough in a process that ends.
void handle(int, siginfo_t* info, void*) {
  const auto* p = static_cast<const char*>(info->si_addr);
  if (provide(p)) return;
  void* frames[24];
  const int depth = backtrace(frames, 24);
  backtrace_symbols_fd(frames, depth, STDERR_FILENO);
  report_fault("the place that the stack above shows", fault_at(p));
}

}  // namespace

void install_fault_handler() {
  // A fiber that has used up its stack cannot handle it there.
  static char stack[128 * 1024];
  stack_t alternate{};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof stack;
  sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
  void* frames[2];
  backtrace(frames, 2);  // loads what it needs, which the handler cannot
}

}  // namespace chorus::cuda_emulation
