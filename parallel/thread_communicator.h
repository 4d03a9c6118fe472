#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "parallel/communicator.h"

namespace chorus {

// What the threads of one group share.
class ThreadGroup {
 public:
  explicit ThreadGroup(int size) : addresses_(static_cast<std::size_t>(size)) {}
  int size() const { return static_cast<int>(addresses_.size()); }

  // Waits for all ranks. Throws Error once abort() was called, so that a failed rank leaves nobody waiting.
  void meet();
  // Waits for all ranks that have met, also after abort(): they work in each other's memory, so that none may leave before
  // all are done, and all will be.
  void part();
  void abort();
  void publish(int rank, void* address) { addresses_[static_cast<std::size_t>(rank)] = address; }
  void* address(int rank) const { return addresses_[static_cast<std::size_t>(rank)]; }

 private:
  bool all_are_there();  // and a new round begins

  std::vector<void*> addresses_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  std::uint64_t round_ = 0;
  bool aborted_ = false;
};

// Ranks that are threads of one process and exchange host tensors. Sums run in the order of the ranks.
class ThreadCommunicator : public Communicator {
 public:
  ThreadCommunicator(ThreadGroup& group, int rank) : group_(group), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return group_.size(); }
  using Communicator::all_reduce;
  void all_reduce(Tensor x, Reduce how) override;
  void all_gather(Tensor x) override;
  void reduce_scatter(Tensor x) override { all_reduce(x, Reduce::sum); }
  void broadcast(Tensor x, int root) override;
  void barrier() override { group_.meet(); }

 private:
  ThreadGroup& group_;
  int rank_;
};

// Runs `body` on data_size x tensor_size threads, each with its groups. The first exception of any rank is thrown
// again here after all threads have ended.
void run_on_threads(int data_size, int tensor_size, const std::function<void(const Groups&)>& body);

}  // namespace chorus
