#include <algorithm>
#include <functional>
#include <utility>

#include "data/preparation.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

// What stands between blank lines, without the line break at its end.
void for_each_paragraph(MappedText& file, const std::function<void(const std::string&)>& use) {
  std::string paragraph;
  const auto close = [&] {
    if (!paragraph.empty()) use(std::exchange(paragraph, {}));
  };
  LineScanner lines(file.text());
  while (const auto line = lines.next()) {
    file.read_up_to(line->text);
    if (line->text.find_first_not_of(" \t") == std::string_view::npos) {
      close();
    } else {
      if (!paragraph.empty()) paragraph += '\n';
      paragraph += line->text;
    }
  }
  close();
}

// Joins documents to sequences of at most `context` tokens, and hands each over. One that is longer is cut; each piece but the
// first repeats the token before it, unsupervised, so that every token is still predicted once.
class Packer {
 public:
  Packer(std::int64_t context, std::function<void(Sequence)> use)
      : context_(static_cast<std::size_t>(context)), use_(std::move(use)) {}

  void add(const std::vector<std::int32_t>& document) {
    if (open_.size() + document.size() > context_) close();
    std::size_t begin = 0;
    while (open_.empty() && document.size() - begin > context_) {
      open_.assign(document.begin() + static_cast<std::ptrdiff_t>(begin),
                   document.begin() + static_cast<std::ptrdiff_t>(begin + context_));
      close();
      begin += context_ - 1;
    }
    open_.insert(open_.end(), document.begin() + static_cast<std::ptrdiff_t>(begin), document.end());
  }

  void close() {
    if (open_.size() > 1) {
      Sequence sequence{open_, open_};
      sequence.labels[0] = unsupervised;
      use_(std::move(sequence));
    }
    open_.clear();
  }

 private:
  std::size_t context_;
  std::function<void(Sequence)> use_;
  std::vector<std::int32_t> open_;
};

}  // namespace

void prepare_text(Preparation& preparation) {
  require<ConfigurationError>(preparation.options.context >= 2, "--context is ", preparation.options.context,
                              ", it must be at least 2");
  for (const Source& source : parse_sources(preparation.options.inputs, "train", "split")) {
    SplitLedger& ledger = preparation.ledger.splits.emplace_back();
    ledger.split = source.name;
    MappedText file(source.path);
    file.require_utf8();
    std::int64_t paragraphs = 0;
    for_each_paragraph(file, [&](const std::string&) { ++paragraphs; });
    SplitWriter split = preparation.writer(preparation.origin(source.name));
    Packer packer(preparation.options.context, [&](Sequence sequence) {
      ledger.longest_sample = std::max(ledger.longest_sample, std::int64_t{std::ssize(sequence.tokens)});
      split.add_group(std::vector<GroupSample>{{std::move(sequence)}}, source.path);
    });
    for_each_paragraph(file, [&](const std::string& paragraph) {
      std::vector<std::int32_t> document = preparation.tokenizer().beginning();
      const std::vector<std::int32_t> words = preparation.tokenizer().encode(paragraph);
      document.insert(document.end(), words.begin(), words.end());
      document.push_back(preparation.tokenizer().eos());
      packer.add(document);
      preparation.report(source.name, ++ledger.rows_read, paragraphs);
    });
    packer.close();
    Preparation::finish(split, ledger);
  }
}

}  // namespace chorus
