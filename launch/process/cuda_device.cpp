#include <cstring>

#include "launch/process/device.h"
#include "launch/process/gpu_report.h"
#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/cuda_stream_clock.h"
#include "ops/cuda/gpu.h"
#include "parallel/nccl_groups.h"

namespace chorus {

namespace {

// What the ranks tell each other of their GPUs.
struct GpuCard {
  std::array<std::uint8_t, 24> identity{};
  std::array<char, 64> name{};
  std::int32_t capability = 0;
  std::int32_t memory_mib = 0;

  std::string description() const {
    return fmt::format("{} ({}.{}, {} MiB)", name.data(), capability / 10, capability % 10, memory_mib);
  }
  bool same_kind(const GpuCard& other) const {
    return name == other.name && capability == other.capability && memory_mib == other.memory_mib;
  }
};
constexpr std::int64_t words_per_card = sizeof(GpuCard) / sizeof(std::int32_t);
static_assert(sizeof(GpuCard) % sizeof(std::int32_t) == 0);

GpuCard card_of(const Gpu& gpu) {
  GpuCard card{.identity = gpu.identity,
               .capability = gpu.major * 10 + gpu.minor,
               .memory_mib = static_cast<std::int32_t>(gpu.memory_bytes >> 20)};
  std::strncpy(card.name.data(), gpu.name.c_str(), card.name.size() - 1);
  return card;
}

// Every rank sees all cards and so comes to the same conclusion.
void require_one_each(const std::vector<GpuCard>& cards) {
  for (std::size_t rank = 1; rank < cards.size(); ++rank) {
    for (std::size_t other = 0; other < rank; ++other) {
      require<ConfigurationError>(cards[rank].identity != cards[other].identity, "too few GPUs: ranks ",
                                  other, " and ", rank, " would share one ", cards[rank].description(),
                                  ". Start as many ranks per machine as it has GPUs");
    }
    require<ConfigurationError>(
        cards[rank].same_kind(cards[0]), "the GPUs differ: rank 0 has ", cards[0].description(), ", rank ",
        rank, " has ", cards[rank].description(),
        ". Choose equal ones by CUDA_VISIBLE_DEVICES, or Slurm's --constraint or --gpus TYPE:N");
  }
}

struct Choice {
  int device;
  GpuCard card;
};

Choice choose_gpu(const NodePlace& place, const Groups& host) {
  const std::vector<Gpu> gpus = list_gpus();
  const int device = place.rank % static_cast<int>(gpus.size());
  require_supported(gpus[static_cast<std::size_t>(device)]);
  std::vector<GpuCard> cards(static_cast<std::size_t>(host.world.size()));
  GpuCard& own = cards[static_cast<std::size_t>(host.world.rank())];
  own = card_of(gpus[static_cast<std::size_t>(device)]);
  host.world.all_gather(Tensor(DType::i32, {host.world.size(), words_per_card}, cards.data()));
  require_one_each(cards);
  return {device, own};
}

class CudaDevice : public Device {
 public:
  CudaDevice(const NodePlace& place, const Groups& host)
      : gpu_(choose_gpu(place, host)), backend_(gpu_.device), groups_(host, backend_.stream()) {}
  Backend& backend() override { return backend_; }
  Groups groups() override { return groups_.groups(); }
  std::unique_ptr<StreamClock> stream_clock() override {
    return std::make_unique<CudaStreamClock>(backend_.stream());
  }
  std::string description(DType) const override { return gpu_.card.description(); }
  std::string gpu_name() const override { return gpu_.card.name.data(); }
  std::int64_t memory_in_use() const override { return static_cast<std::int64_t>(gpu_memory_in_use()); }
  bool computes_in_host_memory() const override { return false; }

 private:
  Choice gpu_;
  CudaBackend backend_;
  NcclGroups groups_;
};

}  // namespace

std::unique_ptr<Device> open_gpu(const NodePlace& place, const Groups& host) {
  return std::make_unique<CudaDevice>(place, host);
}

bool has_gpu() {
  try {
    for (const Gpu& gpu : list_gpus()) require_supported(gpu);
    return true;
  } catch (const ConfigurationError&) {
    return false;
  }
}

GpuReport report_gpus() {
  GpuReport report{cuda_versions() + ", " + nccl_version(), {}, ""};
  try {
    for (const Gpu& gpu : list_gpus()) {
      report.gpus.push_back(card_of(gpu).description());
      require_supported(gpu);
    }
  } catch (const Error& error) {
    report.problem = error.what();
  }
  return report;
}

}  // namespace chorus
