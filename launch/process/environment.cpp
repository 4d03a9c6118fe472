#include "launch/process/environment.h"

#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "launch/process/system_facts.h"
#include "launch/process/version.h"
#include "ops/base/error.h"

namespace chorus {

std::int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

nlohmann::ordered_json describe_environment() {
  utsname system{};
  uname(&system);
  return {{"chorus", version()},
          {"compiler", __VERSION__},
          {"system", std::string(system.sysname) + " " + system.release + " " + system.machine},
          {"host", system.nodename},
          {"processor", processor_name()},
          {"cores", sysconf(_SC_NPROCESSORS_ONLN)},
          {"memory_bytes", sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)}};
}

std::string own_program() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  require<DataError>(!error, "cannot find the file of this program: ", error.message());
  return path.string();
}

}  // namespace chorus
