#pragma once

#include <optional>
#include <string>

#include "experiments/planning/machine.h"
#include "launch/options/options.h"

namespace chorus {

// Throws what `chorus train` with these arguments would say at its start, before it waits in a queue: options, base, data
// or an adapter that cannot be used, ranks that are no grid, an output folder that cannot be written; and, where the
// machine is known, ConfigurationError for a rank that needs more memory than one of its devices has.
void require_startable(const Arguments& training, int ranks, const std::optional<Machine>& machine);

}  // namespace chorus
