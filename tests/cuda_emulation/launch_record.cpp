#include "tests/cuda_emulation/launch_record.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

#include "tests/cuda_emulation/report.h"

namespace chorus::cuda_emulation {
namespace {

class Record {
 public:
  ~Record() {
    if (!wanted()) return;
    std::ofstream out(file_);
    for (const auto& [kernel, launch] : launches_)
      out << launch.name << '\t' << launch.threads << '\t' << launch.shared_bytes << '\n';
  }
  bool wanted() const { return file_ != nullptr; }
  void add(const cudaLaunchConfig_t& config, const KernelCall& call) {
    Largest& launch = launches_[call.function()];
    if (launch.name.empty()) launch.name = function_name(call.function(), call.signature());
    launch.threads = std::max(launch.threads, config.blockDim.x * config.blockDim.y * config.blockDim.z);
    launch.shared_bytes = std::max(launch.shared_bytes, config.dynamicSmemBytes);
  }

 private:
  struct Largest {
    std::string name;
    unsigned threads = 0;
    std::size_t shared_bytes = 0;
  };
  const char* file_ = std::getenv("CUDA_EMULATION_LAUNCHES");
  std::map<const void*, Largest> launches_;
};

}  // namespace

void record_launch(const cudaLaunchConfig_t& config, const KernelCall& call) {
  static Record record;
  if (record.wanted()) record.add(config, call);
}

}  // namespace chorus::cuda_emulation
