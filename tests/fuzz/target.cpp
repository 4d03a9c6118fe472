#include "tests/fuzz/target.h"

#include <fstream>

#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus::fuzz {

const std::vector<Target>& all_targets() {
  static const std::vector<Target> targets = [] {
    std::vector<Target> all;
    for (const auto& some : {text_targets(), corpus_targets(), tokenizer_targets(), set_targets(),
                             model_targets(), experiment_targets(), launch_targets()})
      all.insert(all.end(), some.begin(), some.end());
    return all;
  }();
  return targets;
}

bool is_accepted(const Target& target, const std::string& input) {
  try {
    target.read(input);
    return true;
  } catch (const ConfigurationError&) {
    return false;
  } catch (const DataError&) {
    return false;
  }
}

std::filesystem::path folder(std::string_view name) {
  static const test::ScratchFolder scratch;
  const std::filesystem::path path = scratch / name;
  std::filesystem::create_directories(path);
  return path;
}

std::filesystem::path file(std::string_view name, std::string_view bytes) {
  const std::filesystem::path relative(name);
  const std::filesystem::path path = folder(relative.parent_path().string()) / relative.filename();
  test::write_bytes(path, bytes);
  return path;
}

std::pair<std::string, std::string> halves(const std::string& input) {
  const std::size_t zero = input.find('\0');
  if (zero == std::string::npos) return {input, ""};
  return {input.substr(0, zero), input.substr(zero + 1)};
}

void unless_refused(const std::function<void()>& read) {
  is_accepted({"", {}, [&](const std::string&) { read(); }}, "");
}

}  // namespace chorus::fuzz
