#include "core/training/run_identity.h"

#include <fmt/format.h>

#include "core/training/optimizer.h"
#include "data/text/files.h"
#include "data/text/json.h"

namespace chorus {

namespace {

// The version of the list that is compared; a checkpoint of another version is refused like one of another run.
constexpr int identity_version = 1;
constexpr const char* version_key = "version of this list";

constexpr const char* identity_file = "run.json";

// What an extension may change.
constexpr const char *total_steps_key = "total steps", *warmup_key = "warmup-steps",
                     *patience_key = "patience";

std::string hexadecimal(std::uint64_t hash) { return fmt::format("{:016x}", hash); }

std::string content_of_start(const TrainingInputs& inputs) {
  std::vector<TensorView> tensors;
  const auto add = [&](const SafetensorsFile& file) {
    for (const TensorView& tensor : file.tensors()) tensors.push_back(tensor);
  };
  if (inputs.adapter != nullptr) add(inputs.adapter->file);
  if (inputs.projector != nullptr) add(inputs.projector->file);
  return tensors.empty() ? "none" : hexadecimal(content_hash(std::move(tensors)));
}

// Old checkpoints kept the text of the option as it was given.
nlohmann::json canonical(const std::string& key, const nlohmann::json& value) {
  if (key != "lora-targets" || !value.is_string()) return value;
  return print_targets(parse_targets(value.get<std::string>()));
}

// Gives `then` what a run of more steps, or of more patience, has of them.
void pass_extension(nlohmann::json& then, const nlohmann::ordered_json& now) {
  const auto number = [](const auto& run, const char* key) {
    const auto found = run.find(key);
    return found != run.end() && found->is_number_integer() ? found->template get<std::int64_t>() : 0;
  };
  if (const auto steps = number(then, total_steps_key); steps > 0 && number(now, total_steps_key) > steps) {
    for (const char* key : {total_steps_key, warmup_key}) then[key] = now.at(key);
  }
  if (const auto patience = number(then, patience_key); patience > 0) {
    if (!now.contains(patience_key)) {
      then.erase(patience_key);
    } else if (number(now, patience_key) > patience) {
      then[patience_key] = now.at(patience_key);
    }
  }
}

}  // namespace

nlohmann::ordered_json content_identity(const TrainingInputs& inputs) {
  return {{"content of the base", hexadecimal(inputs.base.content_hash())},
          {"content of the data", hexadecimal(inputs.train.content_hash())},
          {"content of dev", inputs.dev ? hexadecimal(inputs.dev->content_hash()) : "none"},
          {"content of what it starts from", content_of_start(inputs)}};
}

nlohmann::ordered_json run_identity(const TrainConfig& config, const TrainingInputs& inputs,
                                    const Schedule& schedule, std::int64_t eval_steps) {
  nlohmann::ordered_json all{{version_key, identity_version},
                             {"method", config.method == Method::lora ? "lora" : "full"}};
  all.update(identity(config.model));
  all.update(
      {{"seed", config.batches.seed}, {"max-grad-norm", config.max_grad_norm}, {"eval-steps", eval_steps}});
  // Epochs of a curriculum are no number of steps.
  if (config.batches.curriculum > 1 && !config.eval_steps && eval_steps > 0) all["eval-steps"] = "epoch";
  // Newer options are not said where they are at their default, so that checkpoints of older versions go on.
  if (config.lora_plus_ratio != 1) all["lora-plus-ratio"] = config.lora_plus_ratio;
  if (eval_steps > 0 && inputs.dev) {
    const DevMetric metric = resolve(config.dev_metric, *inputs.dev);
    if (metric != resolve(DevMetric::automatic, *inputs.dev)) all["dev-metric"] = name(metric);
  }
  if (config.patience > 0) all[patience_key] = config.patience;
  all.update(identity(config.batches));
  all.update(identity(schedule));
  all.update(identity(config.adamw));
  if (config.method == Method::lora) all.update(identity(config.lora));
  all.update(inputs.content != nullptr ? *inputs.content : content_identity(inputs));
  if (eval_steps == 0) all.erase("content of dev");
  all["samples of the data"] = inputs.train.samples();
  all["tokens of the data"] = inputs.train.tokens();
  all["tokenizer of the data"] = hexadecimal(inputs.train.origin().tokenizer_hash);
  if (const FeatureTable& features = inputs.train.features(); features.width > 0) {
    all.update(identity(config.projector));
    all["features of the data"] = {features.rows(), features.width};
  }
  return all;
}

std::vector<std::string> differences(nlohmann::json then, const nlohmann::ordered_json& now, bool extends) {
  if (extends) pass_extension(then, now);
  std::vector<std::string> found;
  const bool is_old = !then.contains(version_key);
  const auto compare = [&](const std::string& key, const nlohmann::json& before,
                           const nlohmann::json& after) {
    if (canonical(key, before) != after)
      found.push_back(fmt::format("{} was {} and is now {}", key, before.dump(), after.dump()));
  };
  for (const auto& [key, value] : now.items()) {
    if (!is_old || then.contains(key)) compare(key, then.value(key, nlohmann::json()), value);
  }
  for (const auto& [key, value] : then.items()) {
    if (!now.contains(key)) compare(key, value, nlohmann::json());
  }
  return found;
}

void write_identity(const std::filesystem::path& output, const nlohmann::ordered_json& identity) {
  write_file_atomically(output / identity_file, nlohmann::ordered_json{{"run", identity}}.dump(2) + "\n");
}

std::optional<nlohmann::json> read_identity(const std::filesystem::path& output) {
  const std::filesystem::path file = output / identity_file;
  if (!std::filesystem::exists(file)) return std::nullopt;
  const nlohmann::json json = read_json_file(file);
  require<DataError>(json.is_object() && json.contains("run") && json["run"].is_object(), file.string(),
                     " does not say which run it is of");
  return json["run"];
}

std::string remark_on_identity(const nlohmann::json& then, const std::string& checkpoint) {
  if (then.contains(version_key)) return "";
  return checkpoint +
         " is of an older version of Chorus: whether base, data and some options are those of its run is not "
         "known";
}

}  // namespace chorus
