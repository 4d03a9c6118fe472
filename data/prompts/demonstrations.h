#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/corpora/dialogue.h"

namespace chorus {

// Maps texts to vectors: [texts, D], row after row.
using EmbedTexts = std::function<std::vector<float>(std::span<const std::string> texts)>;

enum class Retrieval {
  bm25,       // common words (Robertson & Zaragoza 2009, section 3.2; k1 = 1.2, b = 0.75)
  embedding,  // cosine of vectors
  fixed       // the same for all prompts: `count` random lines of each label
};

// With which labels an example may come. `same_in_training` is what InstructERC describes: in training an example has
// the label of the line asked about, in scoring any. A model then learns to copy the example's label, which is wrong
// once the labels are free: it has been seen to collapse. So `any` is the default.
enum class DemonstrationLabels { any, same_in_training };

struct DemonstrationOptions {
  std::int64_t count = 0;  // examples in a prompt; of each label with Retrieval::fixed
  Retrieval retrieval = Retrieval::bm25;
  DemonstrationLabels labels = DemonstrationLabels::any;
  bool balanced = false;  // as many lines of each label in the pool as the rarest has
  std::uint64_t seed = 0;
};

// How much lines of a pool resemble a text.
class Similarity {
 public:
  virtual ~Similarity() = default;
  virtual std::vector<float> to(const std::string& text) const = 0;  // [pool]
};

// Finds labelled lines of other dialogues to show as examples.
class Demonstrations {
 public:
  // `pool` are the lines to choose from; all dialogues must outlive this. `texts` are those that will be asked for,
  // which Retrieval::embedding maps at once with `embed`.
  Demonstrations(const DemonstrationOptions& options, std::vector<Line> pool, std::vector<std::string> texts,
                 const EmbedTexts& embed);

  // The examples for a line, the most similar last, next to the question; none of its own dialogue, which would tell
  // too much. Equal texts of other dialogues are allowed. Fewer than asked for where the pool is too small.
  std::vector<Line> find(const Line& line, bool training) const;

  std::int64_t pool_size() const { return std::ssize(pool_); }

 private:
  std::vector<Line> fixed_for(const Line& line) const;

  DemonstrationOptions options_;
  std::vector<Line> pool_;
  std::unique_ptr<Similarity> similarity_;
};

std::unique_ptr<Similarity> make_bm25(std::span<const std::string> pool);
// The vectors of all `pool` texts and of those asked for are made at once.
std::unique_ptr<Similarity> make_cosine(std::span<const std::string> pool, std::vector<std::string> texts,
                                        const EmbedTexts& embed);

}  // namespace chorus
