#include "launch/process/fatal_signals.h"

#include <csignal>
#include <cstdint>
#include <string_view>

#include <unistd.h>

#include "data/text/files.h"
#include "ops/base/error.h"
#include "ops/base/unchecked_memory.h"

namespace chorus {

namespace {

// Handlers call nothing but what POSIX allows in one. Nothing of the process is used afterwards, so that it does no harm
// where a thread's stack pointer was not on its stack (stop_signals.h).

struct sigaction bus_error_before, bad_address_before;

void say(std::string_view text) {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

extern "C" void report_lost_file(int, siginfo_t* information, void*) {
  const char* path = mapped_file_at(information->si_addr);
  if (path == nullptr) {  // comes again, and ends the process
    sigaction(SIGBUS, &bus_error_before, nullptr);
    return;
  }
  say("chorus: error: ");
  say(path);
  say(" was cut or cannot be read any more while it was in use: leave files alone that a run reads, and "
      "start it again\n");
  _exit(static_cast<int>(ExitCode::data));
}

extern "C" void report_missing_memory(int, siginfo_t* information, void*) {
  const char* purpose = UncheckedMemory::purpose();
  if (purpose == nullptr ||
      reinterpret_cast<std::uintptr_t>(information->si_addr) > UncheckedMemory::largest_address) {
    sigaction(SIGSEGV, &bad_address_before, nullptr);
    return;
  }
  say("chorus: error: the system gives no memory for ");
  say(purpose);
  say(": raise the limit of address space (ulimit -v) or of memory\n");
  _exit(static_cast<int>(ExitCode::memory));
}

void take(int signal, void (*handler)(int, siginfo_t*, void*), struct sigaction& before) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, &before);
}

}  // namespace

void explain_fatal_signals() {
  take(SIGBUS, report_lost_file, bus_error_before);
  take(SIGSEGV, report_missing_memory, bad_address_before);
}

}  // namespace chorus
