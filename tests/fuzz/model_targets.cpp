// Files of models, adapters, trainings and predictions.

#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/formats/base_model.h"
#include "core/formats/model_config.h"
#include "core/formats/model_tensors.h"
#include "core/formats/peft.h"
#include "core/formats/safetensors.h"
#include "core/model/projector.h"
#include "core/scoring/predictions.h"
#include "core/training/checkpoint.h"
#include "core/training/run_identity.h"
#include "data/text/json.h"
#include "ops/base/error.h"
#include "tests/fuzz/target.h"
#include "tests/support/scratch.h"

namespace chorus::fuzz {
namespace {

ModelConfig small_config(Family family) {
  ModelConfig config;
  config.family = family;
  config.vocabulary_size = 6;
  config.hidden_size = 4;
  config.intermediate_size = 4;
  config.layers = 1;
  config.query_heads = 2;
  config.key_value_heads = 1;
  config.head_width = 2;
  config.max_positions = 16;
  config.bos = 1;
  config.eos = {2};
  return config;
}

std::vector<std::string> configs() {
  std::vector<std::string> seeds;
  for (const Family family : {Family::llama, Family::mistral, Family::qwen2, Family::qwen3}) {
    ModelConfig config = small_config(family);
    if (family == Family::llama) config.rope.scaling = RopeScaling{.factor = 8, .original_max_position = 8};
    if (family == Family::mistral) config.sliding_window = 8;
    seeds.push_back(to_json(config, "float32").dump(1));
  }
  return seeds;
}

void read_config(const std::string& input) {
  file("config/config.json", input);
  file("config/generation_config.json", input);
  unless_refused([&] { read_generation_ends(folder("config"), 100); });
  const ModelConfig config = read_model_config(folder("config"));
  require(parameter_count(config) > 0, "a model without parameters was accepted");
  if (config.head_width < 4096)
    rope_table(config.rope, config.head_width, std::min<std::int64_t>(config.max_positions, 16));
  for (const int ranks : {2, 3}) unless_refused([&] { require_tensor_parallel(config, ranks); });
  const std::string written = to_json(config, "float32").dump();
  file("config/config.json", written);
  require(read_model_config(folder("config")) == config, "read again, ", written, " is another model");
}

// Tensors of zeros.
std::string tensor_file(const std::vector<TensorDescription>& tensors, const std::string& hashed) {
  const test::ScratchFolder scratch;
  SafetensorsWriter writer(scratch / "file", tensors, {{"format", hashed}});
  for (const TensorDescription& tensor : writer.order()) {
    std::int64_t bytes = bytes_per_element(tensor.dtype);
    for (const std::int64_t extent : tensor.shape) bytes *= extent;
    writer.append(std::vector<std::byte>(static_cast<std::size_t>(bytes)));
  }
  writer.finish();
  return test::read_bytes(scratch / "file");
}

void read_safetensors(const std::string& input) {
  const SafetensorsFile tensors(file("file.safetensors", input));
  unless_refused([&] { tensors.require_undamaged(); });
  content_hash(tensors.tensors());
  for (const TensorView& view : tensors.tensors()) {
    unless_refused([&] {
      const TensorView& tensor = tensors.tensor(view.name);
      read_tensor(tensor);
      read_finite_tensor(tensors, view.name);
      for (std::size_t dim = 0; dim < tensor.shape.size() && tensor.shape.size() <= 2; ++dim)
        read_slice(tensor, static_cast<int>(dim), tensor.shape[dim] / 3, tensor.shape[dim]);
    });
  }
}

// The tensors of a small model, and an index that says where they are.
void read_shard_index(const std::string& input) {
  static const std::filesystem::path base = [] {
    write_model_config(folder("shards"), small_config(Family::llama), "float32");
    std::vector<TensorDescription> tensors;
    for (const ModelTensor& tensor : model_tensors(small_config(Family::llama)))
      tensors.push_back({tensor.name, FileDType::f32, tensor.shape});
    file("shards/a.safetensors", tensor_file(tensors, "pt"));
    return folder("shards");
  }();
  file("shards/model.safetensors.index.json", input);
  BaseModel(base).content_hash();
}

std::vector<std::string> shard_indices() {
  nlohmann::json index;
  for (const ModelTensor& tensor : model_tensors(small_config(Family::llama)))
    index["weight_map"][tensor.name] = "a.safetensors";
  return {index.dump(1)};
}

const LoraConfig& small_lora() {
  static const LoraConfig config{.rank = 2, .alpha = 4, .targets = {Projection::q, Projection::v}};
  return config;
}

void write_small_adapter(const std::filesystem::path& to) {
  static const std::vector<float> values(8, 0.5F);
  std::vector<TensorToWrite> tensors;
  for (const Projection target : small_lora().targets) {
    for (const LoraFactor factor : {LoraFactor::a, LoraFactor::b}) {
      const Features shape = features(small_config(Family::llama), target);
      const std::vector<std::int64_t> extents = factor == LoraFactor::a
                                                    ? std::vector<std::int64_t>{2, shape.inputs}
                                                    : std::vector{shape.outputs, std::int64_t{2}};
      tensors.push_back({{peft_tensor_name(0, target, factor), FileDType::f32, extents}, values.data()});
    }
  }
  write_peft(to, small_lora(), "base", tensors);
}

void read_adapter(const std::string& input) {
  static const bool is_written = (write_small_adapter(folder("adapter")), true);
  require(is_written, "no adapter");
  file("adapter/adapter_config.json", input);
  const PeftAdapter adapter = read_peft(folder("adapter"));
  unless_refused([&] { validate(adapter.config); });
  for (const PlacedPath& placed : paths_of(adapter.config, adapter.layers)) {
    for (const LoraFactor factor : {LoraFactor::a, LoraFactor::b})
      adapter.values(placed.layer, placed.projection, factor);
  }
  require_fits(adapter, small_config(Family::llama));
}

std::vector<std::string> adapters() {
  const test::ScratchFolder scratch;
  write_small_adapter(scratch.path());
  const std::string written = test::read_bytes(scratch / "adapter_config.json");
  nlohmann::json patterns = nlohmann::json::parse(written);
  patterns["rank_pattern"] = {{"layers.0.self_attn.q_proj", 2}, {"v_proj|k_.*", 2}};
  patterns["alpha_pattern"] = {{"q_proj", 8}};
  patterns["layers_to_transform"] = {0};
  patterns["target_modules"] = ".*\\.(q|v)_proj";
  return {written, patterns.dump(1)};
}

void read_projector(const std::string& input) {
  static const std::string tensors = tensor_file({{"projector.weight", FileDType::f32, {4, 3}}}, "pt");
  file("projector/projector.safetensors", tensors);
  file("projector/projector_config.json", input);
  require_fits(find_projector(folder("projector")).value(), small_config(Family::llama));
}

void read_state(const std::string& input) {
  file("checkpoint/trainer_state.json", input);
  // As far as that is asked before its tensors, which are not there.
  unless_refused([&] { require_undamaged_checkpoint(folder("checkpoint")); });
  TrainingState::from_json(parse_foreign_json(input, "state"), "state").to_json().dump();
}

void read_run(const std::string& input) {
  file("run/run.json", input);
  if (const auto identity = read_identity(folder("run"))) {
    differences(*identity, {{"learning-rate", 0.1}, {"base", "a"}});
    remark_on_identity(*identity, "checkpoint-1");
  }
}

std::vector<std::string> predictions() {
  const std::vector<AnsweredUtterance> lines{
      {{"meld", "test", "0", "1"}, "Ann", "Hi!", "joy", "anger", {{"joy", -1.5}, {"anger", -0.5}}, {}, true},
      {{"meld", "test", "0", "2"}, "Bo", "No.", "joy", "", {}, "nothing", false}};
  return {to_json_lines(lines)};
}

void read_answers(const std::string& input) {
  const auto path = file("predictions.jsonl", input);
  unless_refused([&] {
    Exclusion exclusion(path);
    exclusion.excludes({"meld", "test", "0", "1"});
    exclusion.to_json().dump();
    exclusion.describe();
  });
  const std::vector<AnsweredUtterance> read = read_predictions(path);
  scores_of(read, labels_of(read)).to_table();
  for (const CorpusScores& corpus : scores_by_corpus(read)) corpus.scores.to_json().dump();
  file("predictions.jsonl", to_json_lines(read));
  require(read_predictions(path).size() == read.size(), "predictions that were written cannot be read");
}

}  // namespace

std::vector<Target> model_targets() {
  return {
      {"model-config", configs, read_config},
      {"safetensors",
       [] {
         return std::vector<std::string>{
             tensor_file(
                 {{"a", FileDType::f32, {2, 3}}, {"b", FileDType::bf16, {4}}, {"c", FileDType::f16, {1, 2}}},
                 "pt"),
             tensor_file(
                 {{"e", FileDType::f16, {0, 7}}, {"s", FileDType::f32, {}}, {"i", FileDType::i64, {1}}},
                 "x")};
       },
       read_safetensors},
      {"shard-index", shard_indices, read_shard_index},
      {"adapter-config", adapters, read_adapter},
      {"projector-config",
       [] {
         return std::vector<std::string>{
             R"({"projector_type": "linear", "feature_size": 3, "output_size": 4})",
             R"({"projector_type": "mlp", "feature_size": 3, "hidden_size": 5, "output_size": 4, "projector_hidden_act": "relu"})"};
       },
       read_projector},
      {"trainer-state",
       [] {
         return std::vector<std::string>{
             R"({"step": 3, "total_tokens": 70, "elapsed_time": 1.5, "best_metric": 0.5, "best_step": 2, "evaluation_due": true, "run": {"seed": 1}})",
             R"({"step": 3, "total_tokens": 70, "hash": "xxh64:0123456789abcdef"})"};
       },
       read_state},
      {"run-identity",
       [] {
         return std::vector<std::string>{
             R"({"run": {"version": 1, "learning-rate": 0.2, "base": "b", "seed": 1}})"};
       },
       read_run},
      {"predictions", predictions, read_answers},
  };
}

}  // namespace chorus::fuzz
