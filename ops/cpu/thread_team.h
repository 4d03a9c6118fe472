#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace chorus {

// The threads that work on the loops of one caller: the caller itself and size() - 1 others. Whoever waits looks for
// 100 microseconds and then sleeps, so that cores are left to others; a loop that is there sooner, as in a training step
// on idle cores, finds all threads awake. Nobody waits for a thread that has not begun, since its core may be busy with
// another program: threads claim what they do.
class ThreadTeam {
 public:
  // Throws std::system_error where the system has no thread left.
  explicit ThreadTeam(int size);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }

  // Calls work(worker), which must not throw, on the caller as worker 0, and on those of the others that are awake before
  // it returns there, 0 < worker < size(). Returns when all that began have ended. Not to be called from within.
  template <typename Work>
  void run(const Work& work) {
    run_erased([](const void* object, int worker) { (*static_cast<const Work*>(object))(worker); }, &work);
  }
  // Within run(): whether the caller is the first to ask for this share, 0 <= share < size().
  bool claim(int share) { return !claimed_[static_cast<std::size_t>(share)].exchange(true); }

 private:
  using Call = void (*)(const void* work, int worker);

  void run_erased(Call call, const void* work);
  void serve(int worker);
  void end();

  int size_;
  Call call_ = nullptr;
  const void* work_ = nullptr;
  std::vector<std::atomic<bool>> claimed_;
  alignas(64) std::atomic<std::uint32_t> phase_{0};  // odd while there is work; 1 more at each begin and end
  alignas(64) std::atomic<int> inside_{0};           // threads that may be at work, without the caller
  std::atomic<bool> ends_{false};
  std::vector<std::thread> others_;
};

}  // namespace chorus
