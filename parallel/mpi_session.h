#pragma once

#include <functional>
#include <memory>
#include <string>

#include "ops/base/error.h"
#include "parallel/communicator.h"
#include "parallel/hang_judge.h"

namespace chorus {

class MpiNotice;
class MpiWatch;

// Whether a launcher (mpirun, srun, …) started this process as one of several ranks.
bool started_by_mpi();

// MPI from its first call to its last. One object per process, made before any thread that computes.
class MpiSession {
 public:
  // `say` gets a line where other ranks do not come to MPI_Init (see StartWatch).
  explicit MpiSession(std::function<void(const std::string&)> say = {});
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  // Among the ranks of this machine.
  int node_rank() const { return node_rank_; }
  int node_size() const { return node_size_; }

  // Splits the world into a grid with tensor groups of `tensor_size`. Throws ConfigurationError on every rank alike.
  // The groups live as long as the session and the returned object.
  class Grid;
  std::unique_ptr<Grid> make_groups(int tensor_size) const;

  // One word that any rank can say to all others at any time, and that they hear when they next listen. Nobody waits
  // for anybody.
  void notify_all() const;
  bool notified() const;  // by this rank or another

  // What this rank does, which from watch() on the others know. `say` gets what is to be said of a run that stands still;
  // at the limit the process ends with exit code 5, and the launcher ends the others.
  Activity& activity() const;
  void watch(HangLimits limits, std::function<void(const std::string&)> say) const;

  // Ends all ranks at once. For failures that the others cannot know of.
  [[noreturn]] void abort(ExitCode exit_code) const;

 private:
  int rank_ = 0, size_ = 1, node_rank_ = 0, node_size_ = 1;
  std::unique_ptr<MpiNotice> notice_;
  std::unique_ptr<MpiWatch> watch_;
};

class MpiSession::Grid {
 public:
  virtual ~Grid() = default;
  virtual Groups groups() = 0;
};

}  // namespace chorus
