#pragma once

#include <memory>
#include <type_traits>

namespace chorus::cuda {

template <auto destroy>
struct Destroy {
  // Nobody can act on an error any more: the process ends, or another error is on its way.
  template <typename T>
  void operator()(T* object) const noexcept {
    (void)destroy(object);
  }
};

// Owns what a library hands out as `Pointer` and takes back by `destroy`.
template <typename Pointer, auto destroy>
using Handle = std::unique_ptr<std::remove_pointer_t<Pointer>, Destroy<destroy>>;

}  // namespace chorus::cuda
