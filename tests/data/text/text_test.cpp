#include "data/text/text.h"

#include <vector>

#include "tests/data/scratch.h"

namespace chorus {
namespace {

TEST(Words, EditDistanceCountsInsertionsDeletionsAndSubstitutions) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("flaw", "lawn"), 2);
}

TEST(Words, NearestTakesTheFirstOfEquals) {
  const std::vector<std::string> known{"joy", "toy", "anger"};
  EXPECT_EQ(nearest("boy", known), "joy");
  EXPECT_EQ(nearest("angry", known), "anger");
  EXPECT_EQ(nearest("x", {}), "");
}

TEST(Words, Joined) {
  EXPECT_EQ(joined(std::vector<std::string>{"a", "b", "c"}, ", "), "a, b, c");
  EXPECT_EQ(joined({}, ", "), "");
}

TEST(Words, FillIn) {
  const std::map<std::string, std::string> values{{"a", "{b}"}, {"b", "2"}};
  EXPECT_EQ(fill_in("{a} {{a}} {b}{b}", values, "f"), "{b} {a} 22")
      << "what is filled in is not looked at again";
  expect_contains(message_of<DataError>([&] { fill_in("x {c}", values, "f"); }),
                  "f: unknown placeholder {c}; here can stand {a} {b}");
  expect_contains(message_of<DataError>([&] { fill_in("{a", values, "f"); }), "f: a single '{' in the text");
}

}  // namespace
}  // namespace chorus
