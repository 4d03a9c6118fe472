#include "launch/process/device.h"
#include "launch/process/gpu_report.h"

namespace chorus {

std::unique_ptr<Device> open_gpu(const NodePlace&, const Groups&) {
  throw ConfigurationError(
      "--device cuda: this program was built without CUDA. Install the CUDA toolkit and NCCL, and build "
      "again");
}

bool has_gpu() { return false; }

GpuReport report_gpus() {
  return {"none: built without it",
          {},
          "this program was built without CUDA: install CUDA and NCCL, and build again"};
}

}  // namespace chorus
