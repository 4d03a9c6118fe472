#include "launch/device.h"

namespace chorus {

std::unique_ptr<Device> open_gpu(const NodePlace&, const Groups&) {
  throw ConfigurationError(
      "--device cuda: this program was built without CUDA. Install the CUDA toolkit and NCCL, and build "
      "again");
}

bool has_gpu() { return false; }

}  // namespace chorus
