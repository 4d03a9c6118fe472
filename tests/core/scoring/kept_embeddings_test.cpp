#include "core/scoring/kept_embeddings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/formats/safetensors.h"
#include "ops/base/error.h"
#include "tests/support/message_of.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Texts = std::vector<std::string>;

TEST(KeptEmbeddings, AreThereTheNextTime) {
  const test::ScratchFolder folder;
  const std::map<std::string, std::string> maker{{"base", "a"}};
  KeptEmbeddings first(folder / "kept", maker);
  EXPECT_THAT(first.missing(Texts{"yes", ""}), ElementsAre("yes", ""));
  first.add(Texts{"yes", ""}, std::vector<float>{1, 2, 3, 4});
  first.add(Texts{"a\nline"}, std::vector<float>{5, 6});

  const KeptEmbeddings again(folder / "kept", maker);
  EXPECT_EQ(again.path(), first.path());
  EXPECT_THAT(again.missing(Texts{"", "no", "yes"}), ElementsAre("no"));
  EXPECT_THAT(again.of(Texts{"a\nline", "yes", ""}), ElementsAre(5, 6, 1, 2, 3, 4));
}

TEST(KeptEmbeddings, OfAnotherMakerAreOthers) {
  const test::ScratchFolder folder;
  KeptEmbeddings first(folder / "kept", {{"base", "a"}, {"precision", "f32"}});
  first.add(Texts{"yes"}, std::vector<float>{1, 2});
  const KeptEmbeddings other(folder / "kept", {{"base", "a"}, {"precision", "bf16"}});
  EXPECT_NE(other.path(), first.path());
  EXPECT_THAT(other.missing(Texts{"yes"}), ElementsAre("yes"));
}

TEST(KeptEmbeddings, RefusesAFileThatIsNotItsOwn) {
  const test::ScratchFolder folder;
  const std::map<std::string, std::string> maker{{"base", "a"}};
  KeptEmbeddings kept(folder / "kept", maker);
  kept.add(Texts{"yes"}, std::vector<float>{1, 2});
  const std::string whole = test::read_bytes(kept.path());
  const auto refusal = [&](const std::string& bytes) {
    test::write_bytes(kept.path(), bytes);
    return test::message_of<DataError>([&] { KeptEmbeddings(folder / "kept", maker); });
  };
  std::string flipped = whole;
  flipped.back() ^= 1;
  EXPECT_THAT(refusal(flipped), HasSubstr(kept.path().string()));
  EXPECT_THAT(refusal(whole.substr(0, whole.size() - 1)), HasSubstr("truncated or damaged"));

  KeptEmbeddings other(folder / "kept", {{"base", "b"}});
  other.add(Texts{"yes"}, std::vector<float>{1, 2});
  EXPECT_THAT(refusal(test::read_bytes(other.path())),
              HasSubstr("is no file of vectors that Chorus wrote under this name"));

  const std::int64_t end = 4;
  const float vector[] = {1, 2};
  write_safetensors(kept.path(),
                    {{{"vectors", FileDType::f32, {1, 2}}, vector},
                     {{"text_ends", FileDType::i64, {1}}, &end},
                     {{"texts", FileDType::u8, {3}}, "yes"}},
                    maker);
  EXPECT_THAT(test::message_of<DataError>([&] { KeptEmbeddings(folder / "kept", maker); }),
              HasSubstr("text 0 ends at byte 4 of 3"));
}

}  // namespace
}  // namespace chorus
