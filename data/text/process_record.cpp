#include "data/text/process_record.h"

#include <chrono>
#include <fstream>
#include <string>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ops/base/host_name.h"

namespace chorus {

namespace {

// Field 22 of /proc/NUMBER/stat, after the name, which may hold anything; 0: there is no such process, or it has ended.
std::uint64_t start_of(pid_t number) {
  std::ifstream file(fmt::format("/proc/{}/stat", number));
  std::string text;  // empty where the process ends while it is read: an iterator would throw
  std::getline(file, text, '\0');
  const std::size_t name_end = text.rfind(") ");
  if (name_end == std::string::npos || text[name_end + 2] == 'Z') return 0;
  std::size_t begin = name_end + 2;
  for (int field = 3; field < 22; ++field) begin = text.find(' ', begin) + 1;
  return std::stoull(text.substr(begin));
}

}  // namespace

ProcessRecord ProcessRecord::of(pid_t number) {
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  return {host_name(), number, start_of(number), fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(now))};
}

ProcessRecord ProcessRecord::from_json(const nlohmann::json& json) {
  ProcessRecord record;
  try {
    record = {json.at("host"), json.at("process"), json.at("process_start"), json.at("since")};
  } catch (const nlohmann::json::exception&) {
    record = {};
  }
  return record;
}

nlohmann::ordered_json ProcessRecord::to_json() const {
  return {{"host", host}, {"process", number}, {"process_start", start}, {"since", since}};
}

bool ProcessRecord::is_of_this_host() const { return host == host_name(); }

bool ProcessRecord::runs() const { return start != 0 && is_of_this_host() && start_of(number) == start; }

std::string ProcessRecord::description() const {
  if (number == 0) return "another process";
  return fmt::format("process {} on host {} since {}", number, host, since);
}

}  // namespace chorus
