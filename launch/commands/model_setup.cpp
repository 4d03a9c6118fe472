#include "launch/commands/model_setup.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include <nlohmann/json.hpp>

#include "core/training/run_identity.h"
#include "data/corpora/split_files.h"
#include "data/prompts/prompt_form.h"
#include "data/prompts/tokenizer.h"
#include "data/text/json.h"
#include "data/text/text.h"
#include "launch/process/version.h"

namespace chorus {

StoredWeights stored_in_place(const BaseModel& base, const Runtime& runtime) {
  if (!runtime.computes_in_host_memory()) return {};
  return [&base](const std::string& name) { return base.tensor(name); };
}

BaseSetup take_base(const BaseModel& base, const ModelOptions& options, Runtime& runtime) {
  return BaseSetup(base.config(), options, runtime.backend(), runtime.groups().groups(),
                   stored_in_place(base, runtime));
}

SharedFacts facts_of(const OptionTable& table, std::set<std::string> paths) {
  paths.insert("threads");
  SharedFacts facts{{"version", std::string(version())}};
  for (const auto& option : table.values_but(paths)) facts.push_back(option);
  return facts;
}

void add_content(SharedFacts& facts, const BaseModel& base, const std::optional<PeftAdapter>& adapter) {
  add_content(facts, "base", base.content_hash());
  if (adapter) add_content(facts, "adapter", content_hash(adapter->file.tensors()));
}

void add_content(SharedFacts& facts, const std::string& what, std::uint64_t hash) {
  facts.emplace_back("content of the " + what, fmt::format("{:016x}", hash));
}

void add_content(SharedFacts& facts, const nlohmann::ordered_json& content) {
  for (const auto& [name, value] : content.items()) facts.emplace_back(name, value.get<std::string>());
}

std::string unused_rows(const std::string& base, std::int64_t vocabulary_size, std::int64_t pieces) {
  if (vocabulary_size <= pieces) return "";
  return fmt::format(
      "{} has {} rows for the {} pieces of its tokenizer: the last {} are neither read nor generated", base,
      vocabulary_size, pieces, vocabulary_size - pieces);
}

namespace {

// "", or a line that says that `chorus train` made the adapter on codes other than those that it meets now.
std::string other_base_precision(const PeftAdapter& adapter, Quantisation now) {
  const std::filesystem::path folder = adapter.file.path().parent_path();
  const auto run = read_identity(folder);
  if (!run) return "";
  const std::string then = run->value("base-precision", std::string(name(Quantisation::none)));
  if (then == name(now)) return "";
  return fmt::format("the adapter {} was trained with --base-precision {}, and this is with {}",
                     folder.string(), then, name(now));
}

}  // namespace

std::vector<std::string> remarks(const BaseModel& base, const std::optional<PeftAdapter>& adapter,
                                 Quantisation base_precision, bool generates) {
  namespace fs = std::filesystem;
  std::vector<std::string> lines;
  if (tokenizer_file(base.folder())) {
    const Tokenizer tokenizer = Tokenizer::load(base.tokenizer_path());
    lines.push_back(unused_rows(base.folder().string(), base.config().vocabulary_size, tokenizer.size()));
    if (generates) lines.push_back(answer_ends(base, tokenizer).contradiction);
  }
  if (adapter) lines.push_back(other_base_precision(*adapter, base_precision));
  if (adapter && !adapter->base_name.empty()) {
    // Folders move and names of the Hub are no folders, so that only the last part is compared.
    const auto last = [](const fs::path& path) { return (path / "").parent_path().filename(); };
    std::error_code ignored;
    const bool same = last(adapter->base_name) == last(base.folder()) ||
                      fs::equivalent(adapter->base_name, base.folder(), ignored);
    if (!same) {
      lines.push_back(fmt::format("the adapter {} was trained on {}, the base is {}",
                                  adapter->file.path().parent_path().string(), adapter->base_name,
                                  base.folder().string()));
    }
  }
  std::erase(lines, "");
  return lines;
}

std::string other_labels(const PeftAdapter& adapter, const DatasetOrigin& data) {
  const std::filesystem::path folder = adapter.file.path().parent_path(),
                              file = folder / "train_results.json";
  if (!std::filesystem::exists(file)) return "";
  const nlohmann::json results = read_json_file(file);
  if (!results.contains("labels") || results["labels"] == data.labels) return "";
  return fmt::format("the adapter {} was trained with the labels {}, those of the data are {}",
                     folder.string(), results["labels"].dump(), nlohmann::json(data.labels).dump());
}

std::string other_prompts(const PeftAdapter& adapter, const DatasetOrigin& data) {
  const std::filesystem::path folder = adapter.file.path().parent_path();
  if (!PromptForm::find(folder) || data.recipe_text.empty()) return "";
  const PromptForm learned = PromptForm::read(folder), asked = PromptForm::of(data, "the data");
  if (learned.asks_like(asked)) return "";
  return fmt::format("the adapter {} was trained with the prompts of {}, those of the data are of {}{}",
                     folder.string(), learned.title(), asked.title(),
                     learned.title() == asked.title() ? ", which is another one of this name" : "");
}

GenerateOptions generate_options(const BaseModel& base, const Tokenizer& tokenizer,
                                 std::int64_t max_new_tokens) {
  GenerateOptions options;
  options.max_new_tokens = max_new_tokens;
  options.ends = answer_ends(base, tokenizer).tokens;
  options.pieces = tokenizer.size();
  return options;
}

void add_precision(OptionTable& table, ModelOptions& model) {
  table.choice("precision", model.precision, {{"f32", DType::f32}, {"bf16", DType::bf16}},
               "of weights and activations");
  table.choice("base-precision", model.base_precision,
               {{"same", Quantisation::none}, {"int8", Quantisation::int8}, {"nf4", Quantisation::nf4}},
               "of the projections of a frozen base: as --precision, or held in 8 bits, or in QLoRA's 4");
}

void add_computation(OptionTable& table, ModelOptions& model, RuntimeOptions& runtime) {
  add_precision(table, model);
  add_ranks(table, runtime);
}

void add_ranks(OptionTable& table, RuntimeOptions& runtime) {
  table.choice("device", runtime.device,
               {{"auto", DeviceKind::automatic}, {"cpu", DeviceKind::cpu}, {"cuda", DeviceKind::cuda}},
               "auto: an NVIDIA GPU per rank where there are some");
  table.add("tensor-parallel", runtime.tensor_parallel, "ranks that share one copy of the base").at_least(1);
  table.add("threads", runtime.threads, "per rank on CPUs; 0: its share of the cores")
      .between(0, most_threads);
  table
      .add("hang-limit", runtime.hang_limit,
           "seconds without progress of any rank after which all end with exit code 5; 0: never")
      .at_least(0);
}

std::string in_base_precision(Quantisation kind) {
  return kind == Quantisation::none ? "" : fmt::format(" on a base in {}", name(kind));
}

PassLimits pass_limits(const GenerationLimits& limits) {
  return {
      .tokens = limits.prompt_tokens, .cached_sequences = limits.sequences, .cached_length = limits.length};
}

void require_fits(const DataSplit& split, const std::string& file, const BaseModel& base) {
  const DatasetOrigin& origin = split.origin();
  const ModelConfig& config = base.config();
  require<DataError>(origin.vocabulary_size <= config.vocabulary_size, file, " was prepared for ",
                     origin.vocabulary_size, " tokens, the base ", base.folder().string(), " has ",
                     config.vocabulary_size, ": run `chorus prepare --base ", base.folder().string(), "`");
  if (origin.tokenizer_hash != 0) {
    const Tokenizer tokenizer = Tokenizer::load(base.tokenizer_path());
    base.check_tokenizer_size(tokenizer.size());
    const std::uint64_t hash = tokenizer.hash();
    require<DataError>(origin.tokenizer_hash == hash, file, " was prepared with the tokenizer ",
                       fmt::format("{:016x}", origin.tokenizer_hash), ", the base ", base.folder().string(),
                       " has ", fmt::format("{:016x}", hash), ": run `chorus prepare --base ",
                       base.folder().string(), "`");
  }
  require<DataError>(split.longest_sample() <= config.longest_text(), file, " has a sample of ",
                     split.longest_sample(), " tokens, the base has ", config.bound_of_texts(), ": ",
                     how_to_shorten(origin, config.longest_text()));
}

std::optional<SavedProjector> projector_for(const std::string& folder, const DataSplit& split,
                                            const BaseModel& base) {
  const std::int64_t width = split.features().width;
  std::optional<SavedProjector> projector = find_projector(folder);
  require<DataError>(projector || width == 0, "the ", split.origin().split, " split has rows of ", width,
                     " features, and ", folder,
                     " has no projector for them: give the --adapter that was trained with such features");
  if (!projector) return projector;
  require<DataError>(width > 0, folder, " was trained with rows of ", projector->config.inputs,
                     " features, and the ", split.origin().split,
                     " split has none: prepare it with the same features");
  require<DataError>(projector->config.inputs == width, folder, " was trained with rows of ",
                     projector->config.inputs, " features, and those of the ", split.origin().split,
                     " split have ", width);
  require_fits(*projector, base.config());
  return projector;
}

std::vector<std::string> splits_of(const std::string& folder) {
  std::vector<std::string> names;
  for (const SplitFiles& split : splits_in(folder)) names.push_back(split.name);
  return names;
}

SplitFiles required_split(const std::string& folder, const std::string& split) {
  SplitFiles files = find_split(folder, split);
  require<DataError>(!files.files.empty(), (std::filesystem::path(folder) / (split + ".h5")).string(),
                     ": no such split; ", folder, " has ", joined(splits_of(folder), ", "));
  return files;
}

DataSplit open_split(const std::string& folder, const std::string& split, const BaseModel& base) {
  const SplitFiles files = required_split(folder, split);
  DataSplit opened(files);
  require_fits(opened, files.files[0].string(), base);
  return opened;
}

}  // namespace chorus
