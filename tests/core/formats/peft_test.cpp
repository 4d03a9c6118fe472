#include "core/formats/peft.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "ops/bfloat16.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using nlohmann::json;
using test::holds;
using test::message_of;
using test::read_bytes;
using test::ScratchFolder;
using test::write_bytes;

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

LoraConfig small_lora() { return {4, 8, 0.05, false, {Projection::q, Projection::down}}; }

// Two layers of q (10 outputs, 6 inputs) and down (6 outputs, 12 inputs).
Shapes small_shapes() {
  Shapes shapes;
  for (std::int64_t layer = 0; layer < 2; ++layer) {
    shapes[peft_tensor_name(layer, Projection::q, LoraFactor::a)] = {4, 6};
    shapes[peft_tensor_name(layer, Projection::q, LoraFactor::b)] = {10, 4};
    shapes[peft_tensor_name(layer, Projection::down, LoraFactor::a)] = {4, 12};
    shapes[peft_tensor_name(layer, Projection::down, LoraFactor::b)] = {6, 4};
  }
  return shapes;
}

std::vector<TensorToWrite> tensors_of(const Shapes& shapes) {
  static const std::vector<float> values(200, 0.5F);
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, shape] : shapes) tensors.push_back({{name, FileDType::f32, shape}, values.data()});
  return tensors;
}

// What reading says against an adapter whose configuration or tensors were changed after writing.
std::string peft_refusal(const std::function<void(json&)>& change_config,
                         const std::function<void(Shapes&)>& change_tensors) {
  const ScratchFolder folder;
  write_peft(folder.path(), small_lora(), "base", tensors_of(small_shapes()));
  json config = json::parse(read_bytes(folder / "adapter_config.json"));
  change_config(config);
  write_bytes(folder / "adapter_config.json", config.dump());
  Shapes shapes = small_shapes();
  change_tensors(shapes);
  write_safetensors(folder / "adapter_model.safetensors", tensors_of(shapes));
  const auto message = message_of<DataError>([&] { read_peft(folder.path()); });
  EXPECT_TRUE(holds(message, folder.path().string()));
  return message;
}

std::string peft_refusal(std::string_view key, const json& value) {
  return peft_refusal([&](json& config) { config[std::string(key)] = value; }, [](Shapes&) {});
}

std::string peft_refusal(const std::function<void(Shapes&)>& change_tensors) {
  return peft_refusal([](json&) {}, change_tensors);
}

TEST(ReadPeft, SaysHowToSaveAnOldFormatAgain) {
  const ScratchFolder folder;
  write_peft(folder.path(), small_lora(), "base", tensors_of(small_shapes()));
  std::filesystem::rename(folder / "adapter_model.safetensors", folder / "adapter_model.bin");
  EXPECT_EQ(message_of<DataError>([&] { read_peft(folder.path()); }),
            folder.path().string() +
                " has adapter_model.bin and no adapter_model.safetensors; it must be saved "
                "again by PEFT with safe_serialization=True");
}

TEST(ReadPeft, NamesAFactorThatIsNotFinite) {
  const ScratchFolder folder;
  std::vector<TensorToWrite> tensors = tensors_of(small_shapes());
  std::vector<float> values(200, 0.5F);
  values[7] = std::numeric_limits<float>::infinity();
  const std::string spoilt = peft_tensor_name(1, Projection::q, LoraFactor::b);
  for (TensorToWrite& tensor : tensors) {
    if (tensor.name == spoilt) tensor.data = values.data();
  }
  write_peft(folder.path(), small_lora(), "base", tensors);
  const PeftAdapter adapter = read_peft(folder.path());
  EXPECT_EQ(adapter.values(0, Projection::q, LoraFactor::b), std::vector<float>(40, 0.5F));
  EXPECT_TRUE(
      holds(message_of<DataError>([&] { adapter.values(1, Projection::q, LoraFactor::b); }),
            "adapter_model.safetensors: the tensor " + spoilt + " holds numbers that are not finite"));
}

TEST(LoraConfig, Scales) {
  const auto scale = [](std::int64_t rank, double alpha, bool rslora) {
    return path_of({rank, alpha, 0, rslora, {Projection::q}}, 0, Projection::q)->scale;
  };
  EXPECT_EQ(scale(4, 8, false), 2);
  EXPECT_EQ(scale(16, 8, true), 2);
  EXPECT_DOUBLE_EQ(scale(8, 8, true), std::sqrt(8.0));
}

TEST(LoraConfig, PatternsDecideByPath) {
  LoraConfig config{4, 8, 0, false, {Projection::q, Projection::up}};
  config.patterns.rank = {{"q_proj", 2}, {"layers.3.mlp.up_proj", 8}, {R"(layers\.(1|2)\..*up_proj)", 16}};
  config.patterns.alpha = {{"self_attn.q_proj", 32}, {"proj", 64}, {"odel.layers.0.mlp.up_proj", 64}};
  const auto path = [&](std::int64_t layer, Projection which) { return path_of(config, layer, which); };
  EXPECT_EQ(path(0, Projection::q)->rank, 2);
  EXPECT_EQ(path(0, Projection::q)->scale, 16);
  EXPECT_EQ(path(0, Projection::up)->rank, 4);
  EXPECT_EQ(path(0, Projection::up)->scale, 2) << "a pattern ends a name behind a dot";
  EXPECT_EQ(path(2, Projection::up)->rank, 16);
  EXPECT_EQ(path(3, Projection::up)->rank, 8);
  EXPECT_EQ(path(13, Projection::up)->rank, 4);
  EXPECT_FALSE(path(0, Projection::v).has_value());
  config.patterns.layers = {1, 3};
  EXPECT_FALSE(path(0, Projection::q).has_value());
  EXPECT_TRUE(path(3, Projection::q).has_value());
  config.patterns.rank = {{"layers.1.self_attn.q_proj", 5}, {"q_proj", 6}};
  EXPECT_EQ(path(1, Projection::q)->rank, 5) << "the first counts";
  config.rslora = true;
  EXPECT_DOUBLE_EQ(path(3, Projection::q)->scale, 32 / std::sqrt(6.0));
}

TEST(LoraConfig, IsValidated) {
  EXPECT_NO_THROW(validate(small_lora()));
  const auto refused = [](const std::function<void(LoraConfig&)>& change) {
    LoraConfig config = small_lora();
    change(config);
    return message_of<ConfigurationError>([&] { validate(config); });
  };
  EXPECT_TRUE(holds(refused([](LoraConfig& c) { c.rank = 0; }), "--lora-rank 0: it must be above 0"));
  EXPECT_TRUE(holds(refused([](LoraConfig& c) { c.alpha = -1; }), "--lora-alpha -1"));
  EXPECT_TRUE(holds(refused([](LoraConfig& c) { c.dropout = 1; }),
                    "--lora-dropout 1: it must be at least 0 and below 1"));
  EXPECT_TRUE(holds(refused([](LoraConfig& c) { c.targets.clear(); }), "--lora-targets names no projection"));
}

TEST(ParseTargets, TakesShortAndLongNames) {
  using enum Projection;
  EXPECT_EQ(parse_targets("q,v"), (std::vector{q, v}));
  EXPECT_EQ(parse_targets("v_proj,q_proj"), (std::vector{q, v}));
  EXPECT_EQ(parse_targets("down"), (std::vector{down}));
  EXPECT_EQ(parse_targets("all"), (std::vector{q, k, v, o, gate, up, down}));
  EXPECT_EQ(parse_targets("all-linear"), (std::vector{q, k, v, o, gate, up, down}));
}

TEST(ParseTargets, NamesWhatItDoesNotKnow) {
  const auto refused = [](std::string_view text) {
    return message_of<ConfigurationError>([&] { parse_targets(text); });
  };
  EXPECT_EQ(refused("q,w"),
            "--lora-targets q,w: \"w\" is no projection; there are q, k, v, o, gate, up, down and all");
  EXPECT_TRUE(holds(refused(""), "\"\" is no projection"));
  EXPECT_TRUE(holds(refused("q,"), "\"\" is no projection"));
  EXPECT_TRUE(holds(refused("q, v"), "\" v\" is no projection"));
  EXPECT_TRUE(holds(refused("q,all"), "\"all\" is no projection"));
  EXPECT_TRUE(holds(refused("q,v,q_proj"), "q_proj is named twice"));
}

TEST(Peft, Names) {
  EXPECT_EQ(peft_tensor_name(3, Projection::q, LoraFactor::a),
            "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight");
  EXPECT_EQ(peft_tensor_name(11, Projection::gate, LoraFactor::b),
            "base_model.model.model.layers.11.mlp.gate_proj.lora_B.weight");
}

TEST(Peft, RoundTrips) {
  const ScratchFolder folder;
  LoraConfig config = small_lora();
  config.alpha = 2.5;
  config.rslora = true;
  write_peft(folder.path(), config, "some/base", tensors_of(small_shapes()));
  const auto adapter = read_peft(folder.path());
  EXPECT_EQ(adapter.config, config);
  EXPECT_EQ(adapter.base_name, "some/base");
  EXPECT_EQ(adapter.layers, 2);
  const auto& b = adapter.factor(1, Projection::down, LoraFactor::b);
  EXPECT_EQ(b.shape, (std::vector<std::int64_t>{6, 4}));
  EXPECT_EQ(read_tensor(b)[23], 0.5F);
  EXPECT_EQ(adapter.file.metadata().at("format"), "pt");
}

TEST(Peft, PatternsRoundTrip) {
  const ScratchFolder folder;
  LoraConfig config = small_lora();
  config.patterns.rank = {{"down_proj", 2}};
  config.patterns.alpha = {{"layers.1.self_attn.q_proj", 2.5}, {"q_proj", 32}};
  config.patterns.layers = {1, 7};  // of which a base of two layers has one
  Shapes shapes;
  shapes[peft_tensor_name(1, Projection::q, LoraFactor::a)] = {4, 6};
  shapes[peft_tensor_name(1, Projection::q, LoraFactor::b)] = {8, 4};
  shapes[peft_tensor_name(1, Projection::down, LoraFactor::a)] = {2, 12};
  shapes[peft_tensor_name(1, Projection::down, LoraFactor::b)] = {6, 2};
  write_peft(folder.path(), config, "base", tensors_of(shapes));
  const auto adapter = read_peft(folder.path());
  EXPECT_EQ(adapter.config, config);
  const auto written = json::parse(read_bytes(folder / "adapter_config.json"));
  EXPECT_EQ(written["alpha_pattern"].dump(), R"({"layers.1.self_attn.q_proj":2.5,"q_proj":32})");
  EXPECT_EQ(written["layers_to_transform"], (json{1, 7}));

  ModelConfig model;
  model.hidden_size = 6;
  model.intermediate_size = 12;
  model.layers = 2;
  model.query_heads = 2;
  model.key_value_heads = 2;
  model.head_width = 4;
  EXPECT_NO_THROW(require_fits(adapter, model));
  model.layers = 8;
  EXPECT_TRUE(holds(message_of<DataError>([&] { require_fits(adapter, model); }),
                    "has 2 layers, and the base model has 8"));
  model.layers = 1;
  EXPECT_TRUE(holds(message_of<DataError>([&] { require_fits(adapter, model); }),
                    "has 2 layers, and the base model has 1"));
}

TEST(Peft, OneLayerMayBeANumber) {
  const ScratchFolder folder;
  write_peft(folder.path(), small_lora(), "base", tensors_of(small_shapes()));
  json config = json::parse(read_bytes(folder / "adapter_config.json"));
  config["layers_to_transform"] = 1;
  config["layers_pattern"] = "layers";
  write_bytes(folder / "adapter_config.json", config.dump());
  EXPECT_TRUE(holds(message_of<DataError>([&] { read_peft(folder.path()); }),
                    "layers.0.mlp.down_proj.lora_A.weight, and 0 is none of the layers_to_transform"));
  Shapes shapes = small_shapes();
  std::erase_if(shapes, [](const auto& entry) { return entry.first.find("layers.0.") != std::string::npos; });
  write_safetensors(folder / "adapter_model.safetensors", tensors_of(shapes));
  EXPECT_EQ(read_peft(folder.path()).config.patterns.layers, (std::vector<std::int64_t>{1}));
}

// What multiplies all tensors is as important as they are.
TEST(Peft, TheConfigurationIsThatOfTheTensors) {
  const ScratchFolder folder;
  write_peft(folder.path(), small_lora(), "base", tensors_of(small_shapes()));
  EXPECT_EQ(read_peft(folder.path()).config, small_lora());
  json config = json::parse(read_bytes(folder / "adapter_config.json"));
  config["lora_alpha"] = 17;
  write_bytes(folder / "adapter_config.json", config.dump());
  const auto message = message_of<DataError>([&] { read_peft(folder.path()); });
  EXPECT_TRUE(holds(message, "adapter_config.json is damaged or of another adapter")) << message;
  EXPECT_TRUE(holds(message, "\"lora-alpha\":17.0"));
  std::string bytes = read_bytes(folder / "adapter_model.safetensors");
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_bytes(folder / "adapter_model.safetensors", bytes);
  EXPECT_TRUE(holds(message_of<DataError>([&] { read_peft(folder.path()); }), ".weight is damaged"));
}

TEST(Peft, ReadsBfloat16) {
  const ScratchFolder folder;
  write_peft(folder.path(), small_lora(), "base", tensors_of(small_shapes()));
  const std::vector<bfloat16> halves(200, bfloat16(0.75F));
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, shape] : small_shapes())
    tensors.push_back({{name, FileDType::bf16, shape}, halves.data()});
  write_safetensors(folder / "adapter_model.safetensors", tensors);
  EXPECT_EQ(read_peft(folder.path()).values(1, Projection::q, LoraFactor::b), std::vector<float>(40, 0.75F));
}

TEST(Peft, WritesTheFieldsOfPeft018) {
  const std::string_view name = "models/peft-config-smollm2-all-linear";
  const auto path = test::shared_path(name);
  if (!path) GTEST_SKIP() << test::missing_shared(name);
  // With the values of that file only the order of target_modules, a set in Python, may differ.
  auto expected = json::parse(read_bytes(*path / "adapter_config.json"));
  const ScratchFolder folder;
  const LoraConfig config{16, 32, 0.05, false, {all_projections.begin(), all_projections.end()}};
  Shapes shapes;
  for (const auto target : all_projections) {
    shapes[peft_tensor_name(0, target, LoraFactor::a)] = {16, 2};
    shapes[peft_tensor_name(0, target, LoraFactor::b)] = {3, 16};
  }
  write_peft(folder.path(), config, "HuggingFaceTB/SmolLM2-135M-Instruct", tensors_of(shapes));
  auto text = read_bytes(folder / "adapter_config.json");
  auto written = json::parse(text);
  EXPECT_EQ(text, written.dump(2) + "\n");
  for (auto* fields : {&expected, &written}) {
    auto& modules = (*fields)["target_modules"];
    std::sort(modules.begin(), modules.end());
  }
  EXPECT_EQ(written.dump(2), expected.dump(2));
}

TEST(Peft, ReadsTheTinyLlamaAdapterAndWritesItBack) {
  const std::string_view name = "models/peft-tinyllama-r4-qv";
  const auto path = test::shared_path(name);
  if (!path) GTEST_SKIP() << test::missing_shared(name);
  const auto adapter = read_peft(*path);
  EXPECT_EQ(adapter.config, (LoraConfig{4, 16, 0.1, false, {Projection::q, Projection::v}}));
  EXPECT_EQ(adapter.base_name, "TinyLlama/TinyLlama-1.1B-Chat-v1.0");
  EXPECT_EQ(adapter.layers, 22);
  EXPECT_EQ(adapter.factor(21, Projection::v, LoraFactor::b).shape, (std::vector<std::int64_t>{256, 4}));

  std::vector<TensorToWrite> tensors;
  for (const auto& view : adapter.file.tensors())
    tensors.push_back({{view.name, view.dtype, view.shape}, view.data});
  const ScratchFolder folder;
  write_peft(folder.path(), adapter.config, adapter.base_name, tensors);
  // The files differ by the metadata alone, in which ours has hashes.
  const auto again = read_peft(folder.path());
  ASSERT_EQ(again.file.tensors().size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorView &written = again.file.tensors()[i], &original = adapter.file.tensors()[i];
    EXPECT_EQ(written.name, original.name);
    EXPECT_EQ(written.shape, original.shape);
    EXPECT_TRUE(std::ranges::equal(written.bytes(), original.bytes())) << original.name;
  }
  const auto theirs = json::parse(read_bytes(*path / "adapter_config.json"));
  const auto ours = json::parse(read_bytes(folder / "adapter_config.json"));
  for (const auto& [key, value] : theirs.items()) EXPECT_EQ(ours.at(key), value) << key;

  ModelConfig model;
  model.hidden_size = 2048;
  model.intermediate_size = 5632;
  model.layers = 22;
  model.query_heads = 32;
  model.key_value_heads = 4;
  model.head_width = 64;
  EXPECT_NO_THROW(require_fits(adapter, model));
  model.key_value_heads = 8;
  EXPECT_TRUE(
      holds(message_of<DataError>([&] { require_fits(adapter, model); }),
            "v_proj has 2048 inputs and 256 outputs, and in the base model 2048 and 512; it was made for "
            "another model"));
  model.layers = 21;
  EXPECT_TRUE(holds(message_of<DataError>([&] { require_fits(adapter, model); }),
                    "has 22 layers, and the base model has 21"));
}

TEST(Peft, ReadsTheAdaptersOfTheGoldenRuns) {
  struct Case {
    std::string_view folder, model;
    std::int64_t rank;
    double scale;
  };
  for (const auto& [folder, model, rank, factor] :
       {Case{"golden/stories260K-qv-constant/initial", "models/stories260K", 8, 2},
        Case{"golden/stories3M-all-cosine/final", "models/stories3M", 16, 2},
        Case{"golden/2shard-all-linear-clip/final", "models/fixture-tiny-llama-2shard", 4, 2},
        Case{"golden/hf-llama3rope-kogd/final", "models/fixture-tiny-llama-hf-golden", 8, 1}}) {
    const auto path = test::shared_path(folder), model_path = test::shared_path(model);
    if (!path || !model_path) GTEST_SKIP() << test::missing_shared(folder);
    const auto adapter = read_peft(*path);
    EXPECT_EQ(adapter.config.rank, rank) << folder;
    EXPECT_EQ(path_of(adapter.config, 0, adapter.config.targets[0])->scale, factor) << folder;
    EXPECT_NO_THROW(require_fits(adapter, read_model_config(*model_path))) << folder;
  }
}

TEST(Peft, UnderstandsAllLinear) {
  const auto message = peft_refusal("target_modules", "all-linear");
  EXPECT_TRUE(holds(message, "has 2 layers and lacks")) << "all seven are expected then";
  EXPECT_TRUE(holds(message, "layers.0.self_attn.k_proj.lora_A.weight"));
}

TEST(Peft, RefusesWhatItDoesNotCompute) {
  EXPECT_TRUE(holds(peft_refusal("use_dora", true),
                    "adapter_config.json: use_dora is true; Chorus computes plain LoRA"));
  EXPECT_TRUE(holds(peft_refusal("bias", "all"), "bias is \"all\"; only \"none\" can be read"));
  for (const std::string pattern : {"(?P<x>q_proj)", R"(\Aq_proj)", R"((q)\1_proj)", "q_proj(", "q_proj["}) {
    EXPECT_TRUE(holds(peft_refusal("rank_pattern", {{pattern, 2}}),
                      "rank_pattern has \"" + pattern + "\", an expression that cannot be read"));
  }
  EXPECT_TRUE(holds(peft_refusal("layers_to_transform", {0, -1}),
                    "layers_to_transform is [0,-1]; numbers of layers can be read, from 0"));
  EXPECT_TRUE(holds(peft_refusal("layers_pattern", "blocks"), "layers_pattern is \"blocks\"; only"));
  EXPECT_TRUE(holds(peft_refusal("a_later_invention", 1), "a_later_invention is 1;"));
  EXPECT_TRUE(holds(peft_refusal("peft_type", "IA3"), "peft_type is \"IA3\"; only \"LORA\" can be read"));
  EXPECT_TRUE(holds(peft_refusal("task_type", "SEQ_CLS"), "task_type is \"SEQ_CLS\""));
  EXPECT_TRUE(holds(peft_refusal("init_lora_weights", "pissa"),
                    "init_lora_weights is \"pissa\", which changes the weights"));
  EXPECT_TRUE(
      holds(peft_refusal("target_modules", ".*q_proj"), "target_modules is \".*q_proj\"; a list of names"));
  EXPECT_TRUE(holds(peft_refusal("target_modules", {"q_proj", "lm_head"}),
                    "target_modules has \"lm_head\"; known are"));
  EXPECT_TRUE(holds(peft_refusal("target_modules", {"q"}), "target_modules has \"q\"; known are"));
  EXPECT_TRUE(holds(peft_refusal("target_modules", json::array()), "target_modules is []"));
}

// A field of LoraConfig of PEFT 0.21, and a value with which it changes the result.
class PeftFields : public testing::TestWithParam<std::pair<std::string, json>> {};

TEST_P(PeftFields, AreRefusedByName) {
  const auto& [field, value] = GetParam();
  EXPECT_TRUE(holds(peft_refusal(field, value), "adapter_config.json: " + field + " is " + value.dump()));
}

std::string field_name(const testing::TestParamInfo<std::pair<std::string, json>>& info) {
  const auto& [field, value] = info.param;
  return value.is_string() ? field + "_" + value.get<std::string>() : field;
}

INSTANTIATE_TEST_SUITE_P(
    Variants, PeftFields,
    testing::Values(std::pair{"use_dora", json(true)}, std::pair{"use_qalora", json(true)},
                    std::pair{"use_bdlora", json{{"nblocks", 2}}}, std::pair{"lora_bias", json(true)},
                    std::pair{"fan_in_fan_out", json(true)}, std::pair{"ensure_weight_tying", json(true)},
                    std::pair{"alora_invocation_tokens", json{1, 2}},
                    std::pair{"arrow_config", json{{"top_k", 2}}},
                    std::pair{"kasa_config", json{{"beta", 1}}},
                    std::pair{"velora_config", json{{"num_groups", 2}}},
                    std::pair{"monteclora_config", json{{"num_samples", 2}}},
                    std::pair{"megatron_config", json{{"hidden_size", 8}}}),
    field_name);
INSTANTIATE_TEST_SUITE_P(MoreIsTrained, PeftFields,
                         testing::Values(std::pair{"modules_to_save", json{"lm_head"}},
                                         std::pair{"trainable_token_indices", json{1, 2}},
                                         std::pair{"target_parameters", json{"mlp.experts.down_proj"}},
                                         std::pair{"layer_replication", json{{0, 1}, {0, 1}}},
                                         std::pair{"exclude_modules", json("q_proj")},
                                         std::pair{"bias", json("all")},
                                         std::pair{"bias", json("lora_only")}),
                         field_name);
// These take a part of the base's weights, or are not known to leave them.
INSTANTIATE_TEST_SUITE_P(Initialisations, PeftFields,
                         testing::Values(std::pair{"init_lora_weights", json("pissa")},
                                         std::pair{"init_lora_weights", json("pissa_niter_4")},
                                         std::pair{"init_lora_weights", json("olora")},
                                         std::pair{"init_lora_weights", json("corda")},
                                         std::pair{"init_lora_weights", json("loftq")},
                                         std::pair{"init_lora_weights", json("lora_ga")},
                                         std::pair{"init_lora_weights", json("mica")}),
                         field_name);

TEST(Peft, ReadsInitialisationsThatLeaveTheBase) {
  for (const json& value : {json(true), json(false), json("gaussian"), json("eva"), json("orthogonal")}) {
    const ScratchFolder folder;
    write_peft(folder.path(), small_lora(), "base", tensors_of(small_shapes()));
    json config = json::parse(read_bytes(folder / "adapter_config.json"));
    config["init_lora_weights"] = value;
    write_bytes(folder / "adapter_config.json", config.dump());
    EXPECT_EQ(read_peft(folder.path()).config, small_lora()) << value;
  }
}

TEST(Peft, RefusesNumbersThatMakeNoSense) {
  EXPECT_TRUE(holds(peft_refusal("r", 0), "r is 0, not above 0"));
  EXPECT_TRUE(holds(peft_refusal("r", "4"), "field 'r' must be a whole number of 64 bits, is \"4\""));
  EXPECT_TRUE(holds(peft_refusal("r", nullptr), "field 'r' is missing"));
  EXPECT_TRUE(holds(peft_refusal("lora_dropout", 1.5), "lora_dropout is 1.5, not at least 0 and below 1"));
  EXPECT_TRUE(holds(peft_refusal("rank_pattern", {{"q_proj", 0}}), "rank_pattern: q_proj is 0, not above 0"));
  EXPECT_TRUE(holds(peft_refusal("rank_pattern", {{"down_proj", 3}}),
                    "down_proj.lora_A.weight is [4, 12], not [r, inputs] with r = 3"));
  EXPECT_TRUE(holds(peft_refusal("alpha_pattern", {{"q_proj", nullptr}}),
                    "alpha_pattern: q_proj is null, not a number"));
  EXPECT_TRUE(holds(peft_refusal("r", 8), "q_proj.lora_B.weight is [10, 4], not [outputs, r] with r = 8") ||
              holds(peft_refusal("r", 8), "not [r, inputs] with r = 8"));
}

TEST(Peft, RefusesTensorsThatDoNotFit) {
  const auto q1_a = peft_tensor_name(1, Projection::q, LoraFactor::a);
  const auto missing = peft_refusal([&](Shapes& shapes) { shapes.erase(q1_a); });
  EXPECT_TRUE(holds(missing, "adapter_model.safetensors has 2 layers and lacks:\n  " + q1_a));
  EXPECT_TRUE(holds(peft_refusal([&](Shapes& shapes) {
                      shapes[q1_a] = {4, 7};
                    }),
                    q1_a + " is [4, 7], and in another layer it has 6 inputs"));
  EXPECT_TRUE(holds(peft_refusal([&](Shapes& shapes) {
                      shapes[q1_a] = {6, 4};
                    }),
                    q1_a + " is [6, 4], not [r, inputs] with r = 4"));
  EXPECT_TRUE(
      holds(peft_refusal([&](Shapes& shapes) { shapes[q1_a] = {24}; }), q1_a + " is [24], not [r, inputs]"));
  EXPECT_TRUE(holds(peft_refusal([](Shapes& shapes) { shapes["lm_head.weight"] = {4}; }),
                    "has the tensor lm_head.weight, which is no LoRA factor of a LLaMA"));
  EXPECT_TRUE(holds(peft_refusal([](Shapes& shapes) {
                      shapes["base_model.model.model.layers.01.self_attn.q_proj.lora_A.weight"] = {4, 6};
                    }),
                    "which is no LoRA factor"));
  EXPECT_TRUE(holds(peft_refusal([](Shapes& shapes) {
                      shapes["base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight"] = {4, 6};
                    }),
                    "and v_proj is none of the target_modules"));
  // A layer number out of all proportion must end quickly, too.
  const auto far = peft_refusal([](Shapes& shapes) {
    shapes[peft_tensor_name(2'000'000'000, Projection::q, LoraFactor::a)] = {4, 6};
  });
  EXPECT_TRUE(holds(far, "has 2000000001 layers and lacks, among others:"));
  EXPECT_TRUE(holds(peft_refusal([](Shapes& shapes) { shapes.clear(); }), "has no tensors"));
}

TEST(Peft, NamesMissingFiles) {
  const ScratchFolder folder;
  EXPECT_TRUE(holds(message_of<DataError>([&] { read_peft(folder.path()); }),
                    (folder / "adapter_config.json").string() + ": no such file"));
  write_peft(folder.path(), small_lora(), "base", tensors_of(small_shapes()));
  std::filesystem::remove(folder / "adapter_model.safetensors");
  EXPECT_TRUE(holds(message_of<DataError>([&] { read_peft(folder.path()); }),
                    "cannot open " + (folder / "adapter_model.safetensors").string()));
}

TEST(WritePeft, RefusesDefectsOfTheCaller) {
  const ScratchFolder folder;
  auto tensors = tensors_of(small_shapes());
  tensors.pop_back();
  EXPECT_TRUE(holds(message_of<DataError>([&] { write_peft(folder.path(), small_lora(), "base", tensors); }),
                    "has 2 layers and lacks"));
  tensors = tensors_of(small_shapes());
  tensors[0].dtype = FileDType::i8;
  EXPECT_TRUE(holds(message_of<Error>([&] { write_peft(folder.path(), small_lora(), "base", tensors); }),
                    "of an adapter is I8"));
  LoraConfig config = small_lora();
  config.rank = 0;
  EXPECT_TRUE(
      holds(message_of<ConfigurationError>([&] { write_peft(folder.path(), config, "base", tensors); }),
            "--lora-rank 0"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace chorus
