#include "core/formats/model_config.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/formats/model_tensors.h"
#include "ops/base/error.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using nlohmann::json;
using test::holds;
using test::message_of;
using test::ScratchFolder;
using test::write_bytes;

json valid() {
  return json::parse(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
      "intermediate_size": 172, "num_hidden_layers": 5, "num_attention_heads": 8, "num_key_value_heads": 4,
      "vocab_size": 512, "max_position_embeddings": 512, "rms_norm_eps": 1e-05,
      "tie_word_embeddings": true})");
}

json llama3() {
  return json::parse(
      R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 8192})");
}

ModelConfig read(const json& content) {
  const ScratchFolder folder;
  write_bytes(folder / "config.json", content.dump());
  return read_model_config(folder.path());
}

// What is said against the valid configuration with one field changed.
std::string refusal(std::string_view key, const json& value) {
  json content = valid();
  content[std::string(key)] = value;
  const auto message = message_of<DataError>([&] { read(content); });
  EXPECT_TRUE(holds(message, "config.json: "));
  return message;
}

TEST(ReadModelConfig, FillsInTheDefaultsOfHuggingFace) {
  const auto config = read(valid());
  EXPECT_EQ(config.head_width, 8);
  EXPECT_EQ(config.key_value_heads, 4);
  EXPECT_EQ(config.rope.theta, 10000);
  EXPECT_EQ(config.rope.scaling, std::nullopt);
  EXPECT_EQ(config.norm_epsilon, 1e-5);
  EXPECT_TRUE(config.tied_head);
  EXPECT_EQ(config.bos, 1);
  EXPECT_EQ(config.eos, std::vector<std::int32_t>{2});

  json content = valid();
  content.erase("num_key_value_heads");
  content.erase("tie_word_embeddings");
  content.erase("rms_norm_eps");
  content.erase("max_position_embeddings");
  content["head_dim"] = nullptr;
  content["bos_token_id"] = nullptr;
  content["eos_token_id"] = {3, 4};
  const auto defaults = read(content);
  EXPECT_EQ(defaults.key_value_heads, 8);
  EXPECT_FALSE(defaults.tied_head);
  EXPECT_EQ(defaults.norm_epsilon, 1e-6);
  EXPECT_EQ(defaults.max_positions, 2048);
  EXPECT_EQ(defaults.head_width, 8);
  EXPECT_EQ(defaults.bos, -1);
  EXPECT_EQ(defaults.eos, (std::vector<std::int32_t>{3, 4}));
}

TEST(ReadModelConfig, UnderstandsEverySpellingOfTheRotaryPart) {
  const RopeScaling expected{RopeType::llama3, 8, 1, 4, 8192};
  json content = valid();
  content["rope_theta"] = 500000;
  content["rope_scaling"] = llama3();
  EXPECT_EQ(read(content).rope.scaling, expected);
  EXPECT_EQ(read(content).rope.theta, 500000);

  content["rope_scaling"].erase("rope_type");
  content["rope_scaling"]["type"] = "llama3";
  EXPECT_EQ(read(content).rope.scaling, expected);

  content.erase("rope_theta");
  content.erase("rope_scaling");
  content["rope_parameters"] = llama3();
  content["rope_parameters"]["rope_theta"] = 300000.0;
  EXPECT_EQ(read(content).rope.scaling, expected);
  EXPECT_EQ(read(content).rope.theta, 300000);

  content["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 20000}};
  EXPECT_EQ(read(content).rope.scaling, std::nullopt);
  EXPECT_EQ(read(content).rope.theta, 20000);
  content["rope_parameters"] = {{"type", "default"}};
  EXPECT_EQ(read(content).rope.theta, 10000);
}

TEST(ReadModelConfig, UnderstandsLinearAndDynamicRotation) {
  json content = valid();
  for (const RopeType type : {RopeType::linear, RopeType::dynamic}) {
    const std::string name = type == RopeType::linear ? "linear" : "dynamic";
    content["rope_scaling"] = {{"type", name}, {"factor", 2.0}};
    EXPECT_EQ(read(content).rope.scaling, (RopeScaling{.type = type, .factor = 2}));
    content["rope_scaling"] = {{"rope_type", name}, {"factor", 1}};
    EXPECT_EQ(read(content).rope.scaling, (RopeScaling{.type = type, .factor = 1}));
  }
}

json yarn() { return {{"rope_type", "yarn"}, {"factor", 8.0}, {"original_max_position_embeddings", 128}}; }

TEST(ReadModelConfig, FillsInTheDefaultsOfYarn) {
  json content = valid();
  const auto read_yarn = [&](const json& more) {
    content["rope_scaling"] = yarn();
    content["rope_scaling"].update(more);
    return *read(content).rope.scaling;
  };
  RopeScaling expected{.type = RopeType::yarn, .factor = 8, .original_max_position = 128};
  expected.attention_factor = 0.1 * std::log(8.0) + 1;
  EXPECT_EQ(read_yarn(json::object()), expected);
  EXPECT_EQ(read_yarn({{"mscale", 0.7}, {"beta_fast", nullptr}}),
            expected);  // counts with mscale_all_dim only
  EXPECT_FALSE(read_yarn({{"truncate", nullptr}}).truncate);
  EXPECT_FALSE(read_yarn({{"truncate", false}}).truncate);
  EXPECT_EQ(read_yarn({{"factor", 1}}).attention_factor, 1);
  EXPECT_EQ(read_yarn({{"factor", 0.5}}).attention_factor, 1);
  EXPECT_EQ(read_yarn({{"attention_factor", 0.75}, {"mscale", 1}, {"mscale_all_dim", 2}}).attention_factor,
            0.75);
  EXPECT_NEAR(read_yarn({{"mscale", 1}, {"mscale_all_dim", 0.5}}).attention_factor, 1.094179988101349, 1e-15);
  content["rope_scaling"].erase("original_max_position_embeddings");
  EXPECT_EQ(read(content).rope.scaling->original_max_position, 512);
}

TEST(ReadGenerationEnds, JoinsNothingWhereThereIsNothing) {
  const ScratchFolder folder;
  EXPECT_TRUE(read_generation_ends(folder.path(), 10).empty());
  const auto ends_of = [&](std::string_view text) {
    test::write_bytes(folder / "generation_config.json", text);
    return read_generation_ends(folder.path(), 10);
  };
  EXPECT_TRUE(ends_of(R"({"do_sample": true})").empty());
  EXPECT_TRUE(ends_of(R"({"eos_token_id": null})").empty());
  EXPECT_EQ(ends_of(R"({"eos_token_id": 3})"), (std::vector<std::int32_t>{3}));
  EXPECT_EQ(ends_of(R"({"eos_token_id": [3, 4]})"), (std::vector<std::int32_t>{3, 4}));
  EXPECT_TRUE(holds(message_of<DataError>([&] { ends_of(R"({"eos_token_id": 10})"); }),
                    "generation_config.json: eos_token_id is 10, not an id below the vocab_size 10"));
}

TEST(ReadModelConfig, ReadsTheModelsAtHand) {
  struct Case {
    std::string_view folder;
    std::int64_t parameters;
  };
  for (const auto& [folder, parameters] :
       {Case{"models/stories260K", 260032}, Case{"models/stories3M", 3148224},
        Case{"models/babyllama-tok105", 936448}, Case{"models/fixture-tiny-llama-2shard", 302256},
        Case{"models/fixture-tiny-llama-hf-golden", 66176 / 4}}) {
    const auto path = test::shared_path(folder);
    if (!path) GTEST_SKIP() << test::missing_shared(folder);
    const auto config = read_model_config(*path);
    EXPECT_EQ(parameter_count(config), parameters) << folder;
    if (folder.ends_with("2shard")) {
      EXPECT_EQ(config.head_width, 16);
      EXPECT_EQ(features(config, Projection::o), (Features{48, 128}));
    }
    if (folder.ends_with("hf-golden")) {
      EXPECT_EQ(config.rope.scaling, (RopeScaling{RopeType::llama3, 8, 1, 4, 16}));
      EXPECT_EQ(config.rope.theta, 500000);
      EXPECT_EQ(config.norm_epsilon, 1e-6);
    }
  }
}

TEST(ReadModelConfig, RefusesOtherModels) {
  EXPECT_TRUE(holds(refusal("architectures", {"MistralForCausalLM"}),
                    R"(architectures is ["MistralForCausalLM"]; of the model_type "llama" only )"
                    R"(["LlamaForCausalLM"] can be read)"));
  for (const std::string type : {"qwen2_moe", "qwen3_moe", "mixtral", "gemma2", "gemma3_text", "phi3",
                                 "ministral", "smollm3", "olmo2", "llama4_text", "deepseek_v3", "gpt_neox"}) {
    EXPECT_TRUE(holds(refusal("model_type", type),
                      "model_type is \"" + type + R"("; can be read: "llama", "mistral", "qwen2", "qwen3")"));
  }
  json unnamed = valid();
  unnamed.erase("architectures");
  EXPECT_NO_THROW(read(unnamed));
  unnamed.erase("model_type");
  EXPECT_TRUE(holds(message_of<DataError>([&] { read(unnamed); }), "model_type is null"));
  unnamed["architectures"] = {"GemmaForCausalLM"};
  EXPECT_TRUE(holds(message_of<DataError>([&] { read(unnamed); }),
                    R"(architectures is ["GemmaForCausalLM"]; can be read: "LlamaForCausalLM", )"
                    R"("MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")"));
  EXPECT_TRUE(holds(refusal("hidden_act", "gelu"), R"(hidden_act is "gelu"; only "silu" is computed)"));
  EXPECT_TRUE(
      holds(refusal("attention_bias", true), "attention_bias is true; biases are computed of Qwen2 alone"));
  EXPECT_TRUE(holds(refusal("mlp_bias", true), "mlp_bias is true; an MLP with biases is not computed"));
  EXPECT_TRUE(holds(refusal("attention_dropout", 0.1), "attention_dropout is 0.1; "));
  EXPECT_TRUE(holds(refusal("partial_rotary_factor", 0.5), "partial_rotary_factor is 0.5; "));
  for (const char* method : {"bitsandbytes", "gptq", "awq", "fp8", "mxfp4", "compressed-tensors"}) {
    const json quantised{{"quant_method", method}};
    EXPECT_TRUE(holds(refusal("quantization_config", quantised),
                      "quantization_config is " + quantised.dump() + "; quantised weights cannot be read"));
  }
  EXPECT_TRUE(holds(refusal("use_sliding_window", true),
                    "use_sliding_window is true; windows of some layers are not computed"));
  EXPECT_TRUE(holds(refusal("layer_types", {"full_attention", "sliding_attention"}),
                    R"(layer_types has "sliding_attention"; only "full_attention" is computed)"));
  json qwen3 = valid();
  qwen3.update({{"architectures", {"Qwen3ForCausalLM"}}, {"model_type", "qwen3"}, {"attention_bias", true}});
  EXPECT_TRUE(holds(message_of<DataError>([&] { read(qwen3); }), "attention_bias is true; "));
}

json of_family(Family family) {
  json content = valid();
  content["architectures"] = {architecture(family)};
  content["model_type"] = model_type(family);
  return content;
}

TEST(ReadModelConfig, KnowsTheDefaultsOfEachFamily) {
  const auto without = [](Family family) {
    json content = of_family(family);
    for (const char* key : {"num_key_value_heads", "max_position_embeddings"}) content.erase(key);
    content["num_attention_heads"] = 32;
    return read(content);
  };
  const ModelConfig mistral = without(Family::mistral), qwen2 = without(Family::qwen2),
                    qwen3 = without(Family::qwen3);
  EXPECT_EQ(mistral.key_value_heads, 8);
  EXPECT_EQ(mistral.max_positions, 131072);
  EXPECT_EQ(mistral.sliding_window, 4096);
  EXPECT_EQ(mistral.bos, 1);
  for (const ModelConfig& qwen : {qwen2, qwen3}) {
    EXPECT_EQ(qwen.key_value_heads, 32);
    EXPECT_EQ(qwen.max_positions, 32768);
    EXPECT_EQ(qwen.sliding_window, std::nullopt);
    EXPECT_EQ(qwen.bos, -1);
    EXPECT_TRUE(qwen.eos.empty());
  }
  EXPECT_EQ(qwen2.head_width, 2);
  EXPECT_EQ(qwen3.head_width, 128);

  json unnamed = of_family(Family::qwen2);
  unnamed.erase("model_type");
  EXPECT_EQ(read(unnamed).family, Family::qwen2);
  unnamed = of_family(Family::qwen2);
  unnamed["attention_bias"] = true;  // which transformers does not read
  EXPECT_EQ(read(unnamed).family, Family::qwen2);
}

TEST(ReadModelConfig, ASlidingWindowBoundsTexts) {
  json content = of_family(Family::mistral);
  content["sliding_window"] = 100;
  EXPECT_EQ(read(content).longest_text(), 100);
  EXPECT_EQ(read(content).bound_of_texts(), "a sliding window of 100 tokens");
  for (const json& wide : {json(512), json(4096), json(nullptr)}) {
    content["sliding_window"] = wide;
    EXPECT_EQ(read(content).longest_text(), 512);
    EXPECT_EQ(read(content).bound_of_texts(), "512 positions");
  }
  content["sliding_window"] = 0;
  EXPECT_TRUE(holds(message_of<DataError>([&] { read(content); }), "sliding_window is 0, not above 0"));
  content = of_family(Family::qwen2);  // where it counts with use_sliding_window only
  content["sliding_window"] = 100;
  EXPECT_EQ(read(content).longest_text(), 512);
}

TEST(ReadModelConfig, RefusesOtherRotaryPositions) {
  for (const std::string type : {"longrope", "su", "mrope", "proportional", "ntk", "axial"}) {
    EXPECT_TRUE(holds(refusal("rope_parameters", {{"rope_type", type}}), "has the type \"" + type + "\"; "));
  }
  EXPECT_TRUE(
      holds(refusal("rope_scaling", {{"type", "longrope"}, {"factor", 2.0}}),
            R"(has the type "longrope"; "default", "linear", "dynamic", "llama3" and "yarn" are computed)"));
  EXPECT_TRUE(holds(refusal("rope_scaling", {{"type", "linear"}}), "of type linear has no factor"));
  EXPECT_TRUE(
      holds(refusal("rope_scaling", {{"type", "linear"}, {"factor", -2}}), "factor is -2, not above 0"));
  EXPECT_TRUE(holds(refusal("rope_scaling",
                            {{"type", "dynamic"}, {"factor", 2.0}, {"original_max_position_embeddings", 3}}),
                    "of type dynamic: original_max_position_embeddings is 3, below the "));
  EXPECT_TRUE(
      holds(refusal("rope_scaling", {{"rope_type", "yarn"}}), "rope_scaling of type yarn has no factor"));
  for (const char* key : {"beta_fast", "beta_slow", "attention_factor"}) {
    json broken = yarn();
    broken[key] = 0;
    EXPECT_TRUE(holds(refusal("rope_scaling", broken), std::string(key) + " is 0, not above 0"));
  }
  json later = yarn();
  later["finetuned"] = true;
  EXPECT_TRUE(holds(refusal("rope_scaling", later), "rope_scaling has the unknown field finetuned = true"));
  json scaling = llama3();
  scaling["mscale"] = 2;
  EXPECT_TRUE(holds(refusal("rope_scaling", scaling), "rope_scaling has the unknown field mscale = 2"));
  scaling = llama3();
  scaling.erase("factor");
  EXPECT_TRUE(holds(refusal("rope_scaling", scaling), "rope_scaling of type llama3 has no factor"));
  scaling = llama3();
  scaling["factor"] = 0;
  EXPECT_TRUE(holds(refusal("rope_scaling", scaling), "factor is 0, not above 0"));
  scaling = llama3();
  scaling["low_freq_factor"] = 4;
  EXPECT_TRUE(holds(refusal("rope_scaling", scaling), "low_freq_factor 4 is not below high_freq_factor 4"));
  scaling = llama3();
  scaling["original_max_position_embeddings"] = 0;
  EXPECT_TRUE(holds(refusal("rope_scaling", scaling), "original_max_position_embeddings is 0"));
  scaling.erase("original_max_position_embeddings");
  EXPECT_TRUE(holds(refusal("rope_scaling", scaling), "field 'original_max_position_embeddings' is missing"));
  EXPECT_TRUE(
      holds(refusal("rope_parameters", {{"partial_rotary_factor", 0.5}}), "partial_rotary_factor is 0.5"));
  EXPECT_TRUE(holds(refusal("rope_scaling", "llama3"), "rope_scaling: must be an object, is string"));
  EXPECT_TRUE(holds(refusal("rope_theta", 0), "rope_theta is 0, not above 0"));
  json content = valid();
  content["rope_scaling"] = yarn();
  content["rope_theta"] = 1;
  EXPECT_TRUE(
      holds(message_of<DataError>([&] { read(content); }), "rope_theta is 1, not above 1 as yarn needs"));
}

TEST(ReadModelConfig, RefusesContradictions) {
  json content = valid();
  content["rope_scaling"] = llama3();
  content["rope_parameters"] = {{"rope_type", "default"}};
  EXPECT_TRUE(holds(message_of<DataError>([&] { read(content); }), "contradict each other"));
  content["rope_parameters"] = llama3();
  EXPECT_NO_THROW(read(content));
  content["rope_parameters"]["rope_theta"] = 20000;
  content["rope_theta"] = 10000;
  EXPECT_TRUE(
      holds(message_of<DataError>([&] { read(content); }), "rope_theta is given as 10000 and as 20000"));

  // Of which transformers takes the outer one.
  for (const json& scaling : {llama3(), yarn()}) {
    content = valid();
    content["rope_scaling"] = scaling;
    content["original_max_position_embeddings"] = scaling["original_max_position_embeddings"];
    EXPECT_NO_THROW(read(content));
    content["original_max_position_embeddings"] = 100;
    EXPECT_TRUE(holds(message_of<DataError>([&] { read(content); }),
                      "original_max_position_embeddings is 100; it contradicts what the rotary part says"));
  }
}

TEST(ReadModelConfig, RefusesNumbersThatDoNotFit) {
  EXPECT_TRUE(holds(refusal("num_key_value_heads", 3),
                    "num_attention_heads 8 is no multiple of num_key_value_heads 3"));
  EXPECT_TRUE(holds(refusal("hidden_size", 65),
                    "hidden_size 65 is no multiple of num_attention_heads 8, and there is "
                    "no head_dim"));
  EXPECT_TRUE(holds(refusal("head_dim", 7), "the heads have the width 7, not an even number"));
  EXPECT_TRUE(holds(refusal("num_hidden_layers", 0), "num_hidden_layers is 0, not between 1 and 2147483647"));
  EXPECT_TRUE(holds(refusal("num_attention_heads", 0), "num_attention_heads 0"));
  EXPECT_TRUE(holds(refusal("num_key_value_heads", -4), "num_key_value_heads is -4"));
  EXPECT_TRUE(holds(refusal("vocab_size", 1LL << 40), "vocab_size is 1099511627776"));
  EXPECT_TRUE(holds(refusal("intermediate_size", "172"),
                    "field 'intermediate_size' must be a whole number of 64 bits, is \"172\""));
  EXPECT_TRUE(holds(refusal("max_position_embeddings", 0), "max_position_embeddings is 0"));
  EXPECT_TRUE(holds(refusal("rms_norm_eps", -1), "rms_norm_eps is -1"));
  EXPECT_TRUE(holds(refusal("bos_token_id", 512), "bos_token_id is 512, not an id below the vocab_size 512"));
  EXPECT_TRUE(holds(refusal("bos_token_id", {1, 2}), "bos_token_id is [1,2], not one id"));
  EXPECT_TRUE(holds(refusal("eos_token_id", {1, -1}), "eos_token_id is [1,-1], not an id"));
  json content = valid();
  content.erase("vocab_size");
  EXPECT_TRUE(
      holds(message_of<DataError>([&] { read(content); }), "config.json: field 'vocab_size' is missing"));
}

// Where they were believed, tables of all layers would take minutes and gigabytes, and products of sizes overflow.
TEST(ReadModelConfig, RefusesModelsBeyondAllThatThereAre) {
  EXPECT_TRUE(
      holds(refusal("num_hidden_layers", 2'000'000), "num_hidden_layers is 2000000, more than 10000"));
  EXPECT_TRUE(holds(refusal("num_hidden_layers", 200'000'000), "num_hidden_layers is 200000000, more than"));
  EXPECT_TRUE(
      holds(refusal("head_dim", 1LL << 40), "the heads have the width 1099511627776, not an even number"));
  json content = valid();
  content["hidden_size"] = content["intermediate_size"] = content["num_attention_heads"] =
      content["vocab_size"] = content["num_key_value_heads"] = 2147483647;
  content["head_dim"] = 2147483646;
  const std::string message = message_of<DataError>([&] { read(content); });
  EXPECT_TRUE(holds(message, "heads of width 2147483646 make"));
  EXPECT_TRUE(holds(message, "parameters, more than 10000000000000"));
  content = valid();
  content["num_hidden_layers"] = 10'000;
  EXPECT_NO_THROW(read(content));
}

TEST(ReadModelConfig, NamesAMissingFile) {
  const ScratchFolder folder;
  EXPECT_TRUE(holds(message_of<DataError>([&] { read_model_config(folder.path()); }),
                    (folder / "config.json").string() + ": no such file"));
}

TEST(WriteModelConfig, RoundTrips) {
  json content = valid();
  content["rope_theta"] = 500000.0;
  content["rope_scaling"] = llama3();
  content["eos_token_id"] = {2, 5};
  content["head_dim"] = 32;
  const ScratchFolder folder;
  for (int variant = 0; variant < 4; ++variant) {
    const auto config = read(content);
    write_model_config(folder.path(), config, "bfloat16");
    EXPECT_EQ(read_model_config(folder.path()), config);
    const auto written = json::parse(test::read_bytes(folder / "config.json"));
    EXPECT_EQ(written["torch_dtype"], "bfloat16");
    EXPECT_EQ(written["architectures"], json::array({"LlamaForCausalLM"}));
    content = valid();
    content["bos_token_id"] = nullptr;
    content["eos_token_id"] = nullptr;
    if (variant == 1) content["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2.5}};
    if (variant == 2) {
      content["rope_scaling"] = yarn();
      content["rope_scaling"].update(
          {{"beta_fast", 20}, {"beta_slow", 2}, {"truncate", false}, {"mscale", 1}, {"mscale_all_dim", 0.5}});
    }
  }
}

TEST(WriteModelConfig, KeepsTheFamily) {
  const ScratchFolder folder;
  for (const Family family : {Family::mistral, Family::qwen2, Family::qwen3}) {
    for (const json& window : {json(100), json(nullptr)}) {
      json content = of_family(family);
      content["sliding_window"] = window;
      const auto config = read(content);
      write_model_config(folder.path(), config, "float32");
      EXPECT_EQ(read_model_config(folder.path()), config);
      const auto written = json::parse(test::read_bytes(folder / "config.json"));
      EXPECT_EQ(written["architectures"], json::array({architecture(family)}));
      EXPECT_EQ(written["model_type"], model_type(family));
      EXPECT_EQ(written.contains("attention_bias"), family == Family::qwen3);
    }
  }
}

TEST(Projection, HasTheNamesOfHuggingFace) {
  EXPECT_EQ(name(Projection::q), "q_proj");
  EXPECT_EQ(name(Projection::down), "down_proj");
  EXPECT_EQ(module(Projection::o), "self_attn");
  EXPECT_EQ(module(Projection::gate), "mlp");
}

TEST(Features, FollowTheHeadWidth) {
  json content = valid();
  content["head_dim"] = 32;
  const auto config = read(content);
  EXPECT_EQ(features(config, Projection::q), (Features{256, 64}));
  EXPECT_EQ(features(config, Projection::k), (Features{128, 64}));
  EXPECT_EQ(features(config, Projection::v), (Features{128, 64}));
  EXPECT_EQ(features(config, Projection::o), (Features{64, 256}));
  EXPECT_EQ(features(config, Projection::gate), (Features{172, 64}));
  EXPECT_EQ(features(config, Projection::up), (Features{172, 64}));
  EXPECT_EQ(features(config, Projection::down), (Features{64, 172}));
}

TEST(RequireTensorParallel, SaysWhichNumbersWouldDo) {
  const auto config = read(valid());  // 8 and 4 heads, F 172 = 4 · 43
  for (const std::int64_t ranks : {1, 2, 4}) EXPECT_NO_THROW(require_tensor_parallel(config, ranks));
  EXPECT_EQ(
      message_of<ConfigurationError>([&] { require_tensor_parallel(config, 8); }),
      "--tensor-parallel 8 must divide the 8 query heads, the 4 key/value heads and the MLP width 172 of the "
      "base model; possible here: 1, 2, 4");
  EXPECT_TRUE(holds(message_of<ConfigurationError>([&] { require_tensor_parallel(config, 0); }), "1, 2, 4"));
  json content = valid();
  content["intermediate_size"] = 173;
  EXPECT_TRUE(holds(message_of<ConfigurationError>([&] { require_tensor_parallel(read(content), 2); }),
                    "possible here: 1"));
}

}  // namespace
}  // namespace chorus
