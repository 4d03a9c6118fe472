#include "core/training/run_identity.h"

#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace chorus {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

TEST(RunIdentity, EveryDifferenceIsNamed) {
  const json then{
      {"version of this list", 1}, {"seed", 1}, {"lora-rank", 8}, {"features of the data", {3, 4}}};
  const ordered_json now{{"version of this list", 1}, {"seed", 2}, {"lora-rank", 8}, {"precision", "f32"}};
  EXPECT_EQ(differences(then, now),
            (std::vector<std::string>{"seed was 1 and is now 2", "precision was null and is now \"f32\"",
                                      "features of the data was [3,4] and is now null"}));
  EXPECT_EQ(remark_on_identity(then, "checkpoint-1"), "");
}

// A checkpoint that was written before there was a version knows some of it.
TEST(RunIdentity, OldOnesAreComparedByWhatTheyKept) {
  const json then{{"seed", 1}, {"lora-targets", "v_proj,q"}};
  ordered_json now{{"version of this list", 1}, {"seed", 1}, {"lora-targets", "q,v"}, {"precision", "f32"}};
  EXPECT_EQ(differences(then, now), std::vector<std::string>{});
  EXPECT_NE(remark_on_identity(then, "checkpoint-1").find("checkpoint-1 is of an older version"),
            std::string::npos);
  now["seed"] = 2;
  EXPECT_EQ(differences(then, now), std::vector<std::string>{"seed was 1 and is now 2"});
}

// Other content with the same counts.
TEST(RunIdentity, HashesSeeWhatATrainingComputesWith) {
  const Dataset dataset = test::random_dataset(4, 37, 1, 3);
  const std::uint64_t hash = dataset.content_hash();
  EXPECT_EQ(test::random_dataset(4, 37, 1, 3).content_hash(), hash) << "made twice";
  const auto changed = [&](const std::function<void(Dataset&)>& change) {
    Dataset other = dataset;
    change(other);
    return other.content_hash() != hash;
  };
  EXPECT_TRUE(changed([](Dataset& d) { d.tokens.back() ^= 1; }));
  EXPECT_TRUE(changed([](Dataset& d) { d.targets.front().token ^= 1; }));
  EXPECT_TRUE(changed([](Dataset& d) { d.samples.back().weight = 0.5F; }));
  EXPECT_TRUE(changed([](Dataset& d) { d.features.values.back() += 1; }));
  EXPECT_TRUE(changed([](Dataset& d) { std::swap(d.tokens[1], d.tokens[2]); }));
  EXPECT_FALSE(changed([](Dataset& d) { d.origin.corpora = {"another name"}; }));
}

TEST(RunIdentity, HashesOfTensorsSeeBytesTypesAndShapes) {
  std::vector<float> values(5000);
  const auto hash = [&](const std::string& name, FileDType dtype, std::vector<std::int64_t> shape) {
    TensorView view{name, dtype, std::move(shape)};
    view.data = reinterpret_cast<const std::byte*>(values.data());
    return content_hash({view});
  };
  const std::uint64_t first = hash("a", FileDType::f32, {50, 100});
  EXPECT_EQ(hash("a", FileDType::f32, {50, 100}), first);
  EXPECT_NE(hash("b", FileDType::f32, {50, 100}), first);
  EXPECT_NE(hash("a", FileDType::f32, {100, 50}), first);
  EXPECT_NE(hash("a", FileDType::bf16, {50, 100}), first);
  for (const std::size_t at : {std::size_t{0}, std::size_t{4999}}) {
    values[at] = 1;
    EXPECT_NE(hash("a", FileDType::f32, {50, 100}), first) << at;
    values[at] = 0;
  }
}

}  // namespace
}  // namespace chorus
