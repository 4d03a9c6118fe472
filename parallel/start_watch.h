#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "parallel/hang_judge.h"

namespace chorus {

// While it lives, this process waits in MPI_Init for ranks of which it knows nothing yet: where one never starts, or has
// ended, MPI waits for ever and says nothing. After `limits.warning` seconds, and whenever as many again have passed, `say` gets
// a line; after `limits.end`, unless that is 0, `end` is called. Both are called on a thread of its own.
class StartWatch {
 public:
  StartWatch(HangLimits limits, std::function<void(const std::string&)> say, std::function<void()> end);
  ~StartWatch();
  StartWatch(const StartWatch&) = delete;
  StartWatch& operator=(const StartWatch&) = delete;

 private:
  void run(HangLimits limits, const std::function<void(const std::string&)>& say,
           const std::function<void()>& end);

  std::mutex mutex_;
  std::condition_variable started_;
  bool has_started_ = false;
  std::thread thread_;
};

}  // namespace chorus
