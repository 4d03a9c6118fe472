#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace chorus {

// Where a golden run is repeated, and how far its numbers may be from the float64 ones.
struct Machine {
  std::string name;
  int ranks = 1;  // of one tensor group
  std::vector<std::string> options = {};
  // Bounds on the difference, relative. Each update adds `growth` times the first two again.
  double loss = 1e-5;
  double norm = 1e-4;
  double growth = 0;
  double update = 1e-4;       // of the adapter, relative to the whole update
  double tensor_norm = 5e-4;  // of each tensor's gradient
};

inline void PrintTo(const Machine& machine, std::ostream* out) { *out << machine.name; }

// Two functions of one of the files machines_*.cpp beside this one.
std::vector<Machine> machines_under_test();
// Why runs of so many ranks cannot be tested here; empty where they can.
std::string missing_machine(int ranks);

}  // namespace chorus
