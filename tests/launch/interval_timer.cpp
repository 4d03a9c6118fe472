// Preloaded into a program (LD_PRELOAD): a handler of SIGALRM as a foreign library may install one, called every 3 ms,
// that tells in the end how often.

#include <csignal>
#include <cstdio>

#include <sys/time.h>
#include <unistd.h>

namespace {

class IntervalTimer {
 public:
  IntervalTimer() {
    struct sigaction action {};
    action.sa_handler = [](int) { calls_ = calls_ + 1; };
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    const itimerval every{{0, 3000}, {0, 3000}};
    setitimer(ITIMER_REAL, &every, nullptr);
  }
  IntervalTimer(const IntervalTimer&) = delete;
  IntervalTimer& operator=(const IntervalTimer&) = delete;
  ~IntervalTimer() {
    const itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
    dprintf(STDERR_FILENO, "the timer came %d times\n", static_cast<int>(calls_));
  }

 private:
  static volatile std::sig_atomic_t calls_;
};
volatile std::sig_atomic_t IntervalTimer::calls_ = 0;

const IntervalTimer timer;

}  // namespace
