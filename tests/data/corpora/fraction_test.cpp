#include "data/corpora/fraction.h"

#include <set>

#include "tests/data/scratch.h"

namespace chorus {
namespace {

using Lines = std::vector<const Utterance*>;

class FractionTest : public testing::Test {
 protected:
  std::vector<std::vector<const Utterance*>> corpora() const { return {lines(small_), lines(large_)}; }
  static std::set<const Utterance*> set_of(const Lines& lines) { return {lines.begin(), lines.end()}; }
  std::ptrdiff_t from_small(const Lines& chosen) const {
    return std::count_if(chosen.begin(), chosen.end(), [&](const Utterance* line) {
      return line >= small_.data() && line < small_.data() + small_.size();
    });
  }

  std::vector<Utterance> small_ = std::vector<Utterance>(100), large_ = std::vector<Utterance>(1000);

 private:
  static Lines lines(const std::vector<Utterance>& utterances) {
    Lines lines;
    for (const Utterance& utterance : utterances) lines.push_back(&utterance);
    return lines;
  }
};

TEST_F(FractionTest, RatioTakesTheShareOfEachCorpus) {
  const Lines chosen = fraction_of(corpora(), 0.25, Mix::ratio, 7);
  EXPECT_EQ(chosen.size(), 275U);
  EXPECT_EQ(set_of(chosen).size(), 275U) << "nothing twice";
  EXPECT_EQ(from_small(chosen), 25);
}

TEST_F(FractionTest, TotalTakesItOfAllTogether) {
  const Lines chosen = fraction_of(corpora(), 0.25, Mix::total, 7);
  EXPECT_EQ(set_of(chosen).size(), 275U);
  // Hypergeometric: mean 25, standard deviation 4.1.
  EXPECT_NEAR(static_cast<double>(from_small(chosen)), 25, 5 * 4.1);
  EXPECT_NE(from_small(chosen), 25) << "this seed does not happen to hit the mean";
}

TEST_F(FractionTest, EqualTakesAsManyOfEachAsFarAsTheyGo) {
  const Lines chosen = fraction_of(corpora(), 0.1, Mix::equal, 7);
  EXPECT_EQ(set_of(chosen).size(), 110U);
  EXPECT_EQ(from_small(chosen), 55) << "a tenth of 550, the mean of 100 and 1000";
  const Lines most = fraction_of(corpora(), 0.5, Mix::equal, 7);
  EXPECT_EQ(from_small(most), 100);
  EXPECT_EQ(most.size(), 375U);
  const auto larger = set_of(most), smaller = set_of(chosen);
  EXPECT_TRUE(std::includes(larger.begin(), larger.end(), smaller.begin(), smaller.end()));
}

TEST_F(FractionTest, OfOneCorpusAllAreTheSame) {
  const auto all = corpora();
  for (const Mix mix : {Mix::total, Mix::equal})
    EXPECT_EQ(fraction_of({all[1]}, 0.1, Mix::ratio, 3), fraction_of({all[1]}, 0.1, mix, 3));
}

TEST_F(FractionTest, IsAFunctionOfTheSeedAndNested) {
  for (const Mix mix : {Mix::ratio, Mix::total}) {
    const Lines half = fraction_of(corpora(), 0.5, mix, 7);
    EXPECT_EQ(half, fraction_of(corpora(), 0.5, mix, 7));
    EXPECT_NE(set_of(half), set_of(fraction_of(corpora(), 0.5, mix, 8)));
    const auto larger = set_of(half), smaller = set_of(fraction_of(corpora(), 1.0 / 64, mix, 7));
    EXPECT_EQ(smaller.size(), mix == Mix::ratio ? 18U : 17U) << "2 + 16, and 1100 / 64";
    EXPECT_TRUE(std::includes(larger.begin(), larger.end(), smaller.begin(), smaller.end()));
    EXPECT_EQ(fraction_of(corpora(), 1, mix, 7).size(), 1100U);
  }
}

TEST_F(FractionTest, IsReadAsQuotientOrNumber) {
  EXPECT_EQ(parse_fraction("1"), 1);
  EXPECT_EQ(parse_fraction("1/64"), 1.0 / 64);
  EXPECT_EQ(parse_fraction("0.25"), 0.25);
  for (const char* wrong : {"", "0", "2", "5/4", "1/0", "1/", "/2", "a", "-1/4", "1/4x", "nan"}) {
    expect_contains(message_of<ConfigurationError>([&] { parse_fraction(wrong); }),
                    std::string("--fraction is '") + wrong + "'");
  }
}

}  // namespace
}  // namespace chorus
