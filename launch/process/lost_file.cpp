#include "launch/process/lost_file.h"

#include <csignal>
#include <cstring>
#include <string_view>

#include <unistd.h>

#include "data/text/files.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

void say(std::string_view text) {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

// Calls nothing but what POSIX allows in a handler. Nothing of the process is used afterwards, so that it does no harm
// where a thread's stack pointer was not on its stack (stop_signals.h).
extern "C" void report_lost_file(int signal, siginfo_t* information, void*) {
  const char* path = mapped_file_at(information->si_addr);
  if (path == nullptr) {  // comes again, and ends the process
    std::signal(signal, SIG_DFL);
    return;
  }
  say("chorus: error: ");
  say({path, std::strlen(path)});
  say(" was cut or cannot be read any more while it was in use: leave files alone that a run reads, and "
      "start it again\n");
  _exit(static_cast<int>(ExitCode::data));
}

}  // namespace

void explain_lost_files() {
  struct sigaction action {};
  action.sa_sigaction = report_lost_file;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace chorus
