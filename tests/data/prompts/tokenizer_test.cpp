#include "data/prompts/tokenizer.h"

#include <nlohmann/json.hpp>

#include "ops/base/hash.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

// Texts, ids and decoded texts as another binding of the library gave them.
class TokenizerVectors : public testing::TestWithParam<std::string> {};

TEST_P(TokenizerVectors, EncodeAndDecodeAgree) {
  const std::string name = "models/" + GetParam();
  const std::string model = real_file(name + ".model"), vectors = real_file(name + ".encode_vectors.json");
  if (model.empty() || vectors.empty()) GTEST_SKIP() << not_there(name);
  const Tokenizer tokenizer = Tokenizer::load(model);
  const auto expected = nlohmann::json::parse(bytes_of(vectors));
  EXPECT_EQ(tokenizer.size(), expected["vocab_size"]);
  EXPECT_EQ(tokenizer.unk().value(), expected["unk"]);
  EXPECT_EQ(tokenizer.bos().value(), expected["bos"]);
  EXPECT_EQ(tokenizer.eos(), expected["eos"]);
  EXPECT_GT(expected["vectors"].size(), 50U);
  for (const auto& vector : expected["vectors"]) {
    const auto text = vector["text"].get<std::string>();
    const auto ids = vector["ids"].get<std::vector<std::int32_t>>();
    EXPECT_EQ(tokenizer.encode(text), ids) << text;
    EXPECT_EQ(tokenizer.decode(ids), vector["decoded"].get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TokenizerVectors,
                         testing::Values("stories260K/tokenizer", "stories3M/tokenizer",
                                         "babyllama-tok105/tokenizer", "llama2-tokenizer/tokenizer",
                                         "sp-tokenizers/tok2048", "sp-tokenizers/unigram2000"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

// A text with enough variety for a small vocabulary.
std::string some_text() {
  std::string text;
  for (int i = 0; i < 300; ++i) {
    text += "The number " + std::to_string(i * 7919 % 1000) + " comes before the word that line " +
            std::to_string(i) + " is waiting for, caf\xC3\xA9 or tea?\n";
  }
  return text;
}

TEST(Tokenizer, TrainedOneIsOfLlamasKind) {
  const TemporaryFolder folder;
  train_tokenizer({{folder.write("text.txt", some_text())}, 380, folder / "a.model"});
  const Tokenizer tokenizer = Tokenizer::load(folder / "a.model");
  EXPECT_EQ(tokenizer.size(), 380);
  EXPECT_EQ(tokenizer.unk(), 0);
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.eos(), 2);
  for (const std::string text : {"The word is waiting", "two  spaces", "a\nb", "\xF0\x9F\x98\x80 never seen",
                                 "tea ", "\xEF\xAC\x81 stays a ligature"}) {
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
  EXPECT_EQ(tokenizer.encode("\n").back(), 3 + '\n') << "bytes follow the three special tokens";
  // Digits stand apart: each of these is the word mark or a single digit.
  EXPECT_GE(tokenizer.encode("919").size(), 3U);
  EXPECT_EQ(tokenizer.hash(), Fnv1a().add(bytes_of(folder / "a.model")).value());
}

TEST(Tokenizer, TrainingIsDeterministicSilentAndNeverOverwrites) {
  const TemporaryFolder folder;
  const std::string text = folder.write("text.txt", some_text());
  testing::internal::CaptureStderr();
  train_tokenizer({{text}, 350, folder / "a.model"});
  train_tokenizer({{text}, 350, folder / "b.model"});
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(bytes_of(folder / "a.model"), bytes_of(folder / "b.model"));
  expect_contains(message_of<ConfigurationError>([&] {
                    train_tokenizer({{text}, 350, folder / "a.model"});
                  }),
                  "exists already");
}

TEST(Tokenizer, TrainingRefusesWhatCannotWork) {
  const TemporaryFolder folder;
  const std::string text = folder.write("text.txt", "one two three\n");
  expect_contains(message_of<ConfigurationError>([&] {
                    train_tokenizer({{text}, 5000, folder / "a.model"});
                  }),
                  "no tokenizer of 5000 tokens can be learned from this text");
  expect_contains(message_of<ConfigurationError>([&] {
                    train_tokenizer({{text}, 10, folder / "a.model"});
                  }),
                  "no tokenizer of 10 tokens");
  expect_contains(message_of<ConfigurationError>([&] {
                    train_tokenizer({{}, 400, folder / "a.model"});
                  }),
                  "no text");
  EXPECT_FALSE(std::filesystem::exists(folder / "a.model"));
}

TEST(Tokenizer, RefusesBrokenFiles) {
  const TemporaryFolder folder;
  train_tokenizer({{folder.write("text.txt", some_text())}, 350, folder / "a.model"});
  const std::string good = bytes_of(folder / "a.model");
  expect_contains(message_of<DataError>([&] { Tokenizer::load(folder / "none"); }), "no such file");
  expect_contains(message_of<DataError>([&] { Tokenizer::load(folder.write("e", "")); }),
                  "is not a SentencePiece");
  expect_contains(message_of<DataError>([&] { Tokenizer::load(folder.write("t", "Some text.\n")); }),
                  "is not a SentencePiece model, or truncated (11 bytes)");
  for (std::size_t length = 1; length + 1 < good.size(); length += 97) {
    const std::string path = folder.write("cut", good.substr(0, length));
    expect_contains(message_of<DataError>([&] { Tokenizer::load(path); }), "or truncated");
  }
}

TEST(Tokenizer, DecodeRefusesIdsOutsideTheVocabulary) {
  const TemporaryFolder folder;
  train_tokenizer({{folder.write("text.txt", some_text())}, 350, folder / "a.model"});
  const Tokenizer tokenizer = Tokenizer::load(folder / "a.model");
  const std::vector<std::int32_t> ids{350};
  expect_contains(message_of<DataError>([&] { tokenizer.decode(ids); }),
                  "token 350 is outside the vocabulary of 350");
}

TEST(Tokenizer, SaysThatAFileIsAGitLfsPointer) {
  const TemporaryFolder folder;
  const std::string path =
      folder.write("tokenizer.model", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n");
  expect_contains(message_of<DataError>([&] { Tokenizer::load(path); }),
                  "tokenizer.model: is a Git LFS pointer");
}

}  // namespace
}  // namespace chorus
