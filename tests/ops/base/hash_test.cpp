#include "ops/base/hash.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace chorus {
namespace {

// The published values.
TEST(Hash, IsFnv1a) {
  const auto hash = [](std::string_view text) { return Fnv1a().add(text).value(); };
  EXPECT_EQ(hash(""), 0xCBF29CE484222325U);
  EXPECT_EQ(hash("a"), 0xAF63DC4C8601EC8CU);
  EXPECT_EQ(hash("foobar"), 0x85944171F73967E8U);
  EXPECT_EQ(Fnv1a().add("foo").add("bar").value(), hash("foobar"));
}

TEST(Hash, ArraysEndWhereTheyEnd) {
  using Array = std::vector<int>;
  const auto hash = [](const Array& a, const Array& b) { return Fnv1a().add_array(a).add_array(b).value(); };
  EXPECT_EQ(hash({1, 2}, {3}), hash({1, 2}, {3}));
  EXPECT_NE(hash({1, 2}, {3}), hash({1}, {2, 3}));
  EXPECT_NE(hash({}, {1}), hash({1}, {}));
}

}  // namespace
}  // namespace chorus
