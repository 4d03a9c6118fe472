#pragma once

// How the emulation tells what is wrong with the program it runs.

#include <string>
#include <utility>

#include <fmt/format.h>

#include "tests/cuda_emulation/device.h"

namespace chorus::cuda_emulation {

// The process ends with it when the emulation has found a fault.
constexpr int fault_exit_code = 86;

// Tells the fault, its place and the running thread on stderr, and ends the process: what follows a fault on a GPU
// cannot be known.
[[noreturn]] void report_fault(const std::string& place, const std::string& fault);

std::string place(Location where);

template <typename... Arguments>
[[noreturn]] void report(Location where, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  report_fault(place(where), fmt::format(format, std::forward<Arguments>(arguments)...));
}

// For calls that return an error: why, on stderr, since error codes say little.
void explain(const std::string& reason);

// The name of the function at an address, for people.
std::string function_name(const void* function, const char* otherwise);

}  // namespace chorus::cuda_emulation
