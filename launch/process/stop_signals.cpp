#include "launch/process/stop_signals.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <string_view>
#include <thread>

#include <pthread.h>
#include <unistd.h>

namespace chorus {

namespace {

constexpr std::int64_t milliseconds_of_one_request = 2000;

// The only state that a signal handler can reach is global. 0: no signal came.
std::atomic<std::int64_t> first_request{0};
static_assert(std::atomic<std::int64_t>::is_always_lock_free, "a signal handler must not wait");

std::int64_t milliseconds_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000 + 1;
}

// Calls nothing but what POSIX allows in a handler.
extern "C" void note_request(int signal) {
  const int error = errno;
  const std::int64_t now = milliseconds_now();
  std::int64_t first = 0;
  if (!first_request.compare_exchange_strong(first, now) && now - first >= milliseconds_of_one_request) {
    constexpr std::string_view message =
        "chorus: a second signal: ends at once; the last checkpoint is whole\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, message.data(), message.size());
    _exit(128 + signal);
  }
  errno = error;
}

}  // namespace

void take_signals_apart() {
  sigset_t blocked;
  sigfillset(&blocked);
  for (const int own :
       {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPIPE, SIGXFSZ, SIGTTIN, SIGTTOU})
    sigdelset(&blocked, own);
  pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);
  std::thread([] {
    pthread_setname_np(pthread_self(), "signals");
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, nullptr);
    while (true) pause();
  }).detach();
}

void catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = note_request;
  action.sa_flags = SA_RESTART;  // reads and writes go on
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGUSR1, SIGUSR2, SIGTERM}) sigaction(signal, &action, nullptr);
  struct sigaction hangup {};
  sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
}

bool stop_requested() { return first_request.load(std::memory_order_relaxed) != 0; }

void outlive_readers() { std::signal(SIGPIPE, SIG_IGN); }

}  // namespace chorus
