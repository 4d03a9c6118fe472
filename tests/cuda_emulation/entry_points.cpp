#include "tests/cuda_emulation/entry_points.h"

#include <cstdlib>
#include <vector>

#include "tests/cuda_emulation/report.h"

namespace chorus::cuda_emulation {
namespace {

struct Failure {
  std::string name;
  unsigned calls_left;
  int code;
};

// CUDA_EMULATION_FAIL=name:nth:code, several of them separated by commas
std::vector<Failure> failures_of_environment() {
  std::vector<Failure> result;
  const char* variable = std::getenv("CUDA_EMULATION_FAIL");
  const std::string text = variable == nullptr ? "" : variable;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    const std::size_t first = item.find(':'), second = item.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) {
      report(Location::current(), "CUDA_EMULATION_FAIL={}: want name:nth:code", text);
    }
    result.push_back({item.substr(0, first), static_cast<unsigned>(std::atoi(item.c_str() + first + 1)),
                      std::atoi(item.c_str() + second + 1)});
    begin = end + 1;
  }
  return result;
}

std::vector<Failure>& failures() {
  static std::vector<Failure> result = failures_of_environment();
  return result;
}

std::map<std::string, unsigned, std::less<>>& counters() {
  static std::map<std::string, unsigned, std::less<>> result;
  return result;
}

}  // namespace

int enter(const char* name) {
  if (current != nullptr) report(Location::current(), "{} called inside a kernel", name);
  auto& counts = counters();
  auto count = counts.find(std::string_view(name));
  if (count == counts.end()) count = counts.emplace(name, 0).first;
  ++count->second;
  auto& planned = failures();
  for (auto failure = planned.begin(); failure != planned.end(); ++failure) {
    if (failure->name != name || --failure->calls_left != 0) continue;
    const int code = failure->code;
    planned.erase(failure);
    return code;
  }
  return 0;
}

void fail_next(std::string_view name, unsigned nth, int code) {
  failures().push_back({std::string(name), nth, code});
}
void fail_no_more() { failures().clear(); }

unsigned calls(std::string_view name) {
  const auto count = counters().find(name);
  return count == counters().end() ? 0 : count->second;
}
const std::map<std::string, unsigned, std::less<>>& calls() { return counters(); }
void forget_calls() { counters().clear(); }

LiveObjects& live() {
  static LiveObjects objects;
  return objects;
}
const LiveObjects& live_objects() { return live(); }

std::string describe(const LiveObjects& objects) {
  return fmt::format(
      "{} allocations, {} pinned, {} streams, {} events, {} cuBLASLt handles, {} descriptors, {} "
      "communicators",
      objects.allocations, objects.pinned, objects.streams, objects.events, objects.cublas_handles,
      objects.descriptors, objects.communicators);
}

BankConflicts& bank_conflicts() {
  static BankConflicts counts;
  return counts;
}

}  // namespace chorus::cuda_emulation
