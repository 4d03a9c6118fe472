#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chorus::fuzz {

// A reader of what comes from outside, or of what an older or damaged Chorus wrote.
struct Target {
  std::string name;
  // Inputs to begin with, at least one of which is read to its end.
  std::function<std::vector<std::string>()> seeds;
  // Throws ConfigurationError or DataError for what it refuses; whatever else it throws is a defect.
  std::function<void(const std::string& input)> read;
};

const std::vector<Target>& all_targets();
std::vector<Target> text_targets(), corpus_targets(), tokenizer_targets(), set_targets(), model_targets(),
    experiment_targets(), launch_targets();

// Reads an input and returns whether it was refused as it should be where it was.
bool is_accepted(const Target& target, const std::string& input);

// A file of this process, in a folder that is removed at its end; `name` may begin with folders.
std::filesystem::path file(std::string_view name, std::string_view bytes);
std::filesystem::path folder(std::string_view name);

// The parts of an input that stands for two files: those before and behind the first zero byte.
std::pair<std::string, std::string> halves(const std::string& input);

// Passes over what `read` refuses, so that the input is used for more.
void unless_refused(const std::function<void()>& read);

}  // namespace chorus::fuzz
