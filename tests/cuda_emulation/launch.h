#pragma once

// cudaLaunchKernelEx keeps a kernel's arguments by type, since the emulation calls the kernel as a function.

#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tests/cuda_emulation/device.h"

namespace chorus::cuda_emulation {

// A kernel with its arguments.
class KernelCall {
 public:
  KernelCall(const void* function, const char* signature, std::size_t argument_bytes,
             std::size_t object_bytes)
      : function_(function),
        signature_(signature),
        argument_bytes_(argument_bytes),
        object_bytes_(object_bytes) {}
  virtual ~KernelCall() = default;
  KernelCall(const KernelCall&) = delete;
  KernelCall& operator=(const KernelCall&) = delete;

  // As the current thread of the current block.
  virtual void run() const = 0;

  const void* function() const { return function_; }
  const char* signature() const { return signature_; }
  std::size_t argument_bytes() const { return argument_bytes_; }
  // The object lies in host memory, but kernels may read it: it holds the arguments.
  std::size_t object_bytes() const { return object_bytes_; }

 private:
  const void* function_;
  const char* signature_;
  std::size_t argument_bytes_, object_bytes_;
};

template <typename... Parameters>
class TypedKernelCall final : public KernelCall {
 public:
  using Kernel = void (*)(Parameters...);
  static_assert((std::is_trivially_copyable_v<std::remove_cvref_t<Parameters>> && ...),
                "the arguments of a kernel must be trivially copyable");
  static_assert((!std::is_reference_v<Parameters> && ...), "the arguments of a kernel are passed by value");

  template <typename... Arguments>
  explicit TypedKernelCall(Kernel kernel, Arguments&&... arguments)
      : KernelCall(reinterpret_cast<const void*>(kernel), __PRETTY_FUNCTION__, (sizeof(Parameters) + ... + 0),
                   sizeof(*this)),
        kernel_(kernel),
        arguments_(std::forward<Arguments>(arguments)...) {}

  void run() const override { std::apply(kernel_, arguments_); }

 private:
  Kernel kernel_;
  std::tuple<std::remove_cv_t<Parameters>...> arguments_;
};

cudaError_t launch(const cudaLaunchConfig_t& config, std::unique_ptr<const KernelCall> call);

template <typename... Parameters, typename... Arguments>
cudaError_t launch_kernel(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                          Arguments&&... arguments) {
  return launch(*config, std::make_unique<const TypedKernelCall<Parameters...>>(
                             kernel, std::forward<Arguments>(arguments)...));
}

}  // namespace chorus::cuda_emulation
