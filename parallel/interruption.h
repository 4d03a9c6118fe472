#pragma once

#include <functional>
#include <utility>

#include "ops/base/error.h"
#include "ops/memory.h"
#include "parallel/communicator.h"

namespace chorus {

// Whether this process has been asked to stop. Empty: it never is. Once it has said so, it says so always.
using StopRequested = std::function<bool()>;

// Somebody asked for an early end. Nothing is wrong, but the work in hand was not completed.
struct Interrupted : Error {
  explicit Interrupted(const std::string& message) : Error(message, ExitCode::preempted) {}
};

// Lets all ranks give up the same work, whoever of them was asked to stop: launchers and schedulers signal some ranks
// several times and others never. Data ranks do not wait for each other between two pieces of work.
class StopAgreement {
 public:
  // The communicators, `backend` and `arena` must outlive the object. A few bytes of `arena` are taken in each call.
  StopAgreement(StopRequested requested, const Groups& groups, Backend& backend, Arena& arena)
      : requested_(std::move(requested)), groups_(groups), backend_(backend), arena_(arena) {}

  // Before each piece of work: whether to leave it, and all that follow. The same for all ranks of a tensor group, which
  // work on the same pieces; between them collective, one sum of 4 bytes.
  bool stops();
  // After the last piece that was done, at the latest before the ranks exchange results. Throws Interrupted on all ranks
  // alike if one has left something. Collective: one sum of 4 bytes.
  void conclude();

 private:
  bool any(bool here, Communicator& ranks);

  StopRequested requested_;
  Groups groups_;
  Backend& backend_;
  Arena& arena_;
  bool stopped_ = false;
};

}  // namespace chorus
