#include "parallel/interruption.h"

#include <cstdint>

namespace chorus {

bool StopAgreement::any(bool here, Communicator& ranks) {
  if (ranks.size() == 1) return here;
  Arena::Scope scope(arena_);
  const Tensor tensor = arena_.take(DType::i32, {1});
  std::int32_t count = here ? 1 : 0;
  backend_.upload(tensor, &count);
  ranks.all_reduce(tensor);
  backend_.download(&count, tensor);
  return count > 0;
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
