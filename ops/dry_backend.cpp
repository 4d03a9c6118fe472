#include "ops/dry_backend.h"

#include <cstring>

namespace chorus {

void DryBackend::download(void* to, ConstTensor from) {
  if (!from.empty()) std::memset(to, 0, static_cast<std::size_t>(from.bytes()));
}

}  // namespace chorus
