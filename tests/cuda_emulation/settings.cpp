#include "tests/cuda_emulation/settings.h"

#include <cstdlib>
#include <string_view>

#include "tests/cuda_emulation/report.h"

namespace chorus::cuda_emulation {
namespace {

// The value of CUDA_EMULATION_<name>; empty where it is not set.
std::string variable(const char* name) {
  const char* value = std::getenv(("CUDA_EMULATION_" + std::string(name)).c_str());
  return value == nullptr ? "" : value;
}

[[noreturn]] void misunderstood(const char* name, const std::string& value) {
  report(Location::current(), "CUDA_EMULATION_{}={} is not one of the values that README.md tells", name,
         value);
}

std::uint64_t number(const char* name, const std::string& text) {
  char* end = nullptr;
  const std::uint64_t value = std::strtoull(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0') misunderstood(name, text);
  return value;
}

// "3", or the compute capabilities "8.0,9.0"
std::vector<DeviceModel> devices(const std::string& text) {
  std::vector<DeviceModel> result;
  if (text.find('.') == std::string::npos) {
    result.resize(number("DEVICES", text));
  } else {
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      const std::string capability = text.substr(begin, end - begin);
      const std::size_t point = capability.find('.');
      if (point == std::string::npos) misunderstood("DEVICES", text);
      DeviceModel device;
      device.major = static_cast<int>(number("DEVICES", capability.substr(0, point)));
      device.minor = static_cast<int>(number("DEVICES", capability.substr(point + 1)));
      result.push_back(device);
      begin = end + 1;
    }
  }
  if (result.size() > most_devices) misunderstood("DEVICES", text);
  return result;
}

Settings from_environment() {
  Settings result;
  if (const std::string value = variable("ORDER"); value == "rev") {
    result.order = Order::reversed;
  } else if (value.starts_with("rand")) {
    result.order = Order::random;
    if (value.size() > 4) result.seed = number("ORDER", value.substr(5));
  } else if (!value.empty() && value != "seq") {
    misunderstood("ORDER", value);
  }
  if (const std::string value = variable("STREAMS"); value == "eager") {
    result.streams = Progress::eager;
  } else if (value == "rand") {
    result.streams = Progress::random;
  } else if (!value.empty() && value != "lazy") {
    misunderstood("STREAMS", value);
  }
  if (const std::string value = variable("DEVICES"); value == "none") {
    result.driver = false;
  } else if (!value.empty()) {
    result.devices = devices(value);
  }
  if (const std::string value = variable("MEMORY"); !value.empty())
    result.device_bytes = number("MEMORY", value);
  if (const std::string value = variable("PROTECT"); !value.empty())
    result.protect = number("PROTECT", value) != 0;
  if (const std::string value = variable("FUZZ"); !value.empty()) result.fuzz = number("FUZZ", value);
  if (const std::string value = variable("NCCL_TIMEOUT"); !value.empty()) {
    result.nccl_timeout = std::strtod(value.c_str(), nullptr);
    if (result.nccl_timeout <= 0) misunderstood("NCCL_TIMEOUT", value);
  }
  return result;
}

Settings& stored() {
  static Settings result = from_environment();
  return result;
}

}  // namespace

std::size_t DeviceModel::shared_bytes() const {
  constexpr std::size_t kibibyte = 1024;
  const int capability = major * 10 + minor;
  if (capability < 80) return 64 * kibibyte;
  if (capability == 80 || capability == 87) return 163 * kibibyte;
  if (major == 8 || major == 12) return 99 * kibibyte;
  return 227 * kibibyte;
}

const Settings& settings() { return stored(); }

void configure(const Settings& settings) {
  if (settings.devices.size() > most_devices) {
    report(Location::current(), "{} devices, of {} at most", settings.devices.size(), most_devices);
  }
  stored() = settings;
  randomness().seed(settings.seed);
}

std::mt19937_64& randomness() {
  static std::mt19937_64 generator(settings().seed);
  return generator;
}

}  // namespace chorus::cuda_emulation
