#include "tests/cuda_emulation/report.h"

#include <cstdio>
#include <cstdlib>
#include <memory>

#include <cxxabi.h>
#include <dlfcn.h>

#include "tests/cuda_emulation/block.h"

namespace chorus::cuda_emulation {

std::string place(Location where) {
  return fmt::format("{}:{} ({})", where.file_name(), where.line(), where.function_name());
}

void report_fault(const std::string& place, const std::string& fault) {
  std::fflush(stdout);
  fmt::print(stderr, "\n=== CUDA emulation: {}\n    at {}\n", fault, place);
  if (current != nullptr) {
    const uint3 &t = current->index, &b = block_index;
    fmt::print(stderr, "    by thread ({},{},{}) of block ({},{},{}) of launch {}, {}\n", t.x, t.y, t.z, b.x,
               b.y, b.z, launch_number, function_name(kernel_call->function(), kernel_call->signature()));
  }
  std::fflush(stderr);
  std::_Exit(fault_exit_code);
}

void explain(const std::string& reason) { fmt::print(stderr, "CUDA emulation: {}\n", reason); }

std::string function_name(const void* function, const char* otherwise) {
  Dl_info info;
  if (dladdr(function, &info) == 0 || info.dli_sname == nullptr || info.dli_saddr != function)
    return otherwise;
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status), &std::free);
  return status == 0 ? name.get() : info.dli_sname;
}

}  // namespace chorus::cuda_emulation
