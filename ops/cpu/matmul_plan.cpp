#include "ops/cpu/matmul_plan.h"

#include <cerrno>
#include <system_error>

#include <sys/mman.h>

#include "ops/base/error.h"
#include "ops/base/unchecked_memory.h"

namespace chorus {

namespace {

dnnl::memory::data_type library_type(DType dtype) {
  return dtype == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

dnnl::memory::desc matrix(std::int64_t rows, std::int64_t columns, DType dtype, bool transposed,
                          std::int64_t leading) {
  const dnnl::memory::dims strides =
      transposed ? dnnl::memory::dims{1, leading} : dnnl::memory::dims{leading, 1};
  return {{rows, columns}, library_type(dtype), strides};
}

// oneDNN 2 takes the operands as an object of their own, which oneDNN 3 no longer has.
template <typename Operation>
auto describe(const dnnl::memory::desc& a, const dnnl::memory::desc& b, const dnnl::memory::desc& out,
              const dnnl::primitive_attr& attributes, const dnnl::engine& engine) {
  using Description = typename Operation::primitive_desc;
  if constexpr (requires { typename Operation::desc; }) {
    return Description(typename Operation::desc(a, b, out), attributes, engine);
  } else {
    return Description(engine, a, b, out, attributes);
  }
}

constexpr const char* code_of_products = "the code of matrix products";

// oneDNN asks the system for up to 320 KiB for each of the kernels that it writes, and falls over where it gets none. What
// one product takes stays far below what is asked for here; where the room is gone a moment later, UncheckedMemory tells.
void require_room_for_code() {
  constexpr std::size_t bytes = std::size_t{16} << 20U;
  void* const room = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require<MemoryError>(room != MAP_FAILED, "the system gives no ", bytes, " bytes for ", code_of_products,
                       " (", std::generic_category().message(errno),
                       "): raise the limit of address space (ulimit -v) or of memory");
  munmap(room, bytes);
}

}  // namespace

MatmulPlan::MatmulPlan(const MatmulKey& key, const dnnl::engine& engine, int workers) {
  require_room_for_code();
  const UncheckedMemory guard(code_of_products);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (key.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    attributes.set_post_ops(sum);
  }
  const auto a = matrix(key.m, key.k, key.input, key.transpose_a, key.a_leading);
  const auto b = matrix(key.k, key.n, key.input, key.transpose_b, key.b_leading);
  const auto out = matrix(key.m, key.n, key.output, false, key.out_leading);
  const auto description = describe<dnnl::matmul>(a, b, out, attributes, engine);
  primitive_ = dnnl::matmul(description);
  scratch_bytes_ = static_cast<std::int64_t>(description.scratchpad_desc().get_size());
  for (int worker = 0; worker < workers; ++worker) {
    arguments_.push_back({{DNNL_ARG_SRC, {a, engine, nullptr}},
                          {DNNL_ARG_WEIGHTS, {b, engine, nullptr}},
                          {DNNL_ARG_DST, {out, engine, nullptr}},
                          {DNNL_ARG_SCRATCHPAD, {description.scratchpad_desc(), engine, nullptr}}});
  }
}

void MatmulPlan::run(int worker, const dnnl::stream& stream, const void* a, const void* b, void* out,
                     void* scratch) {
  Arguments& arguments = arguments_[static_cast<std::size_t>(worker)];
  // The library's handles are not const, though it only reads the operands.
  arguments.at(DNNL_ARG_SRC).set_data_handle(const_cast<void*>(a));
  arguments.at(DNNL_ARG_WEIGHTS).set_data_handle(const_cast<void*>(b));
  arguments.at(DNNL_ARG_DST).set_data_handle(out);
  arguments.at(DNNL_ARG_SCRATCHPAD).set_data_handle(scratch);
  const UncheckedMemory guard(code_of_products);  // some code is written when it first runs
  primitive_.execute(stream, arguments);
}

}  // namespace chorus
