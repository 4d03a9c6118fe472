#include "ops/cpu/cpu_backend.h"

#include <cstdlib>
#include <cstring>

#include <sys/mman.h>

#include "ops/cpu/attention_layout.h"
#include "ops/cpu/matmul_plans.h"
#include "ops/cpu/parallel_for.h"

namespace chorus {

namespace {

constexpr std::int64_t huge_page = std::int64_t{2} << 20;

// Without OpenMP the pragma has no effect and the answer is 1.
int team_size(int threads) {
  int size = 1;
#pragma omp parallel num_threads(threads)
  {
#pragma omp single
    size = omp_get_num_threads();
  }
  return size;
}

}  // namespace

CpuBackend::CpuBackend(int threads) : threads_(threads) {
  require<ConfigurationError>(threads >= 1, "the CPU backend needs at least 1 thread, not ", threads);
  threads_ = team_size(threads);
  scratch_.resize(static_cast<std::size_t>(threads_));
  matmul_plans_ = std::make_unique<MatmulPlans>(threads_);
  attention_layout_ = std::make_unique<AttentionLayout>();
}

CpuBackend::~CpuBackend() = default;

Buffer CpuBackend::allocate(std::int64_t bytes) {
  require(bytes >= 0, "a buffer of ", bytes, " bytes");
  const std::int64_t alignment = bytes >= huge_page ? huge_page : Arena::alignment;
  const std::int64_t rounded = (bytes + alignment - 1) / alignment * alignment;
  const std::int64_t asked = rounded == 0 ? alignment : rounded;
  void* data = rounded < bytes
                   ? nullptr
                   : std::aligned_alloc(static_cast<std::size_t>(alignment), static_cast<std::size_t>(asked));
  require<MemoryError>(data != nullptr, "the machine has no room for a buffer of ", bytes,
                       " bytes: use fewer tokens per micro-batch, recompute, or more ranks");
  // Only a wish: memory bandwidth rises by up to a quarter where the kernel grants it.
  if (alignment == huge_page) madvise(data, static_cast<std::size_t>(asked), MADV_HUGEPAGE);
  return {data, bytes, [](void* memory) { std::free(memory); }};
}

void CpuBackend::upload(Tensor to, const void* from) {
  if (!to.empty()) std::memcpy(to.address(), from, static_cast<std::size_t>(to.bytes()));
}

void CpuBackend::download(void* to, ConstTensor from) {
  if (!from.empty()) std::memcpy(to, from.address(), static_cast<std::size_t>(from.bytes()));
}

void CpuBackend::reserve_scratch(std::int64_t bytes) {
  for (Scratch& scratch : scratch_) scratch.bytes(bytes);
}

}  // namespace chorus
