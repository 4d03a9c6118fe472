#include "launch/process/device.h"
#include "launch/process/environment.h"
#include "ops/cpu/cpu_backend.h"

namespace chorus {

namespace {

class CpuDevice : public Device {
 public:
  CpuDevice(int threads, const Groups& host) : backend_(threads), groups_(host) {}
  Backend& backend() override { return backend_; }
  Groups groups() override { return groups_; }
  std::unique_ptr<StreamClock> stream_clock() override { return std::make_unique<HostStreamClock>(); }
  bool computes_in_host_memory() const override { return true; }
  std::int64_t memory_in_use() const override { return peak_resident_bytes(); }
  std::string gpu_name() const override { return ""; }
  std::string description(DType precision) const override {
    return fmt::format(
        "{} CPU {}{}", backend_.threads(), backend_.threads() == 1 ? "thread" : "threads",
        precision == DType::bf16 ? fmt::format(" (bf16 products by {})", name(fastest_bf16_products())) : "");
  }

 private:
  CpuBackend backend_;
  Groups groups_;
};

}  // namespace

std::unique_ptr<Device> open_cpu(int threads, const Groups& host) {
  return std::make_unique<CpuDevice>(threads, host);
}

}  // namespace chorus
