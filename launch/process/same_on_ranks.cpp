#include "launch/process/same_on_ranks.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "ops/base/host_name.h"
#include "parallel/host_values.h"

namespace chorus {

namespace {

constexpr std::size_t most_told = 8;  // ranks: what one machine lacks, all of its ranks lack

// Options are bytes that need not be UTF-8.
std::string encode(const RankFacts& rank) {
  return nlohmann::json::array({rank.host, rank.facts})
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

RankFacts decode(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text);
  return {json.at(0), json.at(1)};
}

std::string value_of(const SharedFacts& facts, const std::string& name) {
  for (const auto& [other, value] : facts) {
    if (other == name) return value.empty() ? "nothing" : value;
  }
  return "nothing";
}

// Names in the order of the first rank, then those that only the other has.
std::vector<std::string> names_of(const SharedFacts& first, const SharedFacts& other) {
  std::vector<std::string> names;
  for (const SharedFacts* facts : {&first, &other}) {
    for (const auto& [name, value] : *facts) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

std::string differences_of(std::size_t number, const RankFacts& rank, const RankFacts& first) {
  std::string line;
  for (const std::string& name : names_of(first.facts, rank.facts)) {
    const std::string here = value_of(rank.facts, name), there = value_of(first.facts, name);
    if (here == there) continue;
    line += line.empty() ? fmt::format("rank {} (host {}) has ", number, rank.host) : "; ";
    line += fmt::format("{} {}, rank 0 (host {}) has {}", name, here, first.host, there);
  }
  return line;
}

}  // namespace

std::string differences_between_ranks(const std::vector<RankFacts>& ranks) {
  std::string text;
  std::size_t different = 0;
  for (std::size_t rank = 1; rank < ranks.size(); ++rank) {
    const std::string line = differences_of(rank, ranks[rank], ranks[0]);
    if (line.empty() || ++different > most_told) continue;
    text += (text.empty() ? "" : "\n") + line;
  }
  if (different > most_told) text += fmt::format("\nand {} more ranks differ", different - most_told);
  return text;
}

void require_same_on_all_ranks(const SharedFacts& facts, Communicator& world) {
  if (world.size() == 1) return;
  std::vector<RankFacts> ranks;
  for (const std::string& text : gather_texts(world, encode({host_name(), facts})))
    ranks.push_back(decode(text));
  const std::string different = differences_between_ranks(ranks);
  require<ConfigurationError>(different.empty(), different,
                              "\nall ranks must have the same: start them by one command, and give every "
                              "machine the same program and the same files");
}

}  // namespace chorus
