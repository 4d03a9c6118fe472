#include "core/formats/model_writer.h"

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/text/json.h"
#include "ops/base/error.h"
#include "ops/bfloat16.h"
#include "tests/core/tiny_base.h"
#include "tests/support/message_of.h"

namespace chorus {
namespace {

std::vector<std::string> files_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

class ModelWriterTest : public testing::Test {
 protected:
  BaseModel write_base(const std::string& name, FileDType dtype, std::int64_t most_shard_bytes) {
    test::write_bytes(scratch_ / "tokenizer.model", "only copied, never read");
    write_new_base(scratch_ / name, test::tiny_config(), scratch_ / "tokenizer.model", 1, dtype,
                   most_shard_bytes);
    return BaseModel(scratch_ / name);
  }
  test::ScratchFolder scratch_;
};

TEST_F(ModelWriterTest, ShardsHoldWhatOneFileHolds) {
  constexpr std::int64_t most = 2000;
  const BaseModel single = write_base("single", FileDType::f32, largest_shard),
                  sharded = write_base("sharded", FileDType::f32, most);
  std::int64_t total = 0;
  for (const ModelTensor& tensor : model_tensors(test::tiny_config())) {
    EXPECT_EQ(read_tensor(sharded.tensor(tensor.name)), read_tensor(single.tensor(tensor.name)))
        << tensor.name;
    total += 4 * single.tensor(tensor.name).elements();
  }
  EXPECT_EQ(files_in(single.folder()),
            (std::vector<std::string>{"config.json", "model.safetensors", "tokenizer.model"}));
  const std::vector<std::string> files = files_in(sharded.folder());
  const std::size_t shards = files.size() - 3;  // config.json, index, tokenizer.model
  ASSERT_GE(shards, 3U);
  for (std::size_t shard = 0; shard < shards; ++shard) {
    EXPECT_EQ(files[shard + 1], fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards));
    const SafetensorsFile file(sharded.folder() / files[shard + 1]);
    std::int64_t bytes = 0;
    for (const TensorView& tensor : file.tensors()) bytes += 4 * tensor.elements();
    EXPECT_TRUE(bytes <= most || file.tensors().size() == 1) << files[shard + 1];
  }
  EXPECT_EQ(read_json_file(sharded.folder() / "model.safetensors.index.json")["metadata"]["total_size"],
            total);
}

TEST_F(ModelWriterTest, Bf16IsF32Rounded) {
  const BaseModel f32 = write_base("f32", FileDType::f32, largest_shard),
                  bf16 = write_base("bf16", FileDType::bf16, 3000);
  for (const ModelTensor& tensor : model_tensors(test::tiny_config())) {
    EXPECT_EQ(bf16.tensor(tensor.name).dtype, FileDType::bf16);
    std::vector<float> rounded = read_tensor(f32.tensor(tensor.name));
    for (float& value : rounded) value = static_cast<float>(bfloat16(value));
    EXPECT_EQ(read_tensor(bf16.tensor(tensor.name)), rounded) << tensor.name;
  }
  EXPECT_EQ(read_json_file(bf16.folder() / "config.json")["torch_dtype"], "bfloat16");
}

TEST_F(ModelWriterTest, NewBasesOfFamiliesBeginWithoutBiases) {
  for (const Family family : {Family::qwen2, Family::qwen3}) {
    ModelConfig config = test::tiny_config();
    config.family = family;
    test::write_bytes(scratch_ / "tokenizer.model", "only copied, never read");
    const std::string folder = scratch_ / std::string(model_type(family));
    write_new_base(folder, config, scratch_ / "tokenizer.model", 1);
    const BaseModel base(folder);
    EXPECT_EQ(base.config(), config);
    int vectors = 0;
    for (const ModelTensor& tensor : model_tensors(config)) {
      if (tensor.shape.size() == 2) continue;
      const std::vector<float> values = read_tensor(base.tensor(tensor.name));
      EXPECT_EQ(values, std::vector<float>(values.size(), tensor.role == TensorRole::bias ? 0.0F : 1.0F));
      ++vectors;
    }
    // Two layers of two norms, three biases or two norms over heads, and the last norm.
    EXPECT_EQ(vectors, family == Family::qwen2 ? 11 : 9);
  }
}

// What a reader would take instead, or find beside the new weights.
TEST_F(ModelWriterTest, WeightsOfAnotherFormGo) {
  const std::vector<TensorDescription> tensors{{"a", FileDType::f32, {2}}, {"b", FileDType::f32, {2}}};
  const auto write = [&](std::int64_t most_bytes) {
    ModelWriter writer(scratch_.path(), cut_into_shards(tensors, most_bytes));
    writer.append(std::vector<float>{1, 2});
    writer.append(std::vector<float>{3, 4});
    writer.finish();
  };
  const std::vector<std::string> single{"model.safetensors"},
      sharded{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
              "model.safetensors.index.json"};
  write(largest_shard);
  EXPECT_EQ(files_in(scratch_.path()), single);
  write(8);
  EXPECT_EQ(files_in(scratch_.path()), sharded);
  write(16);
  EXPECT_EQ(files_in(scratch_.path()), single);
}

TEST_F(ModelWriterTest, OtherTypesAreRefused) {
  const std::string message = test::message_of<Error>([] { torch_name(FileDType::f16); });
  EXPECT_TRUE(test::holds(message, "models are not written as F16"));
}

}  // namespace
}  // namespace chorus
