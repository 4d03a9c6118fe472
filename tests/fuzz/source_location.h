// clang before 16 does not let libstdc++ define std::source_location; the preset fuzz includes this before everything else.
#pragma once
#include <cstdint>
#include <source_location>

namespace std {
struct source_location {
  constexpr source_location() noexcept = default;
  static constexpr source_location current(const char* file = __builtin_FILE(),
                                           const char* function = __builtin_FUNCTION(),
                                           uint_least32_t line = __builtin_LINE()) noexcept {
    return source_location(file, function, line);
  }
  constexpr const char* file_name() const noexcept { return file_; }
  constexpr const char* function_name() const noexcept { return function_; }
  constexpr uint_least32_t line() const noexcept { return line_; }
  constexpr uint_least32_t column() const noexcept { return 0; }

 private:
  constexpr source_location(const char* file, const char* function, uint_least32_t line) noexcept
      : file_(file), function_(function), line_(line) {}
  const char *file_ = "", *function_ = "";
  uint_least32_t line_ = 0;
};
}  // namespace std
