#include "core/interruption.h"

#include <array>
#include <cstdint>

namespace chorus {

bool StopAgreement::next(bool has_work) {
  std::array<std::int32_t, 2> ranks{requested_ && requested_() ? 1 : 0, has_work ? 1 : 0};
  if (world_.size() > 1) {
    Arena::Scope scope(arena_);
    const Tensor tensor = arena_.take(DType::i32, {std::ssize(ranks)});
    backend_.upload(tensor, ranks.data());
    world_.all_reduce(tensor);
    backend_.download(ranks.data(), tensor);
  }
  if (ranks[0] > 0) throw Interrupted("stopped by a signal before the work was done; start it again");
  return ranks[1] > 0;
}

}  // namespace chorus
