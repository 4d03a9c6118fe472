#include "tests/launch/machines.h"

namespace chorus {

std::vector<Machine> machines_under_test() {
  return {{.name = "1ranks", .ranks = 1}, {.name = "2ranks", .ranks = 2}};
}

std::string missing_machine(int) { return ""; }

}  // namespace chorus
