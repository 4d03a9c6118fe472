#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace chorus {

// Insertions, deletions and substitutions of bytes that turn `a` into `b` (Levenshtein 1966).
std::int64_t edit_distance(std::string_view a, std::string_view b);

// The element of `known` with the smallest edit distance to `word`, the first of several; "" if there is
// none.
std::string nearest(std::string_view word, std::span<const std::string> known);

// The words with `separator` between them.
std::string joined(std::span<const std::string> words, std::string_view separator);

// `text` with each {name} replaced by its value; {{ and }} stand for braces. Throws DataError for other
// braces or names, beginning with `origin`.
std::string fill_in(const std::string& text, const std::map<std::string, std::string>& values,
                    const std::string& origin);

}  // namespace chorus
