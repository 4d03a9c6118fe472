// The shell blocks of README and docs, as they are printed, in a folder that holds small ones of what they name.

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/sets/hdf5_file.h"
#include "data/text/csv.h"
#include "tests/data/prompts/chat_tokenizer.h"
#include "tests/launch/program.h"
#include "tests/support/source_folder.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;

struct Block {
  int line = 0;  // of the document, where it begins
  std::string text;
};

std::vector<Block> shell_blocks(const std::string& document) {
  std::vector<Block> blocks;
  std::istringstream lines(read_text(source_folder() / document));
  std::string line;
  bool inside = false;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.starts_with("```")) {
      inside = line == "```sh";
      if (inside) blocks.push_back({number + 1, ""});
    } else if (inside) {
      blocks.back().text += line + "\n";
    }
  }
  return blocks;
}

struct Document {
  std::string path;
  std::string before;  // what the reader did before the first block
  std::map<std::string, std::string>
      not_here;  // blocks, by what they hold, and what this machine lacks for them
};

void PrintTo(const Document& document, std::ostream* out) { *out << document.path; }

const std::string prepared =
    "chorus prepare --corpus meld MELD/data/MELD --base Llama-2-7b-hf --output meld\n";
const std::string trained =
    prepared + "chorus train --base Llama-2-7b-hf --data meld --max-steps 2 --output meld-r16\n";

const std::vector<Document>& documents() {
  static const std::vector<Document> all{
      {"README.md",
       "",
       {{"launch/test.sh", "the tests cannot run themselves; tests/fresh_machine.sh runs it"}}},
      {"docs/cluster.md", prepared, {{"--hosts hosts", "two machines"}}},
      {"docs/experiments.md",
       trained + "chorus evaluate --base Llama-2-7b-hf --adapter meld-r16 --data meld --output scores\n"
                 "for file in a-seed-1 a-seed-2 a-seed-3 b-seed-1 b-seed-2 b-seed-3 llama-predictions "
                 "qwen-predictions; do cp "
                 "scores/predictions.jsonl "
                 "$file.jsonl; done\n",
       {}},
      {"docs/gpu.md", "", {{"-L gpu", "a GPU"}}},
      {"docs/scaling.md",
       prepared + "printf 'base = Llama-2-7b-hf\\ndata = meld\\noutput = meld-r16\\n' >run.ini; mv meld "
                  "meld-before\n"
                  "ln -s meld-before meld\n",
       {}},
      {"docs/trackers.md", "", {{"mlflow", "MLflow and Weights & Biases"}}},
      {"experiments/meld-smollm2/README.md", "", {}},
      {"experiments/meld-stories3m/README.md", "", {}},
      {"experiments/rank-and-rate/README.md", "", {}},
      {"experiments/text-only/README.md", "", {}},
  };
  return all;
}

// Everything that the documents take as given, tiny. Programs that are not there, or would build this again, are
// stood in for by a script that says so.
class World {
 public:
  World() {
    for (const char* name : {"launch", "experiments", "docs"})
      fs::create_directory_symlink(source_folder() / name, at(name));
    fs::create_directories(at("build/release/launch"));
    fs::create_symlink(CHORUS_PROGRAM, at("build/release/launch/chorus"));
    write_programs();
    write_corpora();
    write_bases();
    write_conversations();
  }

  std::string at(const std::string& name) const { return folder_ / name; }

 private:
  void write_programs() const {
    fs::create_directories(at("bin"));
    fs::create_symlink(CHORUS_PROGRAM, at("bin/chorus"));
    for (const char* name : {"cmake", "cpack", "sbatch"})
      stand_in(name, "echo STOOD IN FOR: " + std::string(name));
    stand_in("python3", "echo STOOD IN FOR: python3");
  }
  void stand_in(const std::string& name, const std::string& action) const {
    write_text(at("bin/" + name), "#!/bin/sh\n" + action + "\n");
    fs::permissions(at("bin/" + name), fs::perms::owner_all);
  }

  void write_corpora() const {
    run_successfully({"sample", "--train-dialogues", "6", "--dev-dialogues", "2", "--test-dialogues", "3",
                      "--paragraphs", "150", "--output", at("MELD/data/MELD")});
    fs::create_directories(at("MELD/data/emorynlp"));
    std::string captions, traits;
    Hdf5Writer features(at("faces.h5"));
    for (const std::string split : {"train", "dev", "test"}) {
      CsvReader meld(at("MELD/data/MELD/" + split + "_sent_emo.csv"));
      std::string emory;
      append_csv_row(emory,
                     std::vector<std::string>{"Utterance", "Speaker", "Emotion", "Scene_ID", "Utterance_ID",
                                              "Season", "Episode", "Start_Time", "End_Time"});
      const auto field = [&](const CsvRow& row, const char* name) { return row.fields[meld.column(name)]; };
      float value = 0;
      for (CsvRow row; meld.next(row);) {
        const std::string dialogue = field(row, "Dialogue_ID"), utterance = field(row, "Utterance_ID");
        append_csv_row(emory, std::vector<std::string>{
                                  field(row, "Utterance"), "['" + field(row, "Speaker") + "']",
                                  emory_label(field(row, "Emotion")), std::to_string(std::stoi(dialogue) + 1),
                                  std::to_string(std::stoi(utterance) + 1), "1", "1", "", ""});
        captions += R"({"split": ")" + split + R"(", "dialogue": ")" + dialogue + R"(", "utterance": ")" +
                    utterance + R"(", "text": "they stand at a window"})" + "\n";
        if (utterance == "0")
          traits += R"({"split": ")" + split + R"(", "dialogue": ")" + dialogue + R"(", "speaker": ")" +
                    field(row, "Speaker") + R"(", "text": "likes to talk"})" + "\n";
        features.write<float>(split + "/" + dialogue + "/" + utterance,
                              std::vector<float>{value, 1 - value, 0.5F});
        value += 0.125F;
      }
      write_text(at("MELD/data/emorynlp/emorynlp_" + split + "_final.csv"), emory);
    }
    features.commit();
    write_text(at("captions.jsonl"), captions);
    write_text(at("traits.jsonl"), traits);
    write_text(at("dialogues.txt"), "Ann: Are you coming?\nBen: No!\n\nAnn: Oh.\n");
  }
  static std::string emory_label(const std::string& emotion) {
    static const std::map<std::string, std::string> names{
        {"neutral", "Neutral"}, {"joy", "Joyful"},       {"sadness", "Sad"},      {"anger", "Mad"},
        {"fear", "Scared"},     {"disgust", "Powerful"}, {"surprise", "Peaceful"}};
    return names.at(emotion);
  }

  void write_bases() const {
    run_successfully({"tokenizer", "--vocabulary-size", "420", "--output", at("a.model"),
                      at("MELD/data/MELD/pretraining.txt")});
    write_base("Llama-2-7b-hf", at("a.model"));
    for (const auto& [base, begin, end] :
         {std::array{"Llama-3.2-1B-Instruct", "<|start_header_id|>", "<|eot_id|>"},
          std::array{"SmolLM2-135M-Instruct", "<|im_start|>", "<|im_end|>"}}) {
      std::vector<std::string> tokens{begin, end};
      if (begin == std::string("<|start_header_id|>")) tokens.push_back("<|end_header_id|>");
      write_text(at("tokenizer.json"),
                 chat_tokenizer_json("<|begin_of_text|>", "<|end_of_text|>", tokens).dump());
      write_base(base, at("tokenizer.json"));
    }
  }
  void write_base(const std::string& name, const std::string& tokenizer) const {
    run_successfully({"init", "--tokenizer", tokenizer, "--hidden-size", "32", "--layers", "1",
                      "--query-heads", "4", "--key-value-heads", "4", "--head-width", "8", "--max-positions",
                      "4096", "--output", at(name)});
  }

  void write_conversations() const {
    const std::string line =
        R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes!"}]})"
        "\n";
    write_text(at("mine.jsonl"), line + line);
    write_text(at("held-out.jsonl"), line);
  }

  TemporaryFolder folder_;
};

class Documents : public testing::TestWithParam<Document> {};

TEST_P(Documents, BlocksRunAsPrinted) {
  if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed: NO BLOCK WAS RUN";
  const Document& document = GetParam();
  const World world;
  std::string script = "set -euo pipefail\ncd " + world.at("") + "\nexport PATH=" + world.at("bin") +
                       ":$PATH MELD=MELD/data/MELD EMORYNLP=MELD/data/emorynlp SMOLLM2=SmolLM2-135M-Instruct "
                       "STORIES3M=Llama-2-7b-hf\nunset OMPI_ALLOW_RUN_AS_ROOT\n" +
                       document.before;
  std::set<std::string> left_out;
  for (const Block& block : shell_blocks(document.path)) {
    const auto reason = std::ranges::find_if(document.not_here, [&](const auto& entry) {
      return block.text.find(entry.first) != std::string::npos;
    });
    if (reason != document.not_here.end()) {
      left_out.insert(reason->first);
      std::printf("NOT RUN: %s:%d: %s\n", document.path.c_str(), block.line, reason->second.c_str());
    } else {
      script += "echo '=== " + document.path + ":" + std::to_string(block.line) + "'\n" + block.text;
    }
  }
  EXPECT_EQ(left_out.size(), document.not_here.size()) << "a block that is left out is no longer there";
  write_text(world.at("script"), script);
  const int status =
      std::system(("bash -x " + world.at("script") + " </dev/null >" + world.at("said") + " 2>&1").c_str());
  std::string said = read_text(world.at("said"));
  constexpr std::size_t most = 6000;
  if (said.size() > most) said = "…" + said.substr(said.size() - most);
  EXPECT_EQ(status, 0) << said;
}

INSTANTIATE_TEST_SUITE_P(, Documents, testing::ValuesIn(documents()), [](const auto& document) {
  std::string name = document.param.path;
  std::erase_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
  return name;
});

TEST(DocumentsTest, EveryOneWithBlocksIsThere) {
  std::set<std::string> with_blocks, known;
  for (auto entry = fs::recursive_directory_iterator(source_folder()); entry != fs::end(entry); ++entry) {
    const std::string path = fs::relative(entry->path(), source_folder()).string();
    if (path.starts_with("build") || path.starts_with(".")) entry.disable_recursion_pending();
    if (path.ends_with(".md") && !shell_blocks(path).empty()) with_blocks.insert(path);
  }
  for (const Document& document : documents()) known.insert(document.path);
  EXPECT_EQ(with_blocks, known);
}

}  // namespace
}  // namespace chorus
