#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/corpora/dialogue.h"

namespace chorus {

// How the fraction of mixed corpora is taken: of each of them, or of all together (InstructERC's ratio and total mix), or
// equally many lines of each.
enum class Mix { ratio, total, equal };

// "1/4" or "0.25". Throws ConfigurationError unless it is above 0 and at most 1.
double parse_fraction(const std::string& text);

// A random share of the lines of each corpus (Mix::ratio) or of all together (Mix::total), as many as are nearest to
// it; Mix::equal takes the share of the corpora's mean size of each, or all that it has. A pure function of the seed; a smaller fraction is a part of every larger one of the same seed.
std::vector<const Utterance*> fraction_of(const std::vector<std::vector<const Utterance*>>& corpora,
                                          double fraction, Mix mix, std::uint64_t seed);

}  // namespace chorus
