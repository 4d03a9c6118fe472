#pragma once

#include <string>
#include <utility>
#include <vector>

#include "parallel/communicator.h"

namespace chorus {

// What ranks must have alike to work together, by name: options, and what is read, by content.
using SharedFacts = std::vector<std::pair<std::string, std::string>>;

struct RankFacts {
  std::string host;
  SharedFacts facts;
};

// "", or what ranks have that the first has not, a line for each of at most eight of them.
std::string differences_between_ranks(const std::vector<RankFacts>& ranks);

// Throws ConfigurationError, on all ranks alike, where one has something else. Collective; `world` passes host memory.
void require_same_on_all_ranks(const SharedFacts& facts, Communicator& world);

}  // namespace chorus
