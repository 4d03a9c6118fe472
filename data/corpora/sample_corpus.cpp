#include "data/corpora/sample_corpus.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <span>
#include <utility>

#include "data/corpora/sample_grammar.h"
#include "data/text/csv.h"
#include "data/text/files.h"
#include "data/text/text.h"
#include "ops/base/error.h"
#include "ops/base/random.h"

namespace chorus {

namespace {

// What a line is to the line after it.
enum class LineKind { news, statement, other };

struct Line {
  std::string speaker, text;
  Feeling label = Feeling::neutral;
  LineKind kind = LineKind::other;
  Feeling about = Feeling::neutral;  // what the news or statement makes people feel
};

// Draws from the one stream of random words that belongs to a file.
class Dice {
 public:
  Dice(std::uint64_t seed, std::uint32_t stream) : seed_(seed), stream_(stream) {}

  // 0 <= result < count
  std::size_t below(std::size_t count) {
    return static_cast<std::size_t>((std::uint64_t{word()} * count) >> 32);
  }
  bool chance(double probability) { return uniform(word()) < probability; }
  std::string pick(std::span<const std::string_view> phrases) {
    return std::string(phrases[below(phrases.size())]);
  }
  // An index with probability in proportion to its weight.
  template <std::size_t count>
  std::size_t weighted(const std::array<double, count>& weights) {
    double rest = uniform(word());
    std::size_t index = 0;
    while (index + 1 < count && rest >= weights[index]) rest -= weights[index++];
    return index;
  }

 private:
  std::uint32_t word() { return random_word(seed_, RandomUse::sample_corpus, stream_, next_++); }

  std::uint64_t seed_;
  std::uint32_t stream_;
  std::uint64_t next_ = 0;
};

//                                         neutral surprise fear sadness joy  disgust anger
constexpr std::array<double, feelings> news_weights{.07, .19, .12, .17, .21, .10, .14};
constexpr std::array<double, feelings> statement_weights{.04, .18, .12, .17, .24, .09, .16};

std::string capitalised(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

const FeelingWords& words(Feeling feeling) { return feeling_words()[static_cast<std::size_t>(feeling)]; }

class Storyteller {
 public:
  Storyteller(std::uint64_t seed, std::uint32_t stream) : dice_(seed, stream) {}

  std::vector<Line> dialogue() {
    const std::vector<std::string> speakers = cast();
    const std::size_t turns = 4 + dice_.below(9);
    std::vector<Line> lines;
    while (lines.size() < turns) {
      const std::string last = lines.empty() ? "" : lines.back().speaker;
      Line line = next_line(lines.empty() ? Line{} : lines.back());
      do {
        line.speaker = speakers[dice_.below(speakers.size())];
      } while (line.speaker == last);
      const std::string listener = !last.empty() ? last : speakers[speakers[0] == line.speaker ? 1 : 0];
      line.text = tell(line.text, line.about, listener);
      lines.push_back(std::move(line));
    }
    return lines;
  }

  // A conversation followed by what its people felt, or a story.
  std::string paragraph() { return dice_.chance(0.5) ? narrated_dialogue() : story(); }

 private:
  // Two to four of the names.
  std::vector<std::string> cast() {
    std::vector<std::string> all(common_words().names.begin(), common_words().names.end());
    const std::size_t size = 2 + dice_.below(3);
    for (std::size_t i = 0; i < size; ++i) std::swap(all[i], all[i + dice_.below(all.size() - i)]);
    all.resize(size);
    return all;
  }

  // Kind, label and sentence pattern of the line that follows `before`.
  Line next_line(const Line& before) {
    const CommonWords& common = common_words();
    if (before.kind == LineKind::news && dice_.chance(0.95)) {
      return {"", capitalised_reaction(), before.about, LineKind::other, before.about};
    }
    if (before.kind == LineKind::statement && dice_.chance(0.5)) {
      return {"", dice_.pick(common.echoes), before.about, LineKind::other, before.about};
    }
    switch (dice_.weighted(std::array{.66, .24, .05, .05})) {
      case 0: {
        const auto about = static_cast<Feeling>(dice_.weighted(news_weights));
        return {"", dice_.pick(common.news), Feeling::neutral, LineKind::news, about};
      }
      case 1: {
        const auto about = static_cast<Feeling>(dice_.weighted(statement_weights));
        return {"", dice_.pick(words(about).statements), about, LineKind::statement, about};
      }
      case 2:
        return {"", dice_.pick(common.questions)};
      default:
        return {"", dice_.pick(common.small_talk)};
    }
  }

  std::string capitalised_reaction() {
    const CommonWords& common = common_words();
    const std::string opening = dice_.pick(common.openings);  // drawn first, whatever the compiler
    return capitalised(opening + dice_.pick(common.reactions));
  }

  // Fills in a pattern: news and feelings are about something that happened.
  std::string tell(const std::string& pattern, Feeling about, const std::string& listener) {
    const std::string who = dice_.pick(common_words().subjects);
    const std::string when = dice_.pick(common_words().times);
    return fill_in(pattern,
                   {{"who", who},
                    {"Who", capitalised(who)},
                    {"when", when},
                    {"When", capitalised(when)},
                    {"name", listener},
                    {"Name", listener},
                    {"event", dice_.pick(words(about).events)}},
                   "sample grammar");
  }

  std::string narrated_dialogue() {
    std::vector<std::string> sentences;
    std::string text;
    for (const Line& line : dialogue()) {
      text += fmt::format("{}: {}\n", line.speaker, line.text);
      if (line.label == Feeling::neutral && dice_.chance(0.8)) continue;
      sentences.push_back(fmt::format("{} was {}.", line.speaker, dice_.pick(words(line.label).adjectives)));
    }
    return text + joined(sentences, " ");
  }

  std::string story() {
    const CommonWords& common = common_words();
    const std::vector<std::string> people = cast();
    std::vector<std::string> sentences{
        story_sentence(dice_.pick(common.story_openings), Feeling::neutral, people)};
    const std::size_t scenes = 1 + dice_.below(3);
    for (std::size_t i = 0; i < scenes; ++i) {
      const auto feeling = static_cast<Feeling>(dice_.weighted(news_weights));
      sentences.push_back(story_sentence(dice_.pick(common.story_feelings), feeling, people));
      if (!dice_.chance(0.4)) continue;
      sentences.push_back(story_sentence(dice_.pick(common.story_closings), feeling, people));
    }
    return joined(sentences, " ");
  }

  std::string story_sentence(const std::string& pattern, Feeling feeling,
                             const std::vector<std::string>& people) {
    const bool turned = dice_.chance(0.5);
    const std::string when = dice_.pick(common_words().times);
    return fill_in(pattern,
                   {{"name", people[turned ? 1 : 0]},
                    {"friend", people[turned ? 0 : 1]},
                    {"when", when},
                    {"When", capitalised(when)},
                    {"who", dice_.pick(common_words().subjects)},
                    {"event", dice_.pick(words(feeling).events)},
                    {"feels", dice_.pick(words(feeling).adjectives)},
                    {"noun", std::string(words(feeling).label)}},
                   "sample grammar");
  }

  Dice dice_;
};

std::string time_of_day(std::int64_t seconds) {
  return fmt::format("{:02}:{:02}:{:02},000", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

std::string split_table(std::uint64_t seed, std::uint32_t stream, std::int64_t dialogues) {
  std::string table;
  append_csv_row(
      table, std::vector<std::string>{"Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID",
                                      "Utterance_ID", "Season", "Episode", "StartTime", "EndTime"});
  Storyteller storyteller(seed, stream);
  std::int64_t number = 0;
  for (std::int64_t dialogue = 0; dialogue < dialogues; ++dialogue) {
    std::int64_t turn = 0;
    for (const Line& line : storyteller.dialogue()) {
      const FeelingWords& feeling = words(line.label);
      append_csv_row(
          table, std::vector<std::string>{
                     std::to_string(++number), line.text, line.speaker, std::string(feeling.label),
                     std::string(feeling.sentiment), std::to_string(dialogue), std::to_string(turn), "1",
                     std::to_string(dialogue / 20 + 1), time_of_day(4 * turn), time_of_day(4 * turn + 3)});
      ++turn;
    }
  }
  return table;
}

}  // namespace

void write_sample_corpus(const std::filesystem::path& folder, const SampleCorpusOptions& options) {
  require<ConfigurationError>(
      options.train_dialogues > 0 && options.dev_dialogues > 0 && options.test_dialogues > 0 &&
          options.paragraphs > 0,
      "a sample corpus needs at least one dialogue in each split and one paragraph, not ",
      options.train_dialogues, ", ", options.dev_dialogues, ", ", options.test_dialogues, " and ",
      options.paragraphs);
  std::string text;
  Storyteller storyteller(options.seed, 3);
  for (std::int64_t i = 0; i < options.paragraphs; ++i) text += storyteller.paragraph() + "\n\n";

  std::filesystem::create_directories(folder);
  write_new_file(folder / "train_sent_emo.csv", split_table(options.seed, 0, options.train_dialogues));
  write_new_file(folder / "dev_sent_emo.csv", split_table(options.seed, 1, options.dev_dialogues));
  write_new_file(folder / "test_sent_emo.csv", split_table(options.seed, 2, options.test_dialogues));
  write_new_file(folder / "pretraining.txt", text);
}

}  // namespace chorus
