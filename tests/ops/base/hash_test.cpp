#include "ops/base/hash.h"

#include <map>
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

// As the library computes it; whatever pieces the bytes come in.
TEST(Hash, IsXxh64) {
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes += static_cast<char>(i);
  const std::map<std::size_t, std::uint64_t> expected{{0, 0xEF46DB3751D8E999U},
                                                      {31, 0xC346D2B59B4D8EE1U},
                                                      {32, 0xCBF59C5116FF32B4U},
                                                      {100, 0x6AC1E58032166597U}};
  for (const auto& [length, value] : expected) {
    const std::string_view text = std::string_view(bytes).substr(0, length);
    EXPECT_EQ(XxHash64().add(text).value(), value) << length;
    for (const std::size_t piece : {1U, 7U, 33U, 64U}) {
      XxHash64 hash;
      for (std::size_t i = 0; i < length; i += piece) hash.add(text.substr(i, piece));
      EXPECT_EQ(hash.value(), value) << length << " in pieces of " << piece;
    }
  }
  EXPECT_EQ(print_hash(XxHash64().add("foobar")), "xxh64 a2aa05ed9085aaf9");
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
