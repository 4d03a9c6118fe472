#include "parallel/interruption.h"

#include <cstdint>

#include "parallel/host_values.h"

namespace chorus {

bool StopAgreement::any(bool here, Communicator& ranks) {
  return sum_over_ranks<std::int32_t>(here ? 1 : 0, ranks, backend_, arena_) > 0;
}

bool StopAgreement::stops() {
  if (!stopped_) stopped_ = any(requested_ && requested_(), groups_.tensor);
  return stopped_;
}

void StopAgreement::conclude() {
  if (any(stopped_, groups_.world))
    throw Interrupted("stopped by a signal before the work was done; start it again");
}

}  // namespace chorus
