#include "data/corpora/label_weights.h"

#include <gmock/gmock.h>

#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Labels = std::vector<std::string>;

const Labels labels{"joy", "anger", "a=b"};

TEST(LabelWeights, AreOneWhereNothingIsSaid) {
  EXPECT_THAT(label_weights({}, labels, {5, 1, 0}), ElementsAre(1, 1, 1));
  EXPECT_THAT(label_weights({"anger=2.5", "a=b=0.5"}, labels, {5, 1, 0}), ElementsAre(1, 2.5, 0.5));
}

// compute_class_weight("balanced") of scikit-learn over the labels that occur.
TEST(LabelWeights, BalanceTheLabelsThatOccur) {
  EXPECT_THAT(label_weights({"balanced"}, labels, {6, 2, 0}), ElementsAre(8. / 12, 8. / 4, 1));
}

TEST(LabelWeights, RefuseWhatIsNone) {
  const auto refusal = [](const Labels& given) {
    return test::message_of<ConfigurationError>([&] { label_weights(given, labels, {1, 1, 1}); });
  };
  for (const char* none : {"joy", "joy=", "joy=0", "joy=-1", "joy=nan", "joy=inf", "joy=2x", "balanced"})
    EXPECT_THAT(refusal({"anger=2", none}), HasSubstr("must be LABEL=NUMBER")) << none;
  EXPECT_THAT(refusal({"Joy=2"}), HasSubstr("there is no label 'Joy'; there are joy, anger, a=b"));
  EXPECT_THAT(refusal({"joy=2", "joy=3"}), HasSubstr("gives joy twice"));
}

}  // namespace
}  // namespace chorus
