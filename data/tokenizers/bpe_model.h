#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/text/json.h"
#include "data/tokenizers/regular_expression.h"

namespace chorus {

// Hashes texts so that a table of strings can be asked for a view.
struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

// Byte pair encoding by a list of merges (Sennrich, Haddow and Birch 2016): the "model" of a tokenizer.json.
class BpeModel {
 public:
  // Throws DataError for a model of another type, one that draws merges by chance (dropout), and merges of what is not in
  // the vocabulary.
  BpeModel(const nlohmann::json& json, const std::string& where);

  // Appends the tokens of the words, which lie in `text` and are not empty. May be called by several threads. Throws
  // DataError for a character that is not in the vocabulary where "unk_token" is not either.
  void encode(std::string_view text, std::span<const Range> words, std::vector<std::int32_t>& ids) const;

  std::optional<std::int32_t> id(std::string_view token) const;
  const std::unordered_map<std::string, std::int32_t, TextHash, std::equal_to<>>& vocabulary() const {
    return ids_;
  }
  std::optional<std::int32_t> unk() const { return unk_; }

 private:
  struct Merge {
    std::int32_t rank = 0, id = 0;
  };
  // Of the two ids; whose bits are few and alike, so that they are mixed (Steele, Lea and Flood 2014).
  struct PairHash {
    std::size_t operator()(std::uint64_t pair) const {
      pair = (pair ^ pair >> 30) * 0xBF58476D1CE4E5B9U;
      pair = (pair ^ pair >> 27) * 0x94D049BB133111EBU;
      return pair ^ pair >> 31;
    }
  };
  // What words became, which come again and again: a run in one array.
  struct Memory {
    struct Run {
      std::size_t begin = 0, length = 0;
    };
    std::unordered_map<std::string, Run, TextHash, std::equal_to<>> runs;
    std::vector<std::int32_t> ids;
  };

  void read_vocabulary(const nlohmann::json& json, const std::string& where);
  void read_merges(const nlohmann::json& json, const std::string& where);
  void add_merge(std::string_view left, std::string_view right, std::size_t rank, const std::string& where);
  const Merge* merge_of(std::int32_t left, std::int32_t right) const;
  std::optional<std::vector<std::int32_t>> bytes_of(std::string_view character) const;
  std::vector<std::int32_t> characters_of(std::string_view word) const;
  void merge(std::vector<std::int32_t>& ids) const;

  std::unordered_map<std::string, std::int32_t, TextHash, std::equal_to<>> ids_;
  std::unordered_map<std::uint64_t, Merge, PairHash> merges_;
  std::string where_, unk_token_;
  std::optional<std::int32_t> unk_;
  bool fuse_unk_ = false, byte_fallback_ = false, ignore_merges_ = false;
  mutable std::mutex using_memory_;
  mutable Memory memory_;
};

}  // namespace chorus
