#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <mpi.h>

#include "parallel/hang_judge.h"

namespace chorus {

// Ranks tell each other where they stand, by messages of a thread of its own, while the thread that computes waits in a
// collective. Where MPI does not let two threads call it, each rank only knows of itself.
class MpiWatch {
 public:
  // Collective. `threads`: whether MPI_THREAD_MULTIPLE was provided.
  explicit MpiWatch(bool threads);
  ~MpiWatch();  // after settle() on all ranks
  MpiWatch(const MpiWatch&) = delete;
  MpiWatch& operator=(const MpiWatch&) = delete;

  Activity& activity() { return activity_; }
  // Once; `say` and `end` are called on the thread.
  void start(HangLimits limits, std::function<void(const std::string&)> say, std::function<void()> end);
  // Ends the thread and takes in what is still on its way. Collective.
  void settle();

 private:
  struct Message {
    Heartbeat heartbeat;
    MPI_Request sent = MPI_REQUEST_NULL;
  };

  void run(HangLimits limits, const std::function<void(const std::string&)>& say,
           const std::function<void()>& end);
  bool pause(double seconds);  // false: it is to end
  void send(const Heartbeat& heartbeat);
  // A message that has arrived, if any.
  bool receive(int& from, Heartbeat& heartbeat);

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  bool threads_;
  Activity activity_;
  std::vector<int> listeners_;     // who hears of this rank
  std::vector<Message> messages_;  // to each of them, one at a time
  std::vector<int> sent_, received_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace chorus
