#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace chorus {

// The words of the sample corpus. In a phrase, {who} stands for a person or thing spoken of, {event} for what
// it did or what happened to it, {when} for a time, {name} for a speaker, {feels} and {noun} for words for a
// feeling.

enum class Feeling : std::int32_t { neutral, surprise, fear, sadness, joy, disgust, anger };
inline constexpr std::size_t feelings = 7;

struct FeelingWords {
  std::string_view label, sentiment;             // as MELD writes them
  std::span<const std::string_view> events;      // news that makes people feel so
  std::span<const std::string_view> statements;  // sentences that say it
  std::span<const std::string_view> adjectives;  // how stories say it
};

std::span<const FeelingWords, feelings> feeling_words();  // indexed by Feeling

struct CommonWords {
  std::span<const std::string_view> names, subjects, times;
  std::span<const std::string_view> news;       // how an event is told
  std::span<const std::string_view> reactions;  // what they mean depends on the news before
  std::span<const std::string_view> openings;   // of a reaction
  std::span<const std::string_view> echoes;     // mean the feeling before
  std::span<const std::string_view> questions, small_talk;
  std::span<const std::string_view> story_openings, story_feelings, story_closings;
};

const CommonWords& common_words();

}  // namespace chorus
