#include "core/formats/merge.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/formats/model_writer.h"
#include "core/formats/portable_adapter.h"
#include "core/scoring/text_logits.h"
#include "data/text/json.h"
#include "ops/checked_backend.h"
#include "ops/cpu/cpu_backend.h"
#include "tests/core/passes.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/scratch.h"

namespace chorus {
namespace {

using test::holds;
using test::message_of;
using test::ScratchFolder;

const std::vector<std::int32_t> text{1, 5, 9, 33, 0, 17, 30, 2, 8, 36, 21, 4};

struct Kind {
  std::string name;
  Family family = Family::llama;
  FileDType dtype = FileDType::f32;
  bool tied_head = false;
};

void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

// Of three shards or more.
void write_base(const std::filesystem::path& folder, const Kind& kind) {
  ModelConfig config = test::tiny_config();
  config.family = kind.family;
  config.tied_head = kind.tied_head;
  std::map<std::string, ModelTensor> by_name;
  std::vector<TensorDescription> descriptions;
  for (const ModelTensor& tensor : model_tensors(config)) {
    by_name[tensor.name] = tensor;
    descriptions.push_back({tensor.name, kind.dtype, tensor.shape});
  }
  const auto values = test::random_weights(config);
  const auto shards = cut_into_shards(descriptions, 4000);
  create_folder(folder);
  ModelWriter writer(folder, shards);
  for (const auto& shard : shards) {
    for (const TensorDescription& tensor : shard) writer.append(values(by_name.at(tensor.name)));
  }
  writer.finish();
  write_model_config(folder, config, "float32");
  test::write_bytes(folder / "tokenizer.model", "only copied, never read");
  test::write_bytes(folder / "generation_config.json", "{}");
}

LoraConfig with_patterns() {
  LoraConfig lora = test::tiny_lora(0.1);
  lora.patterns.rank = {{"q_proj", 5}, {"layers.1.mlp.down_proj", 1}};
  lora.patterns.alpha = {{"k_proj", 1.5}};
  return lora;
}

PeftAdapter write_adapter(const std::filesystem::path& folder, const LoraConfig& lora,
                          FileDType dtype = FileDType::f32) {
  const ModelConfig config = test::tiny_config();
  std::vector<std::vector<std::byte>> bytes;
  std::vector<TensorToWrite> tensors;
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    for (const Projection which : lora.targets) {
      const auto path = path_of(lora, layer, which);
      if (!path) continue;
      const Features size = features(config, which);
      for (const LoraFactor factor : {LoraFactor::a, LoraFactor::b}) {
        const std::vector<std::int64_t> shape = factor == LoraFactor::a
                                                    ? std::vector{path->rank, size.inputs}
                                                    : std::vector{size.outputs, path->rank};
        std::vector<float> values(static_cast<std::size_t>(shape[0] * shape[1]));
        for (std::size_t i = 0; i < values.size(); ++i) {
          const auto stream = static_cast<std::uint32_t>(tensors.size());
          values[i] = 0.5F * uniform(random_word(3, RandomUse::initial_value, stream, i)) - 0.25F;
        }
        bytes.push_back(stored_as(dtype, values));
        tensors.push_back({{peft_tensor_name(layer, which, factor), dtype, shape}, nullptr});
      }
    }
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) tensors[i].data = bytes[i].data();
  create_folder(folder);
  write_peft(folder, lora, "base", tensors);
  return read_peft(folder);
}

std::vector<float> logits_of(const BaseModel& base, const PeftAdapter* adapter) {
  CpuBackend cpu(1);
  CheckedBackend backend(cpu);
  IdleCommunicator solo;
  ModelOptions options;
  if (adapter != nullptr) options.lora = adapter->config;
  BaseSetup setup(base.config(), options, backend, test::solo_groups(solo));
  setup.llama.load(base);
  ModelSetup model(setup, options, {.tokens = std::ssize(text), .logits = true});
  if (adapter != nullptr) model.model.adapters().load(*adapter);
  return text_logits(model.model, text, model.activations);
}

// s B A, row by row.
std::vector<double> product(const PeftAdapter& adapter, std::int64_t layer, Projection which) {
  const LoraPath path = path_of(adapter.config, layer, which).value();
  const std::vector<float> a = adapter.values(layer, which, LoraFactor::a),
                           b = adapter.values(layer, which, LoraFactor::b);
  const std::size_t rank = static_cast<std::size_t>(path.rank), inputs = a.size() / rank,
                    outputs = b.size() / rank;
  std::vector<double> sums(outputs * inputs);
  for (std::size_t o = 0; o < outputs; ++o) {
    for (std::size_t k = 0; k < rank; ++k) {
      for (std::size_t i = 0; i < inputs; ++i)
        sums[o * inputs + i] +=
            path.scale * static_cast<double>(b[o * rank + k]) * static_cast<double>(a[k * inputs + i]);
    }
  }
  return sums;
}

double unit(FileDType dtype) {
  return dtype == FileDType::f32 ? 0x1p-24 : dtype == FileDType::f16 ? 0x1p-11 : 0x1p-8;
}

std::int64_t merge(const BaseModel& base, const PeftAdapter& adapter, const std::filesystem::path& folder) {
  CpuBackend cpu(1);
  CheckedBackend backend(cpu);
  create_folder(folder);
  return write_merged(base, adapter, folder, backend);
}

class Merge : public testing::TestWithParam<Kind> {
 protected:
  ScratchFolder scratch_;
};

TEST_P(Merge, IsBaseAndAdapterUpToRounding) {
  write_base(scratch_ / "base", GetParam());
  const BaseModel base(scratch_ / "base");
  const PeftAdapter adapter = write_adapter(scratch_ / "adapter", with_patterns());
  EXPECT_EQ(merge(base, adapter, scratch_ / "merged"), 14);
  const BaseModel merged(scratch_ / "merged");
  for (const ModelTensor& tensor : model_tensors(base.config())) {
    const TensorView &before = base.tensor(tensor.name), &after = merged.tensor(tensor.name);
    ASSERT_EQ(after.dtype, before.dtype) << tensor.name;
    if (tensor.role != TensorRole::projection) {
      EXPECT_TRUE(std::ranges::equal(before.bytes(), after.bytes())) << tensor.name;
      continue;
    }
    const std::vector<float> w = read_tensor(before), sum = read_tensor(after);
    const std::vector<double> added = product(adapter, tensor.layer, tensor.projection);
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double exact = static_cast<double>(w[i]) + added[i];
      // One rounding to the type after a few in f32 of terms below 1; F16 has subnormal numbers.
      ASSERT_NEAR(sum[i], exact, unit(before.dtype) * std::abs(exact) + 0x1p-24 * 4)
          << tensor.name << " " << i;
    }
  }
  const std::vector<float> alone = logits_of(base, nullptr), expected = logits_of(base, &adapter),
                           logits = logits_of(merged, nullptr);
  double largest = 0, difference = 0, change = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    difference = std::max(difference, std::abs(static_cast<double>(expected[i] - logits[i])));
    change = std::max(change, std::abs(static_cast<double>(expected[i] - alone[i])));
  }
  const MergeRounding rounding = merge_rounding(base, adapter);
  EXPECT_EQ(rounding.dtype, GetParam().dtype);
  EXPECT_LT(difference, rounding.relative * largest);
  EXPECT_GT(change, 5 * rounding.relative * largest) << "the adapter hardly does anything";
}

TEST_P(Merge, KeepsFilesAndWhatIsBesideThem) {
  write_base(scratch_ / "base", GetParam());
  merge(BaseModel(scratch_ / "base"), write_adapter(scratch_ / "adapter", with_patterns()),
        scratch_ / "merged");
  int shards = 0;
  for (const auto& entry : std::filesystem::directory_iterator(scratch_ / "base")) {
    const std::filesystem::path name = entry.path().filename(), copy = scratch_ / "merged" / name;
    ASSERT_TRUE(std::filesystem::exists(copy)) << copy;
    if (name.extension() != ".safetensors") {
      EXPECT_EQ(test::read_bytes(copy), test::read_bytes(entry.path())) << name;
      continue;
    }
    ++shards;
    const SafetensorsFile before(entry.path()), after(copy);
    EXPECT_EQ(after.metadata(), before.metadata());
    ASSERT_EQ(after.tensors().size(), before.tensors().size());
    for (const TensorView& tensor : before.tensors()) EXPECT_TRUE(after.contains(tensor.name)) << tensor.name;
  }
  EXPECT_GE(shards, 3);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "merged/model.safetensors"));
}

INSTANTIATE_TEST_SUITE_P(All, Merge,
                         testing::Values(Kind{"llama"}, Kind{"llama_bf16", Family::llama, FileDType::bf16},
                                         Kind{"tied_f16", Family::llama, FileDType::f16, true},
                                         Kind{"mistral", Family::mistral},
                                         Kind{"qwen2_tied", Family::qwen2, FileDType::f32, true},
                                         Kind{"qwen2_bf16", Family::qwen2, FileDType::bf16},
                                         Kind{"qwen3", Family::qwen3}),
                         [](const auto& info) { return info.param.name; });

// A head that is stored beside the embedding it is tied to, and buffers, stand in the file as before.
TEST(MergeCopies, WhatIsPassedOver) {
  const ScratchFolder scratch;
  write_base(scratch / "base", {.name = "tied", .tied_head = true});
  std::vector<TensorToWrite> tensors;
  const std::vector<float> frequencies(4, 0.5F);
  const BaseModel plain(scratch / "base");
  for (const ModelTensor& tensor : model_tensors(plain.config()))
    tensors.push_back({{tensor.name, FileDType::f32, tensor.shape}, plain.tensor(tensor.name).data});
  tensors.push_back({{"lm_head.weight", FileDType::f32, tensors[0].shape}, tensors[0].data});
  tensors.push_back(
      {{"model.layers.0.self_attn.rotary_emb.inv_freq", FileDType::f32, {4}}, frequencies.data()});
  create_folder(scratch / "single");
  write_safetensors(scratch / "single/model.safetensors", tensors, {{"format", "pt"}, {"made", "by hand"}});
  std::filesystem::copy_file(scratch / "base/config.json", scratch / "single/config.json");
  merge(BaseModel(scratch / "single"), write_adapter(scratch / "adapter", with_patterns()),
        scratch / "merged");
  const SafetensorsFile merged(scratch / "merged/model.safetensors");
  EXPECT_EQ(merged.metadata().at("made"), "by hand");
  EXPECT_EQ(read_tensor(merged.tensor("model.layers.0.self_attn.rotary_emb.inv_freq")), frequencies);
  EXPECT_EQ(read_tensor(merged.tensor("lm_head.weight")),
            read_tensor(merged.tensor("model.embed_tokens.weight")));
  EXPECT_NO_THROW(BaseModel(scratch / "merged"));
}

TEST(MergeRefuses, SumsThatTheTypeCannotHold) {
  const ScratchFolder scratch;
  write_base(scratch / "base", {.name = "half", .dtype = FileDType::f16});
  LoraConfig lora = with_patterns();
  lora.alpha = 1e7;
  const PeftAdapter adapter = write_adapter(scratch / "adapter", lora);
  const std::string message =
      message_of<DataError>([&] { merge(BaseModel(scratch / "base"), adapter, scratch / "merged"); });
  EXPECT_TRUE(holds(message, "give numbers that F16 cannot hold"));
  EXPECT_TRUE(holds(message, "the tensor model.layers.0."));
}

TEST(MergeRefuses, ADiskThatIsFull) {
  const ScratchFolder scratch;
  write_base(scratch / "base", {.name = "llama"});
  const PeftAdapter adapter = write_adapter(scratch / "adapter", with_patterns());
  const test::FileSizeLimit limit(1000);
  const std::string message =
      message_of<DataError>([&] { merge(BaseModel(scratch / "base"), adapter, scratch / "merged"); });
  EXPECT_TRUE(holds(message, "cannot write " + (scratch / "merged/model-00001-of-").string()));
  EXPECT_TRUE(std::filesystem::is_empty(scratch / "merged"));
}

// --- adapters for other programs

// What a program computes that knows r and lora_alpha alone, against the original.
void expect_same_effect(const PeftAdapter& original, const std::filesystem::path& folder) {
  const PeftAdapter portable = read_peft(folder);
  const nlohmann::json config = read_json_file(folder / "adapter_config.json");
  EXPECT_EQ(config["use_rslora"], false);
  EXPECT_TRUE(config["rank_pattern"].empty() && config["alpha_pattern"].empty());
  EXPECT_TRUE(config["modules_to_save"].is_null());
  EXPECT_GT(config["lora_alpha"], 0) << "llama.cpp would take a scale of 1";
  EXPECT_EQ(portable.config.patterns.layers, original.config.patterns.layers);
  ASSERT_EQ(portable.file.tensors().size(), original.file.tensors().size());
  const double scale = config["lora_alpha"].get<double>() / config["r"].get<double>();
  for (std::int64_t layer = 0; layer < original.layers; ++layer) {
    for (const Projection which : original.config.targets) {
      if (!path_of(original.config, layer, which)) continue;
      EXPECT_EQ(portable.factor(layer, which, LoraFactor::a).shape[0], config["r"]);
      EXPECT_DOUBLE_EQ(path_of(portable.config, layer, which)->scale, scale);
      const std::vector<double> expected = product(original, layer, which),
                                own = product(portable, layer, which);
      ASSERT_EQ(own.size(), expected.size());
      // Each of a few products below 1 is rounded once where it was scaled.
      for (std::size_t i = 0; i < own.size(); ++i) ASSERT_NEAR(own[i], expected[i], 0x1p-22) << name(which);
    }
  }
}

TEST(PortableAdapter, FoldsTheScaleOfRslora) {
  const ScratchFolder scratch;
  LoraConfig lora = test::tiny_lora(0.1);
  lora.rslora = true;
  const PeftAdapter adapter = write_adapter(scratch / "a", lora, FileDType::bf16);
  const PortableChanges changes = write_portable(adapter, scratch.path());
  EXPECT_TRUE(changes.folded_rslora && !changes.folded_scales);
  EXPECT_EQ(changes.padded, 0);
  EXPECT_DOUBLE_EQ(changes.alpha, 6 * std::sqrt(3.0));
  expect_same_effect(adapter, scratch.path());
  const SafetensorsFile before(scratch / "a/adapter_model.safetensors"),
      after(scratch / "adapter_model.safetensors");
  for (const TensorView& tensor : before.tensors()) {
    EXPECT_EQ(after.tensor(tensor.name).dtype, FileDType::bf16);
    EXPECT_TRUE(std::ranges::equal(after.tensor(tensor.name).bytes(), tensor.bytes())) << tensor.name;
  }
}

TEST(PortableAdapter, PlainOnesStayAsTheyAre) {
  const ScratchFolder scratch;
  LoraConfig lora = test::tiny_lora(0.1);
  lora.alpha = 5;  // 5 / 3 * 3 would round
  lora.patterns.layers = {1};
  const PeftAdapter adapter = write_adapter(scratch / "a", lora);
  const PortableChanges changes = write_portable(adapter, scratch.path());
  EXPECT_TRUE(!changes.folded_rslora && !changes.folded_scales);
  EXPECT_EQ(read_peft(scratch.path()).config, lora);
  expect_same_effect(adapter, scratch.path());
}

TEST(PortableAdapter, PadsRanksAndFoldsScales) {
  const ScratchFolder scratch;
  for (const bool rslora : {false, true}) {
    LoraConfig lora = with_patterns();
    lora.rslora = rslora;
    const PeftAdapter adapter = write_adapter(scratch / "a", lora, FileDType::f16);
    const PortableChanges changes = write_portable(adapter, scratch.path());
    EXPECT_TRUE(changes.folded_scales);
    EXPECT_EQ(changes.rank, 5);
    EXPECT_EQ(changes.padded, 12) << "all but q of two layers";
    expect_same_effect(adapter, scratch.path());
    const SafetensorsFile file(scratch / "adapter_model.safetensors");
    for (const TensorView& tensor : file.tensors()) EXPECT_EQ(tensor.dtype, FileDType::f32) << tensor.name;
  }
}

// Chorus writes none such, so that this one is another program's: its tensors do not say what they were written for.
TEST(PortableAdapter, AnAlphaOfNothingIsNoScaleOfOne) {
  const ScratchFolder scratch;
  const PeftAdapter own = write_adapter(scratch / "own", test::tiny_lora(0.1));
  std::vector<TensorToWrite> tensors;
  for (const TensorView& tensor : own.file.tensors())
    tensors.push_back({{tensor.name, tensor.dtype, tensor.shape}, tensor.data});
  std::filesystem::create_directory(scratch / "a");
  write_safetensors(scratch / "a/adapter_model.safetensors", tensors);
  nlohmann::json config = read_json_file(scratch / "own/adapter_config.json");
  config["lora_alpha"] = 0;
  test::write_bytes(scratch / "a/adapter_config.json", config.dump());
  const PeftAdapter adapter = read_peft(scratch / "a");
  write_portable(adapter, scratch.path());
  expect_same_effect(adapter, scratch.path());
}

TEST(PortableAdapter, RanksThatAreServed) {
  EXPECT_EQ(served_rank(3), 8);
  EXPECT_EQ(served_rank(16), 16);
  EXPECT_EQ(served_rank(17), 32);
  EXPECT_EQ(served_rank(300), 320);
  const ScratchFolder scratch;
  LoraConfig lora = test::tiny_lora(0.1);
  lora.targets = {Projection::k};
  lora.rank = 513;
  const PeftAdapter adapter = write_adapter(scratch / "a", lora);
  EXPECT_TRUE(holds(message_of<DataError>([&] { write_portable(adapter, scratch.path()); }),
                    "has the rank 513, and vLLM takes at most 512: merge it"));
}

}  // namespace
}  // namespace chorus
