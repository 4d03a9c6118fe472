#include <utility>

#include "data/preparation.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

// What stands between blank lines, without the line break at its end.
std::vector<std::string> split_paragraphs(const std::string& text) {
  std::vector<std::string> paragraphs;
  std::string paragraph;
  const auto close = [&] {
    if (!paragraph.empty()) paragraphs.push_back(std::exchange(paragraph, {}));
  };
  for (const std::string& line : split_lines(text)) {
    if (line.find_first_not_of(" \t") == std::string::npos) {
      close();
    } else {
      if (!paragraph.empty()) paragraph += '\n';
      paragraph += line;
    }
  }
  close();
  return paragraphs;
}

// Joins documents to sequences of at most `context` tokens. One that is longer is cut; each piece but the
// first repeats the token before it, unsupervised, so that every token is still predicted once.
class Packer {
 public:
  explicit Packer(std::int64_t context) : context_(static_cast<std::size_t>(context)) {}

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

  std::vector<Sequence> finish() {
    close();
    return std::move(sequences_);
  }

 private:
  void close() {
    if (open_.size() > 1) {
      Sequence sequence{open_, open_};
      sequence.labels[0] = unsupervised;
      sequences_.push_back(std::move(sequence));
    }
    open_.clear();
  }

  std::size_t context_;
  std::vector<std::int32_t> open_;
  std::vector<Sequence> sequences_;
};

}  // namespace

void prepare_text(Preparation& preparation) {
  require<ConfigurationError>(preparation.options.context >= 2, "--context is ", preparation.options.context,
                              ", it must be at least 2");
  for (const Source& source : parse_sources(preparation.options.inputs, "train", "split")) {
    SplitLedger& ledger = preparation.ledger.splits.emplace_back();
    ledger.split = source.name;
    const std::vector<std::string> paragraphs = split_paragraphs(read_text_file(source.path));
    Packer packer(preparation.options.context);
    for (const std::string& paragraph : paragraphs) {
      std::vector<std::int32_t> document = preparation.tokenizer().beginning();
      const std::vector<std::int32_t> words = preparation.tokenizer().encode(paragraph);
      document.insert(document.end(), words.begin(), words.end());
      document.push_back(preparation.tokenizer().eos());
      packer.add(document);
      preparation.report(source.name, ++ledger.rows_read, std::ssize(paragraphs));
    }
    DatasetBuilder builder(preparation.origin(source.name));
    for (Sequence& sequence : packer.finish()) {
      ledger.longest_sample = std::max(ledger.longest_sample, std::int64_t{std::ssize(sequence.tokens)});
      builder.add_group(std::vector<GroupSample>{{std::move(sequence)}}, source.path);
    }
    preparation.finish(builder, ledger);
  }
}

}  // namespace chorus
