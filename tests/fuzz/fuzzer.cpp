// The door of libFuzzer: FUZZ_TARGET names one of all_targets(). `fuzz seeds FOLDER` writes the seeds of all of them.

#include <cstdint>
#include <cstdlib>
#include <iostream>

#include "tests/fuzz/target.h"
#include "tests/support/scratch.h"

namespace {

using namespace chorus::fuzz;

const Target& chosen_target() {
  const char* name = std::getenv("FUZZ_TARGET");
  for (const Target& target : all_targets()) {
    if (name != nullptr && target.name == name) return target;
  }
  std::cerr << "FUZZ_TARGET must be one of\n";
  for (const Target& target : all_targets()) std::cerr << "  " << target.name << "\n";
  std::exit(2);
}

void write_seeds(const std::filesystem::path& folder) {
  for (const Target& target : all_targets()) {
    std::filesystem::create_directories(folder / target.name);
    int number = 0;
    for (const std::string& seed : target.seeds())
      chorus::test::write_bytes(folder / target.name / std::to_string(number++), seed);
  }
}

}  // namespace

// HDF5 itself loses blocks where a file is damaged.
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  if (*count != 3 || std::string_view((*arguments)[1]) != "seeds") return 0;
  write_seeds((*arguments)[2]);
  std::exit(0);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Target& target = chosen_target();
  is_accepted(target, std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
