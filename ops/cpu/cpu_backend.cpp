#include "ops/cpu/cpu_backend.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

#include "ops/cpu/attention_layout.h"
#include "ops/cpu/matmul_plans.h"
#include "ops/cpu/parallel_for.h"
#include "ops/memory.h"

namespace chorus {

namespace {

constexpr std::int64_t huge_page = std::int64_t{2} << 20;

int at_least_one(int threads) {
  require<ConfigurationError>(threads >= 1, "the CPU backend needs at least 1 thread, not ", threads);
  return threads;
}

}  // namespace

CpuBackend::CpuBackend(int threads, std::optional<Bf16Products> bf16_products)
    : threads_(at_least_one(threads)),
      scratch_(static_cast<std::size_t>(threads)),
      matmul_plans_(std::make_unique<MatmulPlans>(threads, bf16_products)),
      attention_layout_(std::make_unique<AttentionLayout>()) {}

CpuBackend::~CpuBackend() = default;

Buffer CpuBackend::allocate(std::int64_t bytes) {
  require(bytes >= 0, "a buffer of ", bytes, " bytes");
  // The kernel promises more than there is and kills the process when it is used: better to say so here.
  const std::int64_t installed = std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  const std::int64_t alignment = bytes >= huge_page ? huge_page : Arena::alignment;
  void* data = nullptr;
  if (bytes <= installed) {
    const std::int64_t rounded = (std::max(bytes, alignment) + alignment - 1) / alignment * alignment;
    data = std::aligned_alloc(static_cast<std::size_t>(alignment), static_cast<std::size_t>(rounded));
    // Only a wish: memory bandwidth rises by up to a quarter where the kernel grants it.
    if (alignment == huge_page && data != nullptr)
      madvise(data, static_cast<std::size_t>(rounded), MADV_HUGEPAGE);
  }
  require<MemoryError>(data != nullptr, "the machine, which has ", installed,
                       " bytes of memory, has no room for a ", "buffer of ", bytes,
                       " bytes: use fewer tokens per micro-batch, recompute, or more ranks");
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
