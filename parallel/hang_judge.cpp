#include "parallel/hang_judge.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace chorus {

namespace {

constexpr std::size_t most_named = 8;  // ranks of one kind

template <std::size_t size>
void assign(std::array<char, size>& to, std::string_view text) {
  to = {};
  std::memcpy(to.data(), text.data(), std::min(text.size(), size - 1));
}

std::string place_of(const Heartbeat& heartbeat) {
  const bool begun = heartbeat.phase[0] != 0;
  return begun ? fmt::format("{}, step {}", heartbeat.phase.data(), heartbeat.step) : "starting";
}

// "rank 1 (host a)", "ranks 1 (host a), 2 (host b) and 14 more"
std::string names_of(const std::vector<std::string>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < std::min(ranks.size(), most_named); ++i) text += (i > 0 ? ", " : "") + ranks[i];
  return ranks.size() > most_named ? text + fmt::format(" and {} more", ranks.size() - most_named) : text;
}

}  // namespace

Heartbeat Heartbeat::of(const std::string& host, const Activity::State& state) {
  Heartbeat heartbeat;
  assign(heartbeat.host, host);
  assign(heartbeat.phase, state.phase);
  assign(heartbeat.collective, state.collective);
  heartbeat.step = state.step;
  heartbeat.changes = state.changes;
  return heartbeat;
}

HangJudge::HangJudge(int rank, int size, bool hears, HangLimits limits, double now)
    : rank_(static_cast<std::size_t>(rank)),
      hears_(hears),
      limits_(limits),
      ranks_(static_cast<std::size_t>(size), Rank{{}, now, now}),
      next_warning_(limits.warning) {}

void HangJudge::hear(int rank, const Heartbeat& heartbeat, double now) {
  Rank& other = ranks_[static_cast<std::size_t>(rank)];
  if (heartbeat.changes != other.last.changes) other.changed = now;
  other.last = heartbeat;
  other.heard = now;
}

void HangJudge::forget_silence(double now) {
  for (Rank& rank : ranks_) rank.heard = rank.changed = now;
}

// A rank that hears of the first one only, and of that no more. Later than ranks 0 and 1, which know better.
HangJudge::Verdict HangJudge::judge_alone(double now) const {
  const Rank& own = ranks_[rank_];
  const double news = hears_ ? std::max(own.changed, ranks_[0].heard) : own.changed;
  const double idle = now - news, limit = 1.25 * limits_.end;
  if (limits_.end <= 0 || idle < limit || own.last.collective[0] == 0) return {};
  return {fmt::format("rank {} (host {}) has waited in {} ({}) and heard of no other rank for {:.0f} s: ends "
                      "with exit code 5 (--hang-limit {:g})",
                      rank_, own.last.host.data(), own.last.collective.data(), place_of(own.last), idle,
                      limits_.end),
          true};
}

HangJudge::Verdict HangJudge::judge(double now) {
  if (rank_ > 1 || !hears_) return judge_alone(now);
  double last_change = 0;
  bool all_start = true;
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    last_change = std::max(last_change, ranks_[i].changed);
    const bool computes = ranks_[i].last.collective[0] == 0 && !is_silent(i, now);
    all_start = all_start && computes && ranks_[i].last.phase[0] == 0;
  }
  const double idle = now - last_change;
  if (idle < limits_.warning) {
    const bool warned = std::exchange(next_warning_, limits_.warning) > limits_.warning;
    return {warned ? "the ranks go on again" : "", false};
  }
  // Nobody waits while each reads the base.
  if (all_start || (rank_ == 1 && !is_silent(0, now))) return {};
  const bool ends = limits_.end > 0 && idle >= limits_.end;
  if (!ends && idle < next_warning_) return {};
  next_warning_ *= 2;
  const std::string rest =
      ends              ? fmt::format("ends with exit code 5 (--hang-limit {:g})", limits_.end)
      : limits_.end > 0 ? fmt::format("ends in {:.0f} s (--hang-limit {:g})", limits_.end - idle, limits_.end)
                        : "waits on (--hang-limit 0)";
  return {fmt::format("no rank has gone on for {:.0f} s: {}; {}", idle, describe(now), rest), ends};
}

// Who is missing first, then where the others are.
std::string HangJudge::describe(double now) const {
  std::vector<std::string> parts;
  std::map<std::string, std::vector<std::string>> waiting, computing;
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    const Heartbeat& last = ranks_[i].last;
    const std::string name = fmt::format("{} (host {})", i, last.host.data());
    if (last.host[0] == 0) {
      parts.push_back(fmt::format("rank {} has not been heard of yet", i));
    } else if (is_silent(i, now)) {
      parts.push_back(fmt::format("rank {} has not answered for {:.0f} s, last seen {}", name,
                                  now - ranks_[i].heard, place_of(last)));
    } else if (last.collective[0] != 0) {
      waiting[fmt::format("{} ({})", last.collective.data(), place_of(last))].push_back(name);
    } else {
      computing[place_of(last)].push_back(name);
    }
  }
  for (const auto& [place, names] : computing)
    parts.push_back(fmt::format("{} {} in no collective ({})", names_of(names),
                                names.size() > 1 ? "answer, but are" : "answers, but is", place));
  for (const auto& [place, names] : waiting)
    parts.push_back(fmt::format("{} {} in {}", names_of(names), names.size() > 1 ? "wait" : "waits", place));
  if (parts.size() > 2 * most_named) {
    parts.resize(2 * most_named);
    parts.emplace_back("…");
  }
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : "; ") + part;
  return text;
}

}  // namespace chorus
