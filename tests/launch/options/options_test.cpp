#include "launch/options/options.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/options/nearest_name.h"

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

enum class Precision { f32, bf16 };

// One field of every type that a table can bind.
struct Configuration {
  std::string base = "model";
  std::vector<std::string> targets{"q", "v"};
  std::vector<std::string> inputs;
  std::int64_t rank = 8;
  int threads = 2;
  std::uint64_t seed = 42;
  double rate = 1e-4;
  double dropout = 0;
  bool shuffle = true;
  bool resume = false;
  Precision precision = Precision::f32;
  std::string schedule = "cosine", keep = "all";
  std::optional<std::int64_t> history;
  std::optional<std::string> adapter;
  bool operator==(const Configuration&) const = default;
};

void bind(OptionTable& table, Configuration& c) {
  table.positional("input", c.inputs, "what to read").shown_as("FILE");
  table.group("Model").add("base", c.base, "folder of the base").shown_as("DIR");
  table.choice("precision", c.precision, {{"f32", Precision::f32}, {"bf16", Precision::bf16}},
               "of the weights");
  table.group("LoRA").add("lora-rank", c.rank, "rank of the adapters").at_least(1);
  table.add("lora-targets", c.targets, "projections with an adapter");
  table.add("lora-dropout", c.dropout, "on the input").at_least(0).less_than(1);
  table.add("adapter", c.adapter, "to start from").shown_as("DIR");
  table.group("Training").add("learning-rate", c.rate, "peak").more_than(0);
  table.choice("schedule", c.schedule, {"constant", "linear", "cosine"}, "of the learning rate");
  table.choice("keep", c.keep, {"all", "some", "none"}, "of the checkpoints").as_switch("some", "none");
  table.add("shuffle", c.shuffle, "order of the samples");
  table.add("resume", c.resume, "go on");
  table.add("seed", c.seed, "of all random numbers");
  table.add("threads", c.threads, "per rank").between(1, 64);
  table.add("history", c.history, "previous utterances").at_least(0);
}

Configuration parsed(const Arguments& arguments) {
  Configuration configuration;
  OptionTable table("test", "is a command");
  bind(table, configuration);
  EXPECT_TRUE(table.parse(arguments));
  return configuration;
}

std::string refusal(const Arguments& arguments) {
  Configuration configuration;
  OptionTable table("test", "is a command");
  bind(table, configuration);
  try {
    if (table.parse(arguments)) return "accepted";
  } catch (const ConfigurationError& error) {
    return error.what();
  }
  return "help";
}

class OptionFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              fmt::format("chorus_options_{}", testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& text, const std::string& name = "config.ini") const {
    const std::string path = folder_ / name;
    std::ofstream(path) << text;
    return path;
  }
  std::filesystem::path folder_;
};

TEST(Options, DefaultsAreTheFieldsValues) { EXPECT_EQ(parsed({}), Configuration()); }

TEST(Options, EveryTypeIsRead) {
  const Configuration c = parsed({"--base",
                                  "a b",
                                  "--lora-targets",
                                  "k,o",
                                  "--lora-rank=16",
                                  "--threads",
                                  "4",
                                  "--seed",
                                  "18446744073709551615",
                                  "--learning-rate",
                                  "2.5e-05",
                                  "--shuffle",
                                  "off",
                                  "--resume",
                                  "--precision",
                                  "bf16",
                                  "--schedule",
                                  "linear",
                                  "--history",
                                  "12",
                                  "--adapter",
                                  "x"});
  EXPECT_EQ(c.base, "a b");
  EXPECT_THAT(c.targets, ElementsAre("k", "o"));
  EXPECT_EQ(c.rank, 16);
  EXPECT_EQ(c.threads, 4);
  EXPECT_EQ(c.seed, 18446744073709551615ULL);
  EXPECT_EQ(c.rate, 2.5e-5);
  EXPECT_FALSE(c.shuffle);
  EXPECT_TRUE(c.resume);
  EXPECT_EQ(c.precision, Precision::bf16);
  EXPECT_EQ(c.schedule, "linear");
  EXPECT_EQ(c.history, 12);
  EXPECT_EQ(c.adapter, "x");
}

TEST(Options, SwitchesStandAloneOrWithAValue) {
  EXPECT_TRUE(parsed({"--resume"}).resume);
  EXPECT_TRUE(parsed({"--resume", "--shuffle", "false"}).resume);
  EXPECT_FALSE(parsed({"--resume", "--shuffle", "false"}).shuffle);
  EXPECT_FALSE(parsed({"--shuffle=off"}).shuffle);
  EXPECT_TRUE(parsed({"--shuffle=true"}).shuffle);
  const Configuration c = parsed({"--resume", "on.txt"});
  EXPECT_TRUE(c.resume);
  EXPECT_THAT(c.inputs, ElementsAre("on.txt"));
}

TEST(Options, AChoiceMayBeASwitchToo) {
  EXPECT_EQ(parsed({"--keep"}).keep, "some");
  EXPECT_EQ(parsed({"--keep", "--resume"}).keep, "some");
  EXPECT_EQ(parsed({"--keep", "none"}).keep, "none");
  EXPECT_EQ(parsed({"--keep=all"}).keep, "all");
  EXPECT_EQ(parsed({"--keep", "on"}).keep, "some");
  EXPECT_EQ(parsed({"--keep=true"}).keep, "some");
  EXPECT_EQ(parsed({"--keep", "false"}).keep, "none");
  const Configuration c = parsed({"--keep", "text"});
  EXPECT_EQ(c.keep, "some");
  EXPECT_THAT(c.inputs, ElementsAre("text"));
  EXPECT_EQ(refusal({"--keep=few"}), "option --keep: expected one of all, some, none, got 'few'");
}

TEST(Options, ListsGrowByRepetitionAndReplaceTheDefault) {
  EXPECT_THAT(parsed({"--lora-targets", "k", "--lora-targets", "o,up"}).targets, ElementsAre("k", "o", "up"));
  EXPECT_THAT(parsed({"--lora-targets", R"(a\,b,c\\d)"}).targets, ElementsAre("a,b", R"(c\d)"));
}

TEST(Options, ArgumentsWithoutNameAreTakenAsTheyAre) {
  EXPECT_THAT(parsed({"a,b", "--lora-rank", "2", "c\\d"}).inputs, ElementsAre("a,b", "c\\d"));
}

TEST(Options, OfSeveralValuesTheLastOneCounts) {
  EXPECT_EQ(parsed({"--lora-rank", "2", "--lora-rank", "3"}).rank, 3);
}

TEST(Options, NegativeNumbersAreValues) {
  EXPECT_EQ(refusal({"--lora-rank", "-3"}), "option --lora-rank: expected an integer, at least 1, got '-3'");
}

TEST(Options, OptionalCanBeTakenBack) {
  EXPECT_EQ(parsed({"--history", "3", "--history", "none"}).history, std::nullopt);
  EXPECT_THAT(refusal({"--history", "-1"}), HasSubstr("expected an integer or none, at least 0, got '-1'"));
}

TEST(Options, UnknownNamesNameTheNearest) {
  EXPECT_EQ(refusal({"--lora-rnak", "8"}),
            "unknown option --lora-rnak; did you mean --lora-rank? (chorus test --help lists all)");
  EXPECT_THAT(refusal({"--learning_rate", "1"}), HasSubstr("did you mean --learning-rate?"));
  EXPECT_THAT(refusal({"--seed", "1", "--shufle"}), HasSubstr("did you mean --shuffle?"));
  EXPECT_THAT(refusal({"--sched=linear"}), HasSubstr("unknown option --sched;"));
  EXPECT_THAT(refusal({"-seed"}), HasSubstr("unknown option -seed; did you mean --seed?"));
}

TEST(Options, BadValuesSayWhatIsExpected) {
  EXPECT_EQ(refusal({"--lora-rank", "eight"}),
            "option --lora-rank: expected an integer, at least 1, got 'eight'");
  EXPECT_EQ(refusal({"--lora-rank", "8.5"}),
            "option --lora-rank: expected an integer, at least 1, got '8.5'");
  EXPECT_EQ(refusal({"--lora-rank", "0"}), "option --lora-rank: expected an integer, at least 1, got '0'");
  EXPECT_EQ(refusal({"--lora-rank", "2147483648"}),
            "option --lora-rank: expected an integer, at least 1, got '2147483648', which is too large");
  EXPECT_EQ(refusal({"--threads", "65"}),
            "option --threads: expected an integer, at least 1 and at most 64, got '65'");
  EXPECT_EQ(refusal({"--lora-dropout", "1"}),
            "option --lora-dropout: expected a number, at least 0 and less than 1, got '1'");
  EXPECT_EQ(refusal({"--learning-rate", "0"}),
            "option --learning-rate: expected a number, more than 0, got '0'");
  EXPECT_EQ(refusal({"--learning-rate", "nan"}),
            "option --learning-rate: expected a number, more than 0, got 'nan'");
  EXPECT_EQ(refusal({"--seed", "-1"}), "option --seed: expected an integer that is not negative, got '-1'");
  EXPECT_EQ(refusal({"--shuffle=maybe"}), "option --shuffle: expected on or off, got 'maybe'");
  EXPECT_EQ(refusal({"--schedule", "Cosine"}),
            "option --schedule: expected one of constant, linear, cosine, got 'Cosine'");
  EXPECT_EQ(refusal({"--lora-targets", "q\\"}),
            "option --lora-targets: expected a list separated by commas, got 'q\\'");
}

TEST(Options, NumbersOutsideTheTypeAreRefused) {
  EXPECT_THAT(refusal({"--threads", "99999999999"}), HasSubstr("got '99999999999'"));
  EXPECT_THAT(refusal({"--seed", "18446744073709551616"}), HasSubstr("got '18446744073709551616'"));
}

TEST(Options, ValueIsMissing) {
  EXPECT_EQ(refusal({"--lora-rank"}),
            "option --lora-rank: expected an integer, at least 1 behind it, got nothing");
  EXPECT_EQ(refusal({"--base", "--lora-rank", "3"}),
            "option --base: expected text behind it, got --lora-rank");
  EXPECT_THAT(refusal({"--base="}), HasSubstr("--base"));
}

TEST(Options, UnexpectedArgument) {
  std::string folder;
  OptionTable table("test", "is a command");
  table.positional("folder", folder, "what to read");
  EXPECT_TRUE(table.parse({"one"}));
  EXPECT_EQ(folder, "one");
  try {
    EXPECT_TRUE(table.parse({"one", "two"}));
    FAIL();
  } catch (const ConfigurationError& error) {
    EXPECT_THAT(error.what(), HasSubstr("unexpected argument 'two'"));
  }
}

TEST(Options, RequiredOnesAreNamedTogether) {
  std::string base, output, input;
  OptionTable table("test", "is a command");
  table.add("base", base, "folder of the base").shown_as("DIR");
  table.add("output", output, "where to write").shown_as("DIR").required();
  table.positional("input", input, "what to read").shown_as("FILE").required();
  table.required("base");
  try {
    EXPECT_TRUE(table.parse({"--output", "x"}));
    FAIL();
  } catch (const ConfigurationError& error) {
    EXPECT_STREQ(error.what(),
                 "missing: option --base DIR (folder of the base), argument FILE (what to read)");
  }
  EXPECT_TRUE(table.parse({"--output", "x", "--base", "", "y"}));
  EXPECT_TRUE(table.given("base"));
}

TEST(Options, GivenTellsDefaultsFromValues) {
  Configuration configuration;
  OptionTable table("test", "is a command");
  bind(table, configuration);
  EXPECT_TRUE(table.parse({"--lora-rank", "8"}));
  EXPECT_TRUE(table.given("lora-rank"));
  EXPECT_FALSE(table.given("seed"));
  EXPECT_FALSE(table.changed("lora-rank"));
  EXPECT_TRUE(table.parse({"--lora-rank", "9"}));
  EXPECT_TRUE(table.changed("lora-rank"));
  EXPECT_FALSE(table.changed("seed"));
  EXPECT_THROW((void)table.given("sed"), Error);
  EXPECT_THROW((void)table.changed("sed"), Error);
}

TEST(Options, NamesAreBoundOnce) {
  int value = 0;
  OptionTable table("test", "is a command");
  table.add("value", value, "");
  EXPECT_THROW(table.add("value", value, ""), Error);
  EXPECT_THROW(table.add("config", value, ""), Error);
  std::string word = "c";
  EXPECT_THROW(table.choice("word", word, {"a", "b"}, ""), Error);
}

TEST(Options, HelpShowsGroupsDefaultsAndStaysInItsColumns) {
  Configuration configuration;
  OptionTable table("test", "is a command");
  bind(table, configuration);
  table.add("long", configuration.base,
            std::string(30, 'x') + " " + std::string(30, 'y') + " " + std::string(30, 'z'));
  const std::string help = table.help();
  EXPECT_THAT(help, HasSubstr("usage: chorus test [CONFIG.ini] [--OPTION VALUE]... FILE...\n"));
  EXPECT_THAT(help, HasSubstr("\nLoRA\n  --lora-rank N               rank of the adapters [8]\n"));
  EXPECT_THAT(help, HasSubstr("--precision f32|bf16        of the weights [f32]\n"));
  EXPECT_THAT(help, HasSubstr("--shuffle on|off            order of the samples [on]\n"));
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
}

TEST(Options, HelpEndsTheCommand) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(refusal({"--lora-rank", "eight", "--help"}), "help");
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("usage: chorus test"));
  testing::internal::CaptureStdout();
  EXPECT_EQ(refusal({"-h"}), "help");
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("--lora-rank"));
}

TEST_F(OptionFile, IsReadBeforeTheCommandLine) {
  const std::string path = write(
      "; a comment\n# another\n[LoRA]\n lora-rank = 4 \nlora-targets=q\nlora-targets=k,v\r\n\nseed = 7\nbase "
      "= a # b\n"
      "adapter =\n");
  const Configuration c = parsed({"--lora-rank", "5", path});
  EXPECT_EQ(c.rank, 5);
  EXPECT_EQ(c.seed, 7U);
  EXPECT_EQ(c.base, "a # b");
  EXPECT_EQ(c.adapter, "");
  EXPECT_THAT(c.targets, ElementsAre("q", "k", "v"));
  EXPECT_THAT(parsed({"--config", path, "--lora-targets", "o"}).targets, ElementsAre("o"));
}

TEST_F(OptionFile, MayBeginWithAByteOrderMark) {
  EXPECT_EQ(parsed({write("\xEF\xBB\xBFlora-rank = 5\r\n")}).rank, 5);
  EXPECT_THAT(refusal({write(std::string("\xFF\xFEl\0", 4))}), HasSubstr("is in UTF-16, not UTF-8"));
}

TEST_F(OptionFile, OfSeveralTheLastOneCounts) {
  const std::string first = write("lora-rank = 1\nseed = 1\n", "first.ini");
  const std::string second = write("seed = 2\n", "second.conf");
  const Configuration c = parsed({first, "--config", second});
  EXPECT_EQ(c.rank, 1);
  EXPECT_EQ(c.seed, 2U);
}

TEST_F(OptionFile, ErrorsNameFileAndLine) {
  const auto refused = [&](const std::string& text) {
    const std::string message = refusal({write(text)});
    const std::string folder = folder_.string() + "/";
    return message.starts_with(folder) ? message.substr(folder.size()) : message;
  };
  EXPECT_EQ(refused("seed = 1\n\nlora-rnak = 3\n"),
            "config.ini:3: unknown option lora-rnak; did you mean lora-rank? (chorus test --help lists all)");
  EXPECT_EQ(refused("lora-rank = x\n"), "config.ini:1: lora-rank: expected an integer, at least 1, got 'x'");
  EXPECT_EQ(refused("seed = 1\nshuffle\n"), "config.ini:2: expected 'name = value', got 'shuffle'");
  EXPECT_EQ(refused("seed = 1\nseed = 2\n"),
            "config.ini:2: seed stands in this file a second time; keep one of the lines");
  EXPECT_THAT(refused("base = \"a\n"), HasSubstr("config.ini:1: base: the value begins with a double quote"));
  EXPECT_THAT(
      refusal({(folder_ / "none.ini").string()}),
      HasSubstr("the config file cannot be read: " + (folder_ / "none.ini").string() + ": no such file"));
  EXPECT_THAT(refusal({"--config", folder_.string()}), HasSubstr("cannot be read"));
}

TEST_F(OptionFile, EffectiveConfigurationGivesTheSameValues) {
  Configuration original;
  OptionTable table("test", "is a command");
  bind(table, original);
  ASSERT_TRUE(table.parse({"in,put", "back\\slash", "--base", " spaces \"quoted\" \\ # hash\nsecond line\t",
                           "--learning-rate", "0.1", "--lora-dropout", "0.30000000000000004", "--shuffle",
                           "off", "--precision", "bf16", "--seed", "18446744073709551615", "--adapter", ""}));
  const std::string text = table.print_effective();
  EXPECT_THAT(text, HasSubstr("\n# LoRA\nlora-rank = 8\n"));
  EXPECT_THAT(text, HasSubstr("\nhistory = none\n"));
  EXPECT_EQ(parsed({write(text)}), original);

  Configuration defaults;
  OptionTable other("test", "is a command");
  bind(other, defaults);
  EXPECT_EQ(parsed({write(other.print_effective())}), defaults);
}

TEST_F(OptionFile, ChangedOnesAreToldInShortLines) {
  Configuration configuration;
  OptionTable table("test", "is a command");
  bind(table, configuration);
  EXPECT_EQ(table.print_changed(), "");
  const std::string long_name(80, 'x');
  ASSERT_TRUE(table.parse({"in", "out", "--base", long_name, "--learning-rate", "0.1", "--shuffle", "off"}));
  const std::string text = table.print_changed();
  EXPECT_THAT(text, HasSubstr("base = " + long_name + "\n")) << "else the line would be too long";
  EXPECT_THAT(text, HasSubstr("learning-rate = 0.1 | shuffle = off"));
  EXPECT_THAT(text, testing::Not(HasSubstr("seed")));
}

TEST(OptionValue, QuotesSurviveEveryCharacter) {
  for (const std::string& value :
       {std::string(), std::string("a"), std::string("\""), std::string(" "), std::string("\"a\" b"),
        std::string("a\\n\n\r\tb "), std::string("a=b;#c")}) {
    std::string back = "unchanged";
    ASSERT_TRUE(option_value::unquote(option_value::quote(value), back)) << option_value::quote(value);
    EXPECT_EQ(back, value);
  }
  std::string back = "unchanged";
  for (const char* broken : {"\"", "\"a", "\"a\" b", "\"a\\", "\"\\x\""}) {
    EXPECT_FALSE(option_value::unquote(broken, back)) << broken;
  }
  EXPECT_EQ(back, "unchanged");
}

TEST(Options, ATextMayBeginWithADash) {
  const auto text_of = [](const Arguments& arguments) {
    std::string text, base;
    OptionTable table("test", "is a command");
    table.positional("text", text, "what to read");
    table.add("base", base, "folder of the base");
    EXPECT_TRUE(table.parse(arguments));
    return text + "|" + base;
  };
  EXPECT_EQ(text_of({"--base", "b", "- Hello"}), "- Hello|b");
  EXPECT_EQ(text_of({"- Hello=you", "--base", "b"}), "- Hello=you|b");
  EXPECT_EQ(text_of({"-- Hello", "--base", "b"}), "-- Hello|b");
  EXPECT_EQ(text_of({"-- Hello=you", "--base=b"}), "-- Hello=you|b");
  EXPECT_EQ(text_of({"-5 degrees"}), "-5 degrees|");
  EXPECT_EQ(text_of({"-"}), "-|");
  EXPECT_EQ(text_of({"--base", "- b", "x"}), "x|- b");
  // Behind -- everything is.
  EXPECT_EQ(text_of({"--base", "b", "--", "--base"}), "--base|b");
  EXPECT_EQ(text_of({"--", "-h"}), "-h|");
  EXPECT_EQ(text_of({"--", "a.ini"}), "a.ini|");
  EXPECT_EQ(refusal({"-welcome"}), "unknown option -welcome (chorus test --help lists all)");
}

TEST(Options, NamesOfOtherTrainersAreKnown) {
  const auto suggested = [](const std::string& name, const std::vector<std::string>& known) {
    return name_elsewhere(name, known);
  };
  const std::vector<std::string> train{"base",       "output", "learning-rate",
                                       "batch-size", "epochs", "lora-rank"};
  EXPECT_EQ(suggested("lr", train), "learning-rate");
  EXPECT_EQ(suggested("per_device_train_batch_size", train), "batch-size");
  EXPECT_EQ(suggested("num_train_epochs", train), "epochs");
  EXPECT_EQ(suggested("lora_r", train), "lora-rank");
  EXPECT_EQ(suggested("model_name_or_path", train), "base");
  EXPECT_EQ(suggested("output_dir", train), "output");
  EXPECT_EQ(suggested("max_length", {"max-new-tokens"}), "max-new-tokens");
  EXPECT_EQ(suggested("lr", {"base"}), "") << "only what there is";
  EXPECT_EQ(suggested("learning-rate", train), "");
  EXPECT_THAT(refusal({"--lr", "1"}), HasSubstr("unknown option --lr; did you mean --learning-rate?"));
}

TEST(NearestName, CountsEdits) {
  EXPECT_EQ(nearest_name("trian", {"train", "evaluate", "init"}), "train");
  EXPECT_EQ(nearest_name("eval", {"train", "init", "evaluate"}), "evaluate");
  EXPECT_EQ(nearest_name("rank", {"rate", "lora-rank"}), "lora-rank");
  EXPECT_EQ(nearest_name("EVALUAT", {"train", "evaluate"}), "evaluate");
  EXPECT_EQ(nearest_name("--trian", {"train", "test"}), "train");
}

TEST(NearestName, IsNoneWhereNothingIsNear) {
  EXPECT_EQ(nearest_name("x", {}), "");
  EXPECT_EQ(nearest_name("lr", {"help", "base"}), "");
  EXPECT_EQ(nearest_name("temp", {"help", "base"}), "");
  EXPECT_EQ(nearest_name("no-such-option", {"help", "lora-dropout", "compare-base"}), "");
  EXPECT_EQ(suggestion("--", "", ""), "");
  EXPECT_EQ(suggestion("'", "train", "'"), "; did you mean 'train'?");
}

}  // namespace
}  // namespace chorus
