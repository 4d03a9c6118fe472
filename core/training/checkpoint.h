#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/model/model.h"
#include "core/training/optimizer.h"
#include "core/training/train_config.h"

namespace chorus {

// Where a training stands between two steps, beside its tensors.
struct TrainingState {
  std::int64_t step = 0;          // updates done
  std::int64_t total_tokens = 0;  // computed so far, over all ranks
  double elapsed = 0;             // seconds of training, over all sessions
  std::optional<double> best_metric;
  std::int64_t best_step = 0;
  std::int64_t scorings_since_best = 0;
  bool evaluation_due = false;  // stopped before or while dev was scored at this step
  std::vector<std::int64_t>
      extended_at;  // steps after which it went on to more steps than it had been begun with

  nlohmann::ordered_json to_json() const;
  static TrainingState from_json(const nlohmann::json& json, const std::string& where);
};

// Writes and reads trained models and checkpoints. Tensors in files are never sharded, so that a file does not depend
// on the grid that wrote it and every grid can read it. All calls are collective; data rank 0 of tensor rank 0 writes.
class CheckpointStore {
 public:
  CheckpointStore(const TrainConfig& config, const BaseModel& base, Model& model)
      : config_(config), base_(base), model_(model) {}

  // The trained model as its users read it: a PEFT adapter, or a Hugging Face folder for --method full, in the types of
  // the base and with its tokenizer files; and beside it the projector, if any. Files that are there are replaced one by
  // one, each atomically.
  void write_model(const std::filesystem::path& folder, Arena& arena) const;

  // Keeps the present model in OUTPUT/best.
  void write_best(Arena& arena) const;
  // Renames the checkpoints of later steps in OUTPUT, which a continuation from this one does not lead to.
  void set_aside_after(std::int64_t step) const;
  // Makes OUTPUT/best what it was when the checkpoint was written, also of another folder. Throws DataError if it is lost.
  void restore_best(const std::filesystem::path& checkpoint, const TrainingState& state) const;
  // Leaves the result of a finished run in OUTPUT: the best model where there is one, else the present one. Throws
  // DataError if the best is not in OUTPUT/best.
  void write_result(const TrainingState& state, Arena& arena) const;

  // OUTPUT/checkpoint-N with model, moments, state and the best model so far; it appears complete or not at all. Older
  // ones beyond --save-total-limit are removed afterwards.
  void write(const AdamW& optimizer, const TrainingState& state, const nlohmann::ordered_json& identity,
             Arena& arena) const;
  struct Resumed {
    TrainingState state;
    std::string remark;  // see remark_on_identity()
    nlohmann::json run;  // the identity of the run that wrote it
  };
  // Reads a checkpoint that require_undamaged_checkpoint() let pass. Throws ConfigurationError if it belongs to another run,
  // naming all that differs and is not passed by --extend.
  Resumed read(const std::filesystem::path& checkpoint, AdamW& optimizer,
               const nlohmann::ordered_json& identity) const;

 private:
  bool writes() const { return model_.groups().world.rank() == 0; }
  // The chosen parameters, full, in host memory.
  struct GatheredTensors;
  GatheredTensors gather(const std::vector<const Parameter*>& chosen, Arena& arena) const;
  // The parameters of the projector, or all others.
  std::vector<const Parameter*> parameters_of(bool projector) const;
  // All trained weights as a Hugging Face folder has them, in the types of the base: BF16, else F32.
  void write_base(const std::filesystem::path& folder, Arena& arena) const;
  bool rounds() const;  // whether a tensor of write_base() is not F32
  // Moments, and masters where write_base() rounds them, as F32 tensors "first_moment.NAME", "second_moment.NAME",
  // "master.NAME".
  void write_optimizer(const std::filesystem::path& file, const AdamW& optimizer, Arena& arena) const;
  void remove_old() const;
  std::filesystem::path best() const { return std::filesystem::path(config_.output) / "best"; }
  // Throws DataError, saying of which step, unless the best model is in this folder.
  void require_best(bool is_there, const TrainingState& state, const std::string& where) const;

  const TrainConfig& config_;
  const BaseModel& base_;
  Model& model_;
};

// A hash of the state and the tensors in a checkpoint, by content_hash().
std::uint64_t checkpoint_content(const std::filesystem::path& checkpoint);

// Throws DataError that names the file where the checkpoint, or the best model in it, is not what was written. Reads all
// of it.
void require_undamaged_checkpoint(const std::filesystem::path& checkpoint);

// The checkpoint of the highest step in a folder, if any, which must be undamaged: what is wrong with those after it is
// appended to `damage`, one text each.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& output,
                                                       std::vector<std::string>* damage = nullptr);

// The checkpoints of later steps in a folder, ascending.
std::vector<std::filesystem::path> checkpoints_after(const std::filesystem::path& output, std::int64_t step);
// The end of their names as long as nobody needs them: a continuation from an older one sets them aside, and removes none.
inline constexpr const char* aside_suffix = ".aside";

}  // namespace chorus
