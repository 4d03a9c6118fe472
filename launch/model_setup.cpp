#include "launch/model_setup.h"

#include <algorithm>
#include <filesystem>

#include "data/split_files.h"
#include "data/tokenizer.h"
#include "data/words.h"

namespace chorus {

ModelSetup::ModelSetup(const ModelConfig& config, const ModelOptions& options, const PassLimits& limits,
                       Runtime& runtime)
    : ModelSetup(config, options, plan_memory(config, options, runtime.groups().grid(), limits), runtime) {}

ModelSetup::ModelSetup(const ModelConfig& config, const ModelOptions& options, const MemoryPlan& memory_plan,
                       Runtime& runtime)
    : model_arena(runtime.backend(), memory_plan.model, "model"),
      optimizer_arena(runtime.backend(), memory_plan.optimizer, "optimizer"),
      activations(runtime.backend(), memory_plan.activations, "activation"),
      plan(memory_plan),
      model(config, options, runtime.backend(), runtime.groups().groups(), model_arena) {}

void ModelSetup::load(const BaseModel& base, const std::optional<PeftAdapter>& adapter,
                      const std::optional<SavedProjector>& projector) {
  model.load_base(base);
  if (adapter) model.load_adapters(*adapter);
  if (projector) model.load_projector(*projector);
}

void add_computation(OptionTable& table, DType& precision, RuntimeOptions& runtime) {
  table.choice("precision", precision, {{"f32", DType::f32}, {"bf16", DType::bf16}},
               "of weights and activations");
  table.choice("device", runtime.device,
               {{"auto", DeviceKind::automatic}, {"cpu", DeviceKind::cpu}, {"cuda", DeviceKind::cuda}},
               "auto: an NVIDIA GPU per rank where there are some");
  table.add("tensor-parallel", runtime.tensor_parallel, "ranks that share one copy of the base").at_least(1);
  table.add("threads", runtime.threads, "per rank on CPUs; 0: its share of the cores").at_least(0);
}

PassLimits pass_limits(const GenerationLimits& limits) {
  return {
      .tokens = limits.prompt_tokens, .cached_sequences = limits.sequences, .cached_length = limits.length};
}

void require_fits(const Dataset& dataset, const std::string& file, const BaseModel& base) {
  const ModelConfig& config = base.config();
  require<DataError>(dataset.origin.vocabulary_size <= config.vocabulary_size, file, " was prepared for ",
                     dataset.origin.vocabulary_size, " tokens, the base ", base.folder().string(), " has ",
                     config.vocabulary_size, ": run `chorus prepare --base ", base.folder().string(), "`");
  if (dataset.origin.tokenizer_hash != 0) {
    const Tokenizer tokenizer = Tokenizer::load(base.tokenizer_path());
    base.check_tokenizer_size(tokenizer.size());
    const std::uint64_t hash = tokenizer.hash();
    require<DataError>(dataset.origin.tokenizer_hash == hash, file, " was prepared with the tokenizer ",
                       fmt::format("{:016x}", dataset.origin.tokenizer_hash), ", the base ",
                       base.folder().string(), " has ", fmt::format("{:016x}", hash),
                       ": run `chorus prepare --base ", base.folder().string(), "`");
  }
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < std::ssize(dataset.samples); ++i)
    longest = std::max(longest, dataset.length(i));
  require<DataError>(longest <= config.max_positions, file, " has a sample of ", longest,
                     " tokens, the base has ", config.max_positions,
                     " positions: ", how_to_shorten(dataset.origin, config.max_positions));
}

std::optional<SavedProjector> projector_for(const std::string& folder, const Dataset& dataset,
                                            const BaseModel& base) {
  const std::int64_t width = dataset.features.width;
  std::optional<SavedProjector> projector = find_projector(folder);
  require<DataError>(projector || width == 0, "the ", dataset.origin.split, " split has rows of ", width,
                     " features, and ", folder,
                     " has no projector for them: give the --adapter that was trained with such features");
  if (!projector) return projector;
  require<DataError>(width > 0, folder, " was trained with rows of ", projector->config.inputs,
                     " features, and the ", dataset.origin.split,
                     " split has none: prepare it with the same features");
  require<DataError>(projector->config.inputs == width, folder, " was trained with rows of ",
                     projector->config.inputs, " features, and those of the ", dataset.origin.split,
                     " split have ", width);
  require_fits(*projector, base.config());
  return projector;
}

std::vector<std::string> splits_of(const std::string& folder) {
  require<DataError>(std::filesystem::is_directory(folder), folder, ": no such folder");
  std::vector<std::string> splits;
  for (const std::filesystem::path& file : split_files(folder, ".h5")) splits.push_back(file.stem().string());
  return splits;
}

Dataset read_split(const std::string& folder, const std::string& split, const BaseModel& base) {
  const std::string file = (std::filesystem::path(folder) / (split + ".h5")).string();
  require<DataError>(std::filesystem::exists(file), file, ": no such split; ", folder, " has ",
                     joined(splits_of(folder), ", "));
  Dataset dataset = Dataset::read(file);
  require_fits(dataset, file, base);
  return dataset;
}

}  // namespace chorus
