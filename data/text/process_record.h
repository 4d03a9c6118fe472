#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>
#include <sys/types.h>

namespace chorus {

// A process as another can find it again: its number alone is soon given to another one.
struct ProcessRecord {
  std::string host;
  pid_t number = 0;
  std::uint64_t start = 0;  // as /proc counts it; 0: not known
  std::string since;        // the same for people

  static ProcessRecord of(pid_t number);
  // Of a record that to_json() made; of anything else one that tells nothing.
  static ProcessRecord from_json(const nlohmann::json& json);
  nlohmann::ordered_json to_json() const;

  bool is_of_this_host() const;
  // Whether it runs, on this host; of processes of other hosts nothing is known.
  bool runs() const;
  // "process 7 on host a since 2026-01-31 12:00:00"
  std::string description() const;
};

}  // namespace chorus
