#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/formats/base_model.h"
#include "core/planning/model_setup.h"
#include "core/scoring/generator.h"
#include "data/sets/data_split.h"
#include "launch/options/options.h"
#include "launch/process/runtime.h"

namespace chorus {

// Where frozen weights may be read in place: in the files of `base`, which must outlive it, where computation is in host
// memory; else nowhere.
StoredWeights stored_in_place(const BaseModel& base, const Runtime& runtime);

// The memory of a base on this rank. On a CPU, frozen weights that `base` stores as they are computed with stay in its
// files. `base` must outlive it.
BaseSetup take_base(const BaseModel& base, const ModelOptions& options, Runtime& runtime);

// What the ranks of a command must have alike: the version, and all options but the number of threads and `paths`, which
// machines may have in other places.
SharedFacts facts_of(const OptionTable& table, std::set<std::string> paths);
// And what stands there, by content.
void add_content(SharedFacts& facts, const BaseModel& base, const std::optional<PeftAdapter>& adapter);
void add_content(SharedFacts& facts, const std::string& what, std::uint64_t hash);
void add_content(SharedFacts& facts,
                 const nlohmann::ordered_json& content);  // of core/training/run_identity.h

// "", or a line that says how many rows of the base's embedding no piece of the tokenizer uses.
std::string unused_rows(const std::string& base, std::int64_t vocabulary_size, std::int64_t pieces);

// What is odd and yet no error, a line each: unused rows, an adapter whose base had another name or precision, and, for a
// command that `generates`, ends of answers on which config.json and the tokenizer contradict each other.
std::vector<std::string> remarks(const BaseModel& base, const std::optional<PeftAdapter>& adapter,
                                 Quantisation base_precision, bool generates = false);
// "", or a line that says that `chorus train` made the adapter for other labels than those of the data.
std::string other_labels(const PeftAdapter& adapter, const DatasetOrigin& data);
// The same of prompts: of another recipe or chat template, or with another history.
std::string other_prompts(const PeftAdapter& adapter, const DatasetOrigin& data);

// How answers are generated: with the base's ends of answers, and the tokens that they can have.
GenerateOptions generate_options(const BaseModel& base, const Tokenizer& tokenizer,
                                 std::int64_t max_new_tokens);

// The options of every command that runs a model, and the two parts of them.
void add_computation(OptionTable& table, ModelOptions& model, RuntimeOptions& runtime);
void add_precision(OptionTable& table, ModelOptions& model);
void add_ranks(OptionTable& table, RuntimeOptions& runtime);

// "", or " on a base in nf4".
std::string in_base_precision(Quantisation kind);

PassLimits pass_limits(const GenerationLimits& limits);

// Throws DataError unless the data was prepared for this base: its tokenizer, vocabulary and positions.
void require_fits(const DataSplit& split, const std::string& file, const BaseModel& base);

// The projector in the folder of an adapter or base, for data that has features; nothing for data that has none. Throws
// DataError where only one of them has features, or another width.
std::optional<SavedProjector> projector_for(const std::string& folder, const DataSplit& split,
                                            const BaseModel& base);

// The names of the splits in a folder, train, dev and test first.
std::vector<std::string> splits_of(const std::string& folder);

// The files of a split. Throws DataError that names those there are, if it is not there.
SplitFiles required_split(const std::string& folder, const std::string& split);
// Opens a split without holding it, and checks it against the base.
DataSplit open_split(const std::string& folder, const std::string& split, const BaseModel& base);

}  // namespace chorus
