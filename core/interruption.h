#pragma once

#include <functional>
#include <utility>

#include "ops/backend.h"
#include "ops/error.h"
#include "parallel/communicator.h"

namespace chorus {

// Whether this process has been asked to stop. Empty: it never is.
using StopRequested = std::function<bool()>;

// Somebody asked for an early end. Nothing is wrong, but the work in hand was not completed.
struct Interrupted : Error {
  explicit Interrupted(const std::string& message) : Error(message, ExitCode::preempted) {}
};

// Lets all ranks stop at the same place, whoever of them was asked to, and however often: launchers and schedulers
// signal some ranks several times and others never.
class StopAgreement {
 public:
  // `world`, `backend` and `arena` must outlive the object. A few bytes of `arena` are taken during next().
  StopAgreement(StopRequested requested, Communicator& world, Backend& backend, Arena& arena)
      : requested_(std::move(requested)), world_(world), backend_(backend), arena_(arena) {}

  // Before each piece of work: whether any rank has one left. A rank that has none asks on with the others, so that
  // their numbers of pieces may differ. Throws Interrupted on every rank alike once one of them was asked to stop.
  // Collective: one sum of 8 bytes.
  bool next(bool has_work);

 private:
  StopRequested requested_;
  Communicator& world_;
  Backend& backend_;
  Arena& arena_;
};

}  // namespace chorus
