#include "ops/base/hash.h"

#include <string_view>

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

}  // namespace
}  // namespace chorus
