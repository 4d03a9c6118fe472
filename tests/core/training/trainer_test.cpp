#include "core/training/trainer.h"

#include <fstream>

#include <gtest/gtest.h>

#include "data/prompts/tokenizer.h"
#include "data/sets/split_writer.h"
#include "data/text/files.h"
#include "data/text/json.h"
#include "ops/base/index.h"
#include "ops/bfloat16.h"
#include "ops/cpu/cpu_backend.h"
#include "ops/transfer.h"
#include "parallel/thread_communicator.h"
#include "tests/core/tiny_base.h"

namespace chorus {
namespace {

struct SilentObserver : TrainingObserver {
  void step_done(const StepReport& report, std::int64_t) override { losses.push_back(report.loss); }
  void evaluated(const TrainingState& state, const Evaluation&, const DevVerdict&) override {
    scored_after.push_back(state.step);
  }
  void evaluating(std::int64_t, std::int64_t) override {}
  std::vector<double> losses;
  std::vector<std::int64_t> scored_after;  // steps
};

// What a training leaves behind, full tensors by name.
struct Trained {
  std::vector<double> losses;
  std::vector<std::int64_t> scored_after;
  std::map<std::string, std::vector<float>> before, after;
  TrainingSummary summary;
};

std::map<std::string, std::vector<float>> gather(test::TinyModel& tiny) {
  std::map<std::string, std::vector<float>> tensors;
  const ParameterSet& parameters = tiny.model.parameters();
  for (const Parameter& parameter : parameters.all()) {
    tensors[parameter.name] = parameters.gather(parameter, parameters.masters(), tiny.activations);
  }
  return tensors;
}

class TrainerTest : public testing::Test {
 protected:
  TrainConfig config(const std::string& output) const {
    TrainConfig config;
    config.output = scratch_ / output;
    config.lora.rank = 3;
    config.lora.alpha = 6;
    config.lora.dropout = 0.25;
    config.schedule.peak = 1e-2;
    config.batches.batch_size = 7;
    config.batches.tokens_per_microbatch = 48;
    config.max_steps = 8;
    config.schedule.warmup_steps = 2;
    return config;
  }

  // Trains on a grid of threads; `resume` continues the newest checkpoint of the same output.
  Trained train(const TrainConfig& config, int data_size, int tensor_size, bool resume = false) {
    Trained trained;
    std::filesystem::create_directories(config.output);
    run_on_threads(data_size, tensor_size, [&](const Groups& groups) {
      CpuBackend backend(1);
      TimedGroups timed(groups);
      const ModelOptions options = model_options(config, dataset_.features, test::tiny_config());
      test::TinyModel tiny(test::tiny_config(), options, backend, timed.groups(),
                           config.batches.tokens_per_microbatch);
      Trainer trainer(config, {*base_, shards_ ? *shards_ : DataSplit(dataset_), dev_}, tiny.model,
                      {timed, tiny.optimizer_arena, tiny.activations});
      const auto before = gather(tiny);
      if (resume) trainer.resume(*newest_checkpoint(config.output));
      SilentObserver observer;
      const TrainingSummary summary = trainer.run(observer);
      const auto after = gather(tiny);
      if (groups.world.rank() == 0)
        trained = {observer.losses, observer.scored_after, before, after, summary};
    });
    return trained;
  }

  test::ScratchFolder scratch_;
  std::unique_ptr<BaseModel> base_ = test::write_tiny_base(scratch_);
  Dataset dataset_ = test::random_dataset(12, 37, 21);
  std::optional<DataSplit> shards_;  // what is trained on instead
  std::optional<DataSplit> dev_;
};

// Largest difference of any element, relative to the largest change that the training made to its tensor.
double difference_of_updates(const Trained& a, const Trained& b) {
  double largest = 0;
  for (const auto& [name, before] : a.before) {
    double update = 0, difference = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      update = std::max(update, std::abs(static_cast<double>(a.after.at(name)[i] - before[i])));
      difference =
          std::max(difference, std::abs(static_cast<double>(a.after.at(name)[i] - b.after.at(name)[i])));
    }
    largest = std::max(largest, difference / update);
  }
  return largest;
}

// And one goes on where the other was stopped.
TEST_F(TrainerTest, ShardsGiveTheSameBits) {
  const Trained whole = train(config("whole"), 2, 1);
  SplitWriter writer(scratch_ / "", dataset_.origin, 500);
  for (std::int64_t tree = 0; tree < dataset_.trees(); ++tree) {
    std::vector<GroupSample> samples;
    for (auto i = dataset_.tree_samples[at(tree)]; i < dataset_.tree_samples[at(tree + 1)]; ++i)
      samples.push_back({dataset_.sequence(i)});
    writer.add_group(samples, "here");
  }
  writer.finish();
  const SplitFiles files = find_split(scratch_ / "", "train");
  ASSERT_GT(files.files.size(), 3U);
  shards_.emplace(files);
  const Trained sharded = train(config("sharded"), 2, 1);
  EXPECT_EQ(sharded.losses, whole.losses);
  EXPECT_EQ(sharded.after, whole.after);

  shards_.reset();
  TrainConfig interrupted = config("interrupted");
  interrupted.max_time = 1e-9;
  train(interrupted, 2, 1);
  interrupted.max_time = 0;
  shards_.emplace(files);
  EXPECT_EQ(train(interrupted, 2, 1, true).after, whole.after);
}

TEST_F(TrainerTest, GridsGiveTheSameAdapter) {
  const Trained solo = train(config("1x1"), 1, 1);
  const std::pair<int, int> grids[] = {{2, 1}, {1, 2}, {2, 2}, {3, 1}};
  for (const auto& [data_size, tensor_size] : grids) {
    const std::string grid = fmt::format("data {} x tensor {}", data_size, tensor_size);
    const Trained other = train(config(grid), data_size, tensor_size);
    ASSERT_EQ(other.losses.size(), solo.losses.size());
    for (std::size_t i = 0; i < solo.losses.size(); ++i) {
      EXPECT_NEAR(other.losses[i], solo.losses[i], 1e-5 * solo.losses[i]) << grid << " step " << i;
    }
    const double difference = difference_of_updates(solo, other);
    EXPECT_LT(difference, 1e-4) << grid;
    RecordProperty(fmt::format("update_difference_{}x{}", data_size, tensor_size),
                   fmt::format("{:.2e}", difference));
  }
}

TEST_F(TrainerTest, GridsAgreeOnWeightedSamples) {
  for (std::size_t i = 0; i < dataset_.samples.size(); ++i)
    dataset_.samples[i].weight = i % 3 == 0 ? 0.1F : static_cast<float>(i % 3 - 1);
  const Trained solo = train(config("1x1"), 1, 1);
  const std::pair<int, int> grids[] = {{2, 1}, {1, 2}, {2, 2}};
  for (const auto& [data_size, tensor_size] : grids) {
    const std::string grid = fmt::format("weighted {}x{}", data_size, tensor_size);
    const Trained other = train(config(grid), data_size, tensor_size);
    for (std::size_t i = 0; i < solo.losses.size(); ++i)
      EXPECT_NEAR(other.losses[i], solo.losses[i], 1e-5 * solo.losses[i]) << grid << " step " << i;
    EXPECT_LT(difference_of_updates(solo, other), 1e-4) << grid;
  }
}

// In the first step A has no gradient, and only decays, and B is zero, and does not.
TEST_F(TrainerTest, LoraPlusMultipliesTheRateOfB) {
  for (const auto& [data_size, tensor_size] : {std::pair{1, 1}, std::pair{2, 2}}) {
    TrainConfig run = config("plain");
    run.max_steps = 1;
    run.schedule.warmup_steps = 0;
    run.adamw.weight_decay = 0.5;
    const Trained plain = train(run, data_size, tensor_size);
    run.lora_plus_ratio = 4;
    const Trained faster = train(run, data_size, tensor_size);
    for (const auto& [name, before] : plain.before) {
      const double ratio = name.find("lora_B") != std::string::npos ? 4 : 1;
      for (std::size_t i = 0; i < before.size(); ++i) {
        const double moved = plain.after.at(name)[i] - before[i];
        EXPECT_NEAR(faster.after.at(name)[i] - before[i], ratio * moved,
                    1e-6 * run.schedule.peak * ratio + 1e-7)
            << name;
        EXPECT_NE(moved, 0) << name;
      }
    }
  }
}

TEST_F(TrainerTest, GridsGiveTheSameAdapterByLoraPlus) {
  TrainConfig run = config("plus");
  run.lora_plus_ratio = 4;
  const Trained solo = train(run, 1, 1);
  EXPECT_LT(difference_of_updates(solo, train(run, 2, 2)), 1e-4);
  EXPECT_GT(difference_of_updates(solo, train(config("plain"), 1, 1)), 1e-2);
}

TEST_F(TrainerTest, OnlyRatiosOfWeightsMatter) {
  const Trained ones = train(config("ones"), 2, 1);
  for (Sample& sample : dataset_.samples) sample.weight = 0.25F;
  const Trained quarters = train(config("quarters"), 2, 1);
  EXPECT_EQ(ones.losses, quarters.losses) << "a power of two changes no rounding";
  EXPECT_EQ(ones.after, quarters.after);
}

TEST_F(TrainerTest, WithoutAnyWeightNothingIsLearned) {
  for (Sample& sample : dataset_.samples) sample.weight = 0;
  const Trained trained = train(config("nothing"), 1, 2);
  EXPECT_EQ(trained.losses, std::vector<double>(8, 0.0));
  EXPECT_EQ(trained.before, trained.after);
}

// The projector is whole on every rank, and learns the same on each.
TEST_F(TrainerTest, GridsGiveTheSameProjector) {
  dataset_ = test::random_dataset(12, 37, 21, 5);
  const auto expect_same = [&](const Trained& solo, const TrainConfig& run, int data_size, int tensor_size,
                               double tolerance) {
    const Trained other = train(run, data_size, tensor_size);
    for (std::size_t i = 0; i < solo.losses.size(); ++i)
      EXPECT_NEAR(other.losses[i], solo.losses[i], 1e-5 * solo.losses[i]) << run.output << " step " << i;
    const double difference = difference_of_updates(solo, other);
    EXPECT_LT(difference, tolerance) << run.output;
    RecordProperty("update_difference_" + std::filesystem::path(run.output).filename().string(),
                   fmt::format("{:.2e}", difference));
  };
  for (const ProjectorKind kind : {ProjectorKind::linear, ProjectorKind::mlp}) {
    TrainConfig run = config(fmt::format("{}_1x1", name(kind)));
    run.projector.kind = kind;
    const Trained solo = train(run, 1, 1);
    ASSERT_TRUE(solo.after.contains("multi_modal_projector.linear_1.weight"));
    const std::pair<int, int> grids[] = {{2, 1}, {1, 2}, {2, 2}};
    for (const auto& [data_size, tensor_size] : grids) {
      run.output = scratch_ / fmt::format("{}_{}x{}", name(kind), data_size, tensor_size);
      expect_same(solo, run, data_size, tensor_size, 1e-4);
    }
    run.model.sequence_parallel = true;
    run.model.recompute = kind == ProjectorKind::mlp ? Recompute::some : Recompute::all;
    run.output = scratch_ / fmt::format("{}_2x2_divided", name(kind));
    expect_same(solo, run, 2, 2, 1e-4);
  }
  TrainConfig full = config("full_1x1");
  full.method = Method::full;
  full.schedule.peak = 1e-3;
  const Trained solo = train(full, 1, 1);
  full.output = scratch_ / "full_2x2";
  expect_same(solo, full, 2, 2, 1e-3);
}

// Ranks 2 and 4 divide rows that are no multiple of them; 1 has nothing to divide.
TEST_F(TrainerTest, DividedSequencesAndPiecewiseSumsGiveTheSameAdapter) {
  TrainConfig solo_config = config("solo");
  const Trained solo = train(solo_config, 1, 1);
  const auto expect_same = [&](TrainConfig changed, int data_size, int tensor_size, const std::string& what) {
    changed.output = scratch_ / what;
    const Trained other = train(changed, data_size, tensor_size);
    for (std::size_t i = 0; i < solo.losses.size(); ++i)
      EXPECT_NEAR(other.losses[i], solo.losses[i], 1e-5 * solo.losses[i]) << what << " step " << i;
    EXPECT_LT(difference_of_updates(solo, other), 1e-4) << what;
  };
  TrainConfig divided = solo_config, chunked = solo_config;
  divided.model.sequence_parallel = true;
  expect_same(divided, 1, 1, "divided 1x1");
  expect_same(divided, 1, 2, "divided 1x2");
  expect_same(divided, 2, 2, "divided 2x2");
  divided.model.recompute = Recompute::all;
  expect_same(divided, 1, 2, "divided, recomputed");
  divided.model.recompute = Recompute::some;
  expect_same(divided, 1, 2, "divided, some recomputed");
  chunked.model.overlap_chunks = 3;
  expect_same(chunked, 1, 2, "in 3 pieces");
}

TEST_F(TrainerTest, DividedSequencesTakeLessMemory) {
  const auto plan = [](bool divided) {
    ModelOptions options;
    options.lora = test::tiny_lora(0);
    options.sequence_parallel = divided;
    return plan_memory(test::tiny_config(), options, {1, 2, 0}, {.tokens = 512, .training = true});
  };
  EXPECT_LT(plan(true).activations, plan(false).activations);
  EXPECT_EQ(plan(true).model(), plan(false).model());
}

// The loss of a step is that before its update, so that nothing else would see what the last one leaves behind.
TEST_F(TrainerTest, WeightsThatTheLastUpdateDestroyedAreNotWritten) {
  TrainConfig destroying = config("destroyed");
  destroying.max_steps = 1;
  destroying.schedule.warmup_steps = 0;
  destroying.schedule.peak = 1e39;
  for (const std::int64_t save_steps : {0, 1}) {
    destroying.save_steps = save_steps;
    EXPECT_TRUE(test::holds(test::message_of<DataError>([&] { train(destroying, 2, 2); }),
                            "after step 1 the trained weights are no finite numbers"));
    EXPECT_TRUE(std::filesystem::is_empty(destroying.output));
  }
}

TEST_F(TrainerTest, TheLossOfOneBatchFalls) {
  TrainConfig run = config("run");
  run.batches.batch_size = std::ssize(dataset_.samples);
  run.lora.dropout = 0;
  run.max_steps = 30;
  const Trained trained = train(run, 1, 1);
  EXPECT_LT(trained.losses.back(), 0.8 * trained.losses.front());
}

TEST_F(TrainerTest, GridsGiveTheSameFullModel) {
  TrainConfig full = config("full");
  full.method = Method::full;
  full.schedule.peak = 1e-3;
  const Trained solo = train(full, 1, 1);
  full.output = scratch_ / "full 2x2";
  const Trained grid = train(full, 2, 2);
  EXPECT_LT(difference_of_updates(solo, grid), 1e-3);
}

TEST_F(TrainerTest, TwoRunsOfOneGridGiveTheSameBits) {
  const Trained a = train(config("a"), 2, 2), b = train(config("b"), 2, 2);
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.after, b.after);
  EXPECT_EQ(test::read_bytes(scratch_ / "a/adapter_model.safetensors"),
            test::read_bytes(scratch_ / "b/adapter_model.safetensors"));
}

TEST_F(TrainerTest, MicroBatchesAndSharingDoNotMatter) {
  const Trained normal = train(config("normal"), 1, 1);
  TrainConfig other = config("large");
  other.batches.tokens_per_microbatch = 1000;
  EXPECT_LT(difference_of_updates(normal, train(other, 1, 1)), 1e-4);
  other = config("separate");
  other.batches.prefix_sharing = false;
  EXPECT_LT(difference_of_updates(normal, train(other, 1, 1)), 1e-4);
}

TEST_F(TrainerTest, ResumeContinuesBitForBit) {
  const Trained straight = train(config("straight"), 1, 2);

  TrainConfig interrupted = config("interrupted");
  interrupted.max_time = 1e-9;  // stops after every step
  Trained part = train(interrupted, 1, 2);
  EXPECT_FALSE(part.summary.finished);
  EXPECT_EQ(part.summary.state.step, 1);
  std::vector<double> losses = part.losses;
  interrupted.max_time = 0;
  part = train(interrupted, 1, 2, true);
  EXPECT_TRUE(part.summary.finished);
  losses.insert(losses.end(), part.losses.begin(), part.losses.end());
  EXPECT_EQ(losses, straight.losses);
  EXPECT_EQ(part.after, straight.after);
}

// Dev is scored where epochs end, which a curriculum makes of different lengths; a continuation goes on in the same epoch.
TEST_F(TrainerTest, ACurriculumResumesBitForBit) {
  dev_.emplace(test::random_dataset(2, 37, 22));
  TrainConfig curriculum = config("straight");
  curriculum.batches.curriculum = 3;
  curriculum.max_steps = 0;
  curriculum.epochs = 4;
  const Epochs epochs = Batches(dataset_, curriculum.batches).epochs();
  ASSERT_LT(epochs.begin(1), epochs.begin(2) - epochs.begin(1));
  const Trained straight = train(curriculum, 2, 1);
  EXPECT_EQ(straight.summary.state.step, epochs.begin(4));
  EXPECT_EQ(straight.scored_after,
            (std::vector{epochs.begin(1), epochs.begin(2), epochs.begin(3), epochs.begin(4)}));

  curriculum.output = scratch_ / "interrupted";
  curriculum.max_time = 1e-9;
  train(curriculum, 2, 1);
  train(curriculum, 2, 1, true);
  curriculum.max_time = 0;
  EXPECT_EQ(train(curriculum, 2, 1, true).after, straight.after);

  curriculum.batches.curriculum = 2;
  EXPECT_THROW(train(curriculum, 2, 1, true), Error);
}

TEST_F(TrainerTest, TheProjectorIsSavedAndResumedBitForBit) {
  dataset_ = test::random_dataset(12, 37, 21, 5);
  for (const Method method : {Method::lora, Method::full}) {
    const std::string prefix = method == Method::lora ? "lora " : "full ";
    TrainConfig run = config(prefix + "straight");
    run.method = method;
    const Trained straight = train(run, 1, 2);
    TrainConfig interrupted = run;
    interrupted.output = scratch_ / (prefix + "interrupted");
    interrupted.max_time = 1e-9;
    train(interrupted, 1, 2);
    interrupted.max_time = 0;
    EXPECT_EQ(train(interrupted, 1, 2, true).after, straight.after);

    const std::optional<SavedProjector> saved = find_projector(run.output);
    ASSERT_TRUE(saved);
    EXPECT_EQ(saved->config, (ProjectorConfig{ProjectorKind::mlp, 5, 12}));
    for (const TensorView& tensor : saved->file.tensors())
      EXPECT_EQ(read_tensor(tensor), straight.after.at(tensor.name)) << tensor.name;
    const SafetensorsFile others(std::filesystem::path(run.output) / (method == Method::lora
                                                                          ? "adapter_model.safetensors"
                                                                          : "model.safetensors"));
    for (const TensorView& tensor : others.tensors()) EXPECT_FALSE(is_projector_tensor(tensor.name));
    EXPECT_EQ(std::ssize(others.tensors()) + std::ssize(saved->file.tensors()), std::ssize(straight.after));
    if (method == Method::lora) {
      EXPECT_EQ(read_peft(run.output).layers, 2) << "the adapter stays PEFT's";
    }
  }
  TrainConfig stopped = config("stopped");
  stopped.max_time = 1e-9;
  train(stopped, 1, 1);
  stopped.projector.kind = ProjectorKind::linear;
  const std::string message = test::message_of<ConfigurationError>([&] { train(stopped, 1, 1, true); });
  EXPECT_TRUE(test::holds(message, "projector was \"mlp\" and is now \"linear\""));
}

// The files hold rounded weights, a continuation goes on with those that were not.
TEST_F(TrainerTest, ABf16BaseIsTrainedToABf16BaseAndResumedBitForBit) {
  constexpr std::int64_t most_shard_bytes = 3000;
  write_new_base(scratch_ / "bf16", test::tiny_config(), scratch_ / "tokenizer.model", 1, FileDType::bf16);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "added_tokens.json", "generation_config.json"})
    test::write_bytes(scratch_ / "bf16" / file, std::string("content of ") + file);
  base_ = std::make_unique<BaseModel>(scratch_ / "bf16");
  TrainConfig run = config("straight");
  run.method = Method::full;
  run.most_shard_bytes = most_shard_bytes;
  run.save_steps = run.max_steps;
  const Trained straight = train(run, 1, 2);
  TrainConfig interrupted = run;
  interrupted.output = scratch_ / "interrupted";
  interrupted.max_time = 1e-9;
  train(interrupted, 1, 2);
  interrupted.max_time = 0;
  EXPECT_EQ(train(interrupted, 1, 2, true).after, straight.after);

  const BaseModel written(run.output), checkpoint(*newest_checkpoint(run.output));
  EXPECT_FALSE(std::filesystem::exists(written.folder() / "model.safetensors")) << "it is in shards";
  for (const auto& [name, values] : straight.after) {
    std::vector<float> rounded = values;
    for (float& value : rounded) value = static_cast<float>(bfloat16(value));
    EXPECT_NE(rounded, values) << "or there is nothing to lose";
    for (const BaseModel* model : {&written, &checkpoint}) {
      EXPECT_EQ(model->tensor(name).dtype, FileDType::bf16);
      EXPECT_EQ(read_tensor(model->tensor(name)), rounded) << name;
    }
  }
  EXPECT_EQ(read_json_file(written.folder() / "config.json")["torch_dtype"], "bfloat16");
  for (const auto& entry : std::filesystem::directory_iterator(base_->folder())) {
    const std::filesystem::path name = entry.path().filename();
    if (name.string().find("token") == std::string::npos && name != "generation_config.json") continue;
    EXPECT_EQ(test::read_bytes(written.folder() / name), test::read_bytes(entry.path())) << name;
  }
}

TEST_F(TrainerTest, ResumeOnAnotherGrid) {
  const Trained straight = train(config("straight"), 1, 1);
  TrainConfig interrupted = config("interrupted");
  interrupted.max_time = 1e-9;
  train(interrupted, 2, 2);
  interrupted.max_time = 0;
  Trained rest = train(interrupted, 1, 1, true);
  rest.before = straight.before;
  EXPECT_LT(difference_of_updates(straight, rest), 1e-4);
}

TEST_F(TrainerTest, ResumeRefusesAnotherRun) {
  TrainConfig run = config("run");
  run.max_time = 1e-9;
  train(run, 1, 1);
  run.batches.batch_size = 8;
  const std::string message = test::message_of<ConfigurationError>([&] { train(run, 1, 1, true); });
  EXPECT_TRUE(test::holds(message, "batch-size was 7 and is now 8"));
}

TEST_F(TrainerTest, OldCheckpointsGo) {
  TrainConfig run = config("run");
  run.save_steps = 2;
  run.save_total_limit = 2;
  train(run, 1, 1);
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(run.output))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"adapter_config.json", "adapter_model.safetensors",
                                             "checkpoint-6", "checkpoint-8"}));
}

TEST_F(TrainerTest, AFailedRankEndsTheOthers) {
  const std::string message = test::message_of<DataError>([&] {
    run_on_threads(2, 1, [&](const Groups& groups) {
      if (groups.world.rank() == 1) throw DataError("the disk of rank 1 is gone");
      groups.world.barrier();
    });
  });
  EXPECT_EQ(message, "the disk of rank 1 is gone");
}

}  // namespace
}  // namespace chorus
