#include "core/formats/base_model.h"

#include <bit>
#include <functional>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using nlohmann::json;
using test::holds;
using test::message_of;
using test::ScratchFolder;
using test::write_bytes;

ModelConfig small_config(bool tied = false) {
  ModelConfig config;
  config.vocabulary_size = 10;
  config.hidden_size = 4;
  config.intermediate_size = 6;
  config.layers = 2;
  config.query_heads = 2;
  config.key_value_heads = 1;
  config.head_width = 4;
  config.max_positions = 16;
  config.tied_head = tied;
  config.bos = 1;
  config.eos = {2};
  return config;
}

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

Shapes expected_shapes(const ModelConfig& config) {
  Shapes shapes;
  for (const ModelTensor& tensor : model_tensors(config)) shapes[tensor.name] = tensor.shape;
  return shapes;
}

void write_shard(const std::filesystem::path& path, const Shapes& shapes, FileDType dtype = FileDType::f32) {
  const std::vector<float> zeros(1000);
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, shape] : shapes) tensors.push_back({{name, dtype, shape}, zeros.data()});
  write_safetensors(path, tensors);
}

// A folder with one file whose tensors `change` has altered.
std::string refusal(const ModelConfig& config, const std::function<void(Shapes&)>& change) {
  const ScratchFolder folder;
  write_model_config(folder.path(), config, "float32");
  Shapes shapes = expected_shapes(config);
  change(shapes);
  write_shard(folder / "model.safetensors", shapes);
  const auto message = message_of<DataError>([&] { BaseModel{folder.path()}; });
  EXPECT_TRUE(holds(message, folder.path().string()));
  return message;
}

void expect_opens(const ModelConfig& config, const std::function<void(Shapes&)>& change) {
  const ScratchFolder folder;
  write_model_config(folder.path(), config, "float32");
  Shapes shapes = expected_shapes(config);
  change(shapes);
  write_shard(folder / "model.safetensors", shapes);
  EXPECT_NO_THROW(BaseModel{folder.path()});
}

TEST(BaseModel, OpensASingleFile) {
  expect_opens(small_config(), [](Shapes&) {});
  expect_opens(small_config(true), [](Shapes& shapes) { EXPECT_FALSE(shapes.contains("lm_head.weight")); });
}

TEST(BaseModel, PassesOverWhatHuggingFacePassesOver) {
  expect_opens(small_config(true), [](Shapes& shapes) { shapes["lm_head.weight"] = {10, 4}; });
  expect_opens(small_config(), [](Shapes& shapes) {
    shapes["model.layers.0.self_attn.rotary_emb.inv_freq"] = {2};
    shapes["model.rotary_emb.inv_freq"] = {2};
  });
}

TEST(BaseModel, RefusesATiedHeadThatIsNotTheEmbedding) {
  const ScratchFolder folder;
  write_model_config(folder.path(), small_config(true), "float32");
  const std::vector<float> zeros(1000);
  std::vector<float> other(40), equal(40);
  other[39] = 1;
  const auto open = [&](FileDType dtype, const std::vector<float>& head) {
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, shape] : expected_shapes(small_config(true)))
      tensors.push_back({{name, FileDType::f32, shape}, zeros.data()});
    tensors.push_back({{"lm_head.weight", dtype, {10, 4}}, head.data()});
    write_safetensors(folder / "model.safetensors", tensors);
    BaseModel{folder.path()};
  };
  EXPECT_NO_THROW(open(FileDType::f32, zeros));
  for (const auto& [dtype, head] : {std::pair{FileDType::f32, &other}, std::pair{FileDType::bf16, &equal}}) {
    EXPECT_TRUE(holds(message_of<DataError>([&] { open(dtype, *head); }),
                      "config.json has tie_word_embeddings true, but lm_head.weight is not "
                      "model.embed_tokens.weight: set it to false, or remove lm_head.weight"));
  }
}

TEST(BaseModel, ListsMissingTensors) {
  const auto one = refusal(small_config(), [](Shapes& shapes) { shapes.erase("lm_head.weight"); });
  EXPECT_TRUE(
      holds(one, "1 tensors of the model that config.json describes are missing:\n  lm_head.weight [10, 4]"));
  EXPECT_FALSE(holds(one, "more"));
  const auto many = refusal(small_config(), [](Shapes& shapes) {
    std::erase_if(shapes, [](const auto& entry) { return entry.first.starts_with("model.layers.1."); });
  });
  EXPECT_TRUE(holds(many, "9 tensors of the model"));
  EXPECT_TRUE(holds(many, "\n  model.layers.1.self_attn.q_proj.weight [8, 4]"));
  EXPECT_TRUE(holds(many, "\n  and 4 more"));
}

TEST(BaseModel, ListsMisshapenTensors) {
  const auto message = refusal(small_config(), [](Shapes& shapes) {
    shapes["model.layers.1.self_attn.k_proj.weight"] = {8, 4};
    shapes["model.norm.weight"] = {4, 1};
  });
  EXPECT_TRUE(holds(message, "2 tensors have another shape than config.json describes:"));
  EXPECT_TRUE(holds(message, "model.layers.1.self_attn.k_proj.weight is [8, 4], not [4, 4]"));
  EXPECT_TRUE(holds(message, "model.norm.weight is [4, 1], not [4]"));
  EXPECT_TRUE(holds(refusal(small_config(true),
                            [](Shapes& shapes) {
                              shapes["lm_head.weight"] = {10, 5};
                            }),
                    "lm_head.weight is [10, 5], not [10, 4]"));
}

TEST(BaseModel, ListsUnknownTensors) {
  EXPECT_TRUE(holds(
      refusal(small_config(), [](Shapes& shapes) { shapes["model.layers.0.self_attn.q_proj.bias"] = {8}; }),
      "1 tensors are unknown to LlamaForCausalLM, and leaving them out would change the model:\n"
      "  model.layers.0.self_attn.q_proj.bias"));
  EXPECT_TRUE(holds(refusal(small_config(),
                            [](Shapes& shapes) {
                              shapes["model.layers.2.mlp.up_proj.weight"] = {6, 4};
                            }),
                    "model.layers.2.mlp.up_proj.weight"));
}

TEST(BaseModel, KnowsTheTensorsOfEachFamily) {
  ModelConfig config = small_config();
  config.family = Family::qwen2;
  EXPECT_TRUE(holds(
      refusal(config,
              [](Shapes& shapes) { EXPECT_EQ(shapes.erase("model.layers.1.self_attn.k_proj.bias"), 1U); }),
      "are missing:\n  model.layers.1.self_attn.k_proj.bias [4]"));
  EXPECT_TRUE(
      holds(refusal(config, [](Shapes& shapes) { shapes["model.layers.0.self_attn.o_proj.bias"] = {4}; }),
            "unknown to Qwen2ForCausalLM, and leaving them out would change the model:\n"
            "  model.layers.0.self_attn.o_proj.bias"));
  config.family = Family::qwen3;
  EXPECT_TRUE(
      holds(refusal(config, [](Shapes& shapes) { shapes["model.layers.0.self_attn.q_norm.weight"] = {8}; }),
            "model.layers.0.self_attn.q_norm.weight is [8], not [4]"));
  config.family = Family::mistral;
  EXPECT_EQ(expected_shapes(config), expected_shapes(small_config()));
}

TEST(BaseModel, RefusesOtherElementTypes) {
  const ScratchFolder folder;
  write_model_config(folder.path(), small_config(), "float32");
  write_shard(folder / "model.safetensors", expected_shapes(small_config()), FileDType::i32);
  EXPECT_TRUE(holds(message_of<DataError>([&] { BaseModel{folder.path()}; }),
                    "the tensor model.embed_tokens.weight is of type I32; F32, F16 and BF16 can be read"));
}

TEST(BaseModel, RefusesAFolderWithoutWeights) {
  const ScratchFolder folder;
  write_model_config(folder.path(), small_config(), "float32");
  write_bytes(folder / "pytorch_model.bin", "");
  EXPECT_TRUE(
      holds(message_of<DataError>([&] { BaseModel{folder.path()}; }),
            folder.path().string() + " has neither model.safetensors nor model.safetensors.index.json"));
}

TEST(BaseModel, GivesOnlyItsOwnTensors) {
  const ScratchFolder folder;
  write_model_config(folder.path(), small_config(), "float32");
  write_shard(folder / "model.safetensors", expected_shapes(small_config()));
  BaseModel first(folder.path());
  const auto* data = first.tensor("model.norm.weight").data;
  const BaseModel model = std::move(first);
  EXPECT_EQ(model.tensor("model.norm.weight").data, data);
  EXPECT_EQ(model.config(), small_config());
  EXPECT_TRUE(holds(message_of<DataError>([&] { model.tensor("x"); }), "has no tensor x"));
}

// Two shards and their index; `change` alters what is written.
struct Shards {
  Shapes first, second;
  json index;
};

std::string sharded(const std::function<void(Shards&)>& change) {
  const ScratchFolder folder;
  write_model_config(folder.path(), small_config(), "float32");
  Shards shards;
  for (const auto& [name, shape] : expected_shapes(small_config())) {
    const bool first = name.starts_with("model.layers.0.");
    (first ? shards.first : shards.second)[name] = shape;
    shards.index["weight_map"][name] = first ? "1.safetensors" : "2.safetensors";
  }
  change(shards);
  write_shard(folder / "1.safetensors", shards.first);
  write_shard(folder / "2.safetensors", shards.second);
  write_bytes(folder / "model.safetensors.index.json", shards.index.dump());
  try {
    const BaseModel model(folder.path());
    return "opened";
  } catch (const DataError& error) {
    return error.what();
  }
}

TEST(BaseModel, OpensShards) {
  EXPECT_EQ(sharded([](Shards&) {}), "opened");
}

TEST(BaseModel, RefusesAnIndexThatDoesNotFitTheShards) {
  const std::string name = "model.norm.weight";
  EXPECT_TRUE(holds(sharded([&](Shards& s) { s.index["weight_map"][name] = "3.safetensors"; }),
                    "names the file 3.safetensors, which is not in the folder"));
  EXPECT_TRUE(holds(sharded([&](Shards& s) { s.index["weight_map"][name] = "1.safetensors"; }),
                    "1 tensors are not where the index says:\n  model.norm.weight in 1.safetensors"));
  EXPECT_TRUE(holds(sharded([&](Shards& s) { s.second.erase(name); }), "model.norm.weight in 2.safetensors"));
  EXPECT_TRUE(holds(sharded([&](Shards& s) { s.index["weight_map"].erase(name); }),
                    "1 tensors of the files are not in the index:\n  model.norm.weight in 2.safetensors"));
  EXPECT_TRUE(holds(sharded([&](Shards& s) { s.first[name] = {4}; }),
                    "the tensor model.norm.weight stands in two files"));
  EXPECT_TRUE(holds(sharded([&](Shards& s) { s.index["weight_map"][name] = "../2.safetensors"; }),
                    "is said to be in \"../2.safetensors\", which is no file name"));
  EXPECT_TRUE(holds(sharded([&](Shards& s) { s.index["weight_map"][name] = 2; }), "is said to be in 2,"));
  EXPECT_TRUE(holds(sharded([](Shards& s) { s.index = json::object(); }), "index.json has no weight_map"));
  EXPECT_TRUE(holds(sharded([&](Shards& s) {
                      s.second.erase(name);
                      s.index["weight_map"].erase(name);
                    }),
                    "are missing:\n  model.norm.weight [4]"));
}

TEST(BaseModel, ComparesTheTokenizer) {
  const ScratchFolder folder;
  ModelConfig config = small_config();
  config.vocabulary_size = 128;
  write_model_config(folder.path(), config, "float32");
  write_shard(folder / "model.safetensors", expected_shapes(config));
  const BaseModel model(folder.path());
  EXPECT_EQ(model.check_tokenizer_size(128), 0);
  EXPECT_EQ(model.check_tokenizer_size(65), 63);
  EXPECT_EQ(model.check_tokenizer_size(127), 1);
  EXPECT_TRUE(holds(message_of<DataError>([&] { model.check_tokenizer_size(129); }),
                    "the tokenizer has 129 pieces, and the base model " + folder.path().string() +
                        " has a vocabulary of only 128"));

  EXPECT_TRUE(holds(message_of<DataError>([&] { model.tokenizer_path(); }), " has no tokenizer.model"));
  write_bytes(folder / "tokenizer.model", "");
  EXPECT_EQ(model.tokenizer_path(), folder / "tokenizer.model");
}

TEST(BaseModel, OpensTheModelsAtHand) {
  for (const std::string_view name :
       {"models/stories260K", "models/stories3M", "models/babyllama-tok105",
        "models/fixture-tiny-llama-hf-golden", "models/fixture-tiny-llama-2shard"}) {
    const auto path = test::shared_path(name);
    if (!path) GTEST_SKIP() << test::missing_shared(name);
    const BaseModel model(*path);
    std::int64_t parameters = 0;
    for (const auto& expected : model_tensors(model.config()))
      parameters += model.tensor(expected.name).elements();
    EXPECT_EQ(parameters, parameter_count(model.config())) << name;
  }
}

TEST(BaseModel, ReadsTheShardedModelBitForBit) {
  const std::string_view name = "models/fixture-tiny-llama-2shard";
  const auto path = test::shared_path(name);
  if (!path) GTEST_SKIP() << test::missing_shared(name);
  const BaseModel model(*path);
  const auto golden = json::parse(test::read_bytes(*path / "golden.json"));
  const auto bits = [](float value) { return fmt::format("0x{:08X}", std::bit_cast<std::uint32_t>(value)); };
  for (const auto& slice : golden.at("slices")) {
    const auto& tensor = model.tensor(slice.at("tensor").get<std::string>());
    const std::int64_t begin = slice["columns"][0], end = slice["columns"][1], width = end - begin;
    const auto columns = read_slice(tensor, 1, begin, end);
    const std::int64_t row = slice["rows"][0];
    const auto& expected = slice["values_f32_bits"];
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(bits(columns[static_cast<std::size_t>(row * width) + i]), expected[i]) << slice.dump();
    }
  }
  for (const auto& scalar : golden.at("scalars")) {
    const auto& tensor = model.tensor(scalar.at("tensor").get<std::string>());
    const std::int64_t row = scalar["index"][0];
    const std::size_t column = scalar["index"].size() == 2 ? scalar["index"][1].get<std::size_t>() : 0;
    EXPECT_EQ(bits(read_slice(tensor, 0, row, row + 1)[column]), scalar["value_f32_bits"]) << scalar.dump();
  }
}

// This one comes without a config.json; its shape stands in a text file.
TEST(BaseModel, OpensAModelInBfloat16) {
  const std::string_view name = "models/fixture-tiny-llama-bf16";
  const auto path = test::shared_path(name);
  if (!path) GTEST_SKIP() << test::missing_shared(name);
  std::map<std::string, std::string> facts;
  std::istringstream text(test::read_bytes(*path / "tiny_llama_meta.txt"));
  for (std::string line; std::getline(text, line);)
    facts[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1);
  ModelConfig config;
  config.vocabulary_size = std::stoll(facts.at("vocab_size"));
  config.hidden_size = std::stoll(facts.at("hidden_size"));
  config.intermediate_size = std::stoll(facts.at("intermediate_size"));
  config.layers = std::stoll(facts.at("num_hidden_layers"));
  config.query_heads = std::stoll(facts.at("num_attention_heads"));
  config.key_value_heads = std::stoll(facts.at("num_key_value_heads"));
  config.head_width = config.hidden_size / config.query_heads;
  config.norm_epsilon = std::stod(facts.at("rms_norm_eps"));
  config.rope.theta = std::stod(facts.at("rope_theta"));
  config.max_positions = std::stoll(facts.at("seq_len"));

  const ScratchFolder folder;
  write_model_config(folder.path(), config, "bfloat16");
  std::filesystem::create_symlink(std::filesystem::absolute(*path / "tiny_llama.safetensors"),
                                  folder / "model.safetensors");
  const BaseModel model(folder.path());
  const auto& tensor = model.tensor("model.layers.1.mlp.down_proj.weight");
  EXPECT_EQ(tensor.dtype, FileDType::bf16);
  const auto all = read_tensor(tensor);
  const auto columns = read_slice(tensor, 1, 96, 192);
  EXPECT_EQ(columns[5 * 96 + 7], all[5 * 192 + 96 + 7]);
  EXPECT_NE(columns[5 * 96 + 7], 0);
}

}  // namespace
}  // namespace chorus
