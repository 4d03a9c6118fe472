#pragma once

#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/device.h"

namespace chorus::cuda_emulation {

// Counts a call of `name`. Not zero: the error that the call must return at once.
int enter(const char* name);

LiveObjects& live();

// All of an entry point: call(body) unless the call is to fail. __func__ gives the name.
template <typename Status, typename Body>
Status entry(const char* name, const Body& body) {
  if (const int code = enter(name); code != 0) return static_cast<Status>(code);
  return body();
}

}  // namespace chorus::cuda_emulation
