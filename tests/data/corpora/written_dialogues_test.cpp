#include "data/corpora/written_dialogues.h"

#include "data/corpora/side_texts.h"
#include "tests/data/scratch.h"

namespace chorus {
namespace {

TEST(WrittenDialogues, EmptyLinesPartDialogues) {
  const std::vector<Dialogue> dialogues =
      parse_written_dialogues("\n Ann : Hi: there!\r\nBob:  yes\n\n\nAnn: again\n", "typed");
  ASSERT_EQ(dialogues.size(), 2U);
  ASSERT_EQ(dialogues[0].utterances.size(), 2U);
  EXPECT_EQ(dialogues[0].utterances[0].speaker, "Ann");
  EXPECT_EQ(dialogues[0].utterances[0].text, "Hi: there!");
  EXPECT_EQ(dialogues[0].utterances[1].id, "1");
  EXPECT_EQ(dialogues[0].utterances[1].line, 3);
  EXPECT_EQ(dialogues[1].id, "1");
  EXPECT_EQ(dialogues[1].utterances[0].text, "again");
}

TEST(WrittenDialogues, BracesBeginJsonLines) {
  const std::vector<Dialogue> dialogues = parse_written_dialogues(
      "{\"id\": \"7\", \"utterances\": [{\"speaker\": \"Ann\", \"text\": \"Hi\\u00a0you\", \"label\": \"none "
      "of "
      "ours\", \"caption\": \"She waves.\", \"side\": {\"cue\": \"lo\\nud\"}}]}\n",
      "typed");
  ASSERT_EQ(dialogues.size(), 1U);
  EXPECT_EQ(dialogues[0].id, "7");
  EXPECT_EQ(dialogues[0].utterances[0].text, "Hi you");
  EXPECT_EQ(*side_text(dialogues[0].utterances[0], "caption"), "She waves.");
  EXPECT_EQ(*side_text(dialogues[0].utterances[0], "cue"), "lo ud");
}

TEST(WrittenDialogues, WhatIsNeitherIsRefused) {
  const auto message = [](const std::string& text) {
    return message_of<DataError>([&] { parse_written_dialogues(text, "typed"); });
  };
  EXPECT_EQ(message(" \n"), "typed: has no dialogues");
  EXPECT_EQ(message("Ann: Hi\nwords\n"), "typed:2: no speaker: a line must be SPEAKER: WORDS; it is 'words'");
  EXPECT_EQ(message(": Hi\n"), "typed:1: no speaker: a line must be SPEAKER: WORDS; it is ': Hi'");
  EXPECT_EQ(message("Ann:\n"), "typed:1: no words: a line must be SPEAKER: WORDS; it is 'Ann:'");
  EXPECT_TRUE(message("{\"id\": \"7\"}\n").starts_with("typed:1: no utterances"));
  EXPECT_TRUE(message("Ann: \xff\n").starts_with("typed:1: "));
}

}  // namespace
}  // namespace chorus
