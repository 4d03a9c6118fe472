#include "parallel/mpi_watch.h"

#include <algorithm>
#include <chrono>

#include "ops/base/clock.h"
#include "ops/base/host_name.h"
#include "parallel/mpi_communicator.h"

namespace chorus {

MpiWatch::MpiWatch(bool threads) : threads_(threads) {
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm_));
  check_mpi(MPI_Comm_rank(comm_, &rank_));
  check_mpi(MPI_Comm_size(comm_, &size_));
  for (int other = 0; other < size_; ++other) {
    if (other != rank_ && (rank_ == 0 || other <= 1)) listeners_.push_back(other);
  }
  messages_.resize(listeners_.size());
  sent_.resize(static_cast<std::size_t>(size_));
  received_.resize(static_cast<std::size_t>(size_));
}

MpiWatch::~MpiWatch() { MPI_Comm_free(&comm_); }

void MpiWatch::start(HangLimits limits, std::function<void(const std::string&)> say,
                     std::function<void()> end) {
  if (size_ == 1 || thread_.joinable()) return;
  thread_ =
      std::thread([this, limits, say = std::move(say), end = std::move(end)] { run(limits, say, end); });
}

bool MpiWatch::pause(double seconds) {
  std::unique_lock lock(mutex_);
  return !ended_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return ends_; });
}

// Synchronous sends, which a rank that stands still leaves unfinished: no more than one is on its way to it.
void MpiWatch::send(const Heartbeat& heartbeat) {
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    Message& message = messages_[i];
    int done = 0;
    check_mpi(MPI_Test(&message.sent, &done, MPI_STATUS_IGNORE));
    if (done == 0) continue;
    message.heartbeat = heartbeat;
    check_mpi(
        MPI_Issend(&message.heartbeat, sizeof(Heartbeat), MPI_BYTE, listeners_[i], 0, comm_, &message.sent));
    ++sent_[static_cast<std::size_t>(listeners_[i])];
  }
}

bool MpiWatch::receive(int& from, Heartbeat& heartbeat) {
  int there = 0;
  MPI_Status status{};
  check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, 0, comm_, &there, &status));
  if (there == 0) return false;
  from = status.MPI_SOURCE;
  check_mpi(MPI_Recv(&heartbeat, sizeof(Heartbeat), MPI_BYTE, from, 0, comm_, MPI_STATUS_IGNORE));
  ++received_[static_cast<std::size_t>(from)];
  return true;
}

void MpiWatch::run(HangLimits limits, const std::function<void(const std::string&)>& say,
                   const std::function<void()>& end) {
  const std::string host = host_name();
  const double interval = limits.warning / 12;
  const Clock clock;
  HangJudge judge(rank_, size_, threads_, limits, clock.seconds());
  double before = 0;
  do {
    const double now = clock.seconds();
    if (now - before > limits.warning / 2) judge.forget_silence(now);
    before = now;
    const Heartbeat own = Heartbeat::of(host, activity_.state());
    judge.hear(rank_, own, now);
    if (threads_) {
      int from = 0;
      for (Heartbeat heartbeat; receive(from, heartbeat);) judge.hear(from, heartbeat, now);
      send(own);
    }
    const HangJudge::Verdict verdict = judge.judge(now);
    if (!verdict.line.empty()) say(verdict.line);
    if (verdict.ends) end();
  } while (pause(interval));
}

void MpiWatch::settle() {
  {
    const std::scoped_lock lock(mutex_);
    ends_ = true;
  }
  ended_.notify_all();
  if (thread_.joinable()) thread_.join();
  std::vector<int> expected(sent_.size());
  check_mpi(MPI_Alltoall(sent_.data(), 1, MPI_INT, expected.data(), 1, MPI_INT, comm_));
  int from = 0;
  for (Heartbeat heartbeat; received_ != expected;) receive(from, heartbeat);
  for (Message& message : messages_) check_mpi(MPI_Wait(&message.sent, MPI_STATUS_IGNORE));
}

}  // namespace chorus
