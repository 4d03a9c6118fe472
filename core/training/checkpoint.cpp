#include "core/training/checkpoint.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include "core/formats/model_writer.h"
#include "core/formats/safetensors.h"
#include "core/training/run_identity.h"
#include "data/text/files.h"
#include "data/text/json.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/hash.h"
#include "ops/transfer.h"

namespace chorus {

namespace {

constexpr std::string_view checkpoint_prefix = "checkpoint-", unfinished_suffix = ".part",
                           removed_suffix = ".removed";

// Step and folder of every checkpoint, ascending.
std::map<std::int64_t, std::filesystem::path> checkpoints_in(const std::filesystem::path& output) {
  std::map<std::int64_t, std::filesystem::path> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(output, ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(checkpoint_prefix)) continue;
    std::int64_t step = 0;
    const char* end = name.data() + name.size();
    const auto [stopped, error] = std::from_chars(name.data() + checkpoint_prefix.size(), end, step);
    if (error == std::errc() && stopped == end) found[step] = entry.path();
  }
  return found;
}

// A folder loses its name before its files, so that whatever is called a checkpoint is whole, whenever the process
// ends.
void begin_removal(const std::filesystem::path& checkpoint) {
  if (!std::filesystem::exists(checkpoint)) return;
  const std::filesystem::path gone = checkpoint.string() + std::string(removed_suffix);
  remove_folder(gone);
  std::filesystem::rename(checkpoint, gone);
}

// What was taken away, and what processes left that ended while they wrote or removed.
void remove_remains(const std::filesystem::path& output) {
  std::vector<std::filesystem::path> remains;
  for (const auto& entry : std::filesystem::directory_iterator(output)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(checkpoint_prefix) &&
        (name.ends_with(unfinished_suffix) || name.ends_with(removed_suffix)))
      remains.push_back(entry.path());
    if (name.ends_with(".partial")) remains.push_back(entry.path());  // of an AtomicFile
  }
  for (const std::filesystem::path& folder : remains) remove_folder(folder);
}

// A second name for each file of a folder, and a copy where the file system has no such names: files of models are only
// ever replaced, so that both folders keep what they hold now.
void link_files(const std::filesystem::path& from, const std::filesystem::path& to) {
  const std::filesystem::path unfinished = to.string() + std::string(unfinished_suffix);
  remove_folder(unfinished);
  create_folder(unfinished);
  std::error_code error;
  for (auto file = std::filesystem::directory_iterator(from, error); !error && file != end(file);
       file.increment(error)) {
    const std::filesystem::path name = unfinished / file->path().filename();
    std::filesystem::create_hard_link(file->path(), name, error);
    if (error) std::filesystem::copy_file(file->path(), name, error);
    if (error) break;
  }
  require<DataError>(!error, "cannot keep the files of ", from.string(), " in ", to.string(), ": ",
                     error.message());
  publish_folder(unfinished, to);
}

constexpr const char *state_file = "trainer_state.json", *optimizer_file = "optimizer.safetensors",
                     *state_hash = "hash";  // of all other keys

std::string hash_of(const nlohmann::json& state) { return print_hash(XxHash64().add(state.dump())); }

// The object in trainer_state.json. Throws DataError where it is not what was written; older versions wrote no hash.
nlohmann::json read_state(const std::filesystem::path& checkpoint) {
  const std::filesystem::path file = checkpoint / state_file;
  const nlohmann::json json = read_json_file(file);
  require<DataError>(json.is_object() && json.value("run", nlohmann::json::object()).is_object(),
                     file.string(), " is damaged: it holds no state of a training");
  for (const auto& [key, value] : json.items()) {
    // By the value as well, for the key may be what is damaged.
    const bool is_hash = value.is_string() && value.get_ref<const std::string&>().starts_with(hash_mark);
    if (key != state_hash && !is_hash) continue;
    nlohmann::json others = json;
    others.erase(key);
    require<DataError>(key == state_hash && value == hash_of(others), file.string(),
                       " is damaged: it does not hold what was written");
    return others;
  }
  return json;
}

// What write_model() wrote.
void require_undamaged_model(const std::filesystem::path& folder) {
  find_projector(folder);
  if (has_weights(folder)) {
    BaseModel(folder).require_undamaged();
  } else {
    read_peft(folder);
  }
}

// Names of optimizer.safetensors.
constexpr const char *first_moment = "first_moment.", *second_moment = "second_moment.", *master = "master.";

// Of a trained tensor in the files of a base. F16 has too narrow a range for what training may make of a weight.
FileDType written_type(const BaseModel& base, const std::string& name) {
  return base.tensor(name).dtype == FileDType::bf16 ? FileDType::bf16 : FileDType::f32;
}

std::vector<std::int64_t> extents(const Shape& shape) {
  std::vector<std::int64_t> extents;
  for (int dim = 0; dim < shape.rank(); ++dim) extents.push_back(shape[dim]);
  return extents;
}

}  // namespace

nlohmann::ordered_json TrainingState::to_json() const {
  nlohmann::ordered_json json{{"step", step}, {"total_tokens", total_tokens}, {"elapsed_time", elapsed}};
  if (best_metric) json["best_metric"] = *best_metric;
  json["best_step"] = best_step;
  json["scorings_since_best"] = scorings_since_best;
  if (evaluation_due) json["evaluation_due"] = true;
  if (!extended_at.empty()) json["extended_at"] = extended_at;
  return json;
}

TrainingState TrainingState::from_json(const nlohmann::json& json, const std::string& where) {
  const JsonFields fields(json, where);
  TrainingState state;
  state.step = fields.required_integer("step");
  state.total_tokens = fields.required_integer("total_tokens");
  state.elapsed = fields.number("elapsed_time").value_or(0);
  state.best_metric = fields.number("best_metric");
  state.best_step = fields.integer("best_step").value_or(0);
  state.scorings_since_best = fields.integer("scorings_since_best").value_or(0);
  state.evaluation_due = fields.boolean("evaluation_due").value_or(false);
  if (fields.has("extended_at")) {
    for (const nlohmann::json& step : fields.list("extended_at")) {
      require<DataError>(step.is_number_integer(), where, ": field 'extended_at' holds ", step.dump(),
                         ", which is no step");
      state.extended_at.push_back(step.get<std::int64_t>());
    }
  }
  return state;
}

void require_undamaged_checkpoint(const std::filesystem::path& checkpoint) {
  const TrainingState state =
      TrainingState::from_json(read_state(checkpoint), (checkpoint / state_file).string());
  SafetensorsFile(checkpoint / optimizer_file).require_undamaged();
  require_undamaged_model(checkpoint);
  if (state.best_metric && std::filesystem::exists(checkpoint / "best"))
    require_undamaged_model(checkpoint / "best");
}

std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& output,
                                                       std::vector<std::string>* damage) {
  const auto found = checkpoints_in(output);
  for (auto checkpoint = found.rbegin(); checkpoint != found.rend(); ++checkpoint) {
    try {
      require_undamaged_checkpoint(checkpoint->second);
      return checkpoint->second;
    } catch (const DataError& error) {
      if (damage != nullptr) damage->emplace_back(error.what());
    }
  }
  return std::nullopt;
}

std::vector<std::filesystem::path> checkpoints_after(const std::filesystem::path& output, std::int64_t step) {
  std::vector<std::filesystem::path> later;
  for (const auto& [number, folder] : checkpoints_in(output)) {
    if (number > step) later.push_back(folder);
  }
  return later;
}

std::uint64_t checkpoint_content(const std::filesystem::path& checkpoint) {
  std::vector<SafetensorsFile> files;
  for (const auto& entry : std::filesystem::directory_iterator(checkpoint)) {
    if (entry.path().extension() == ".safetensors") files.emplace_back(entry.path());
  }
  std::vector<TensorView> tensors;
  for (const SafetensorsFile& file : files)
    tensors.insert(tensors.end(), file.tensors().begin(), file.tensors().end());
  Fnv1a hash;
  hash.add(read_file(checkpoint / state_file));
  const std::array<std::uint64_t, 1> of_tensors{content_hash(std::move(tensors))};
  return hash.add_array(of_tensors).value();
}

std::vector<const Parameter*> CheckpointStore::parameters_of(bool projector) const {
  std::vector<const Parameter*> chosen;
  for (const Parameter& parameter : model_.parameters().all()) {
    if (is_projector_tensor(parameter.name) == projector) chosen.push_back(&parameter);
  }
  return chosen;
}

void CheckpointStore::write_base(const std::filesystem::path& folder, Arena& arena) const {
  const ParameterSet& parameters = model_.parameters();
  std::vector<TensorDescription> descriptions;
  std::map<std::string, const Parameter*> by_name;
  for (const Parameter* parameter : parameters_of(false)) {
    descriptions.push_back({parameter->name, written_type(base_, parameter->name), extents(parameter->full)});
    by_name[parameter->name] = parameter;
  }
  const auto shards = cut_into_shards(descriptions, config_.most_shard_bytes);
  std::optional<ModelWriter> writer;
  if (writes()) writer.emplace(folder, shards);
  for (const auto& shard : shards) {
    for (const TensorDescription& description : shard) {
      const std::vector<float> full =
          parameters.gather(*by_name.at(description.name), parameters.masters(), arena);
      if (writer) writer->append(full);
    }
  }
  if (!writer) return;
  writer->finish();
  write_model_config(folder, model_.config(), torch_name(written_type(base_, descriptions.front().name)));
  copy_tokenizer_files(base_.folder(), folder);
}

bool CheckpointStore::rounds() const {
  const auto rounded = [&](const Parameter* parameter) {
    return written_type(base_, parameter->name) != FileDType::f32;
  };
  return config_.method == Method::full && std::ranges::any_of(parameters_of(false), rounded);
}

void CheckpointStore::write_optimizer(const std::filesystem::path& file, const AdamW& optimizer,
                                      Arena& arena) const {
  const ParameterSet& parameters = model_.parameters();
  std::vector<std::pair<std::string, Tensor>> flats{{first_moment, optimizer.first_moments()},
                                                    {second_moment, optimizer.second_moments()}};
  if (rounds()) flats.emplace_back(master, parameters.masters());
  std::vector<TensorDescription> descriptions;
  std::map<std::string, std::pair<const Parameter*, Tensor>> sources;
  for (const auto& [prefix, flat] : flats) {
    for (const Parameter& parameter : parameters.all()) {
      descriptions.push_back({prefix + parameter.name, FileDType::f32, extents(parameter.full)});
      sources[prefix + parameter.name] = {&parameter, flat};
    }
  }
  descriptions = in_file_order(std::move(descriptions));
  std::optional<SafetensorsWriter> writer;
  if (writes()) writer.emplace(file, descriptions);
  for (const TensorDescription& description : descriptions) {
    const auto& [parameter, flat] = sources.at(description.name);
    const std::vector<float> full = parameters.gather(*parameter, flat, arena);
    if (writer) writer->append(std::as_bytes(std::span(full)));
  }
  if (writer) writer->finish();
}

struct CheckpointStore::GatheredTensors {
  std::vector<std::vector<float>> values;
  std::vector<TensorToWrite> tensors;  // view the values
};

CheckpointStore::GatheredTensors CheckpointStore::gather(const std::vector<const Parameter*>& chosen,
                                                         Arena& arena) const {
  const ParameterSet& parameters = model_.parameters();
  GatheredTensors gathered;
  for (const Parameter* parameter : chosen) {
    gathered.values.push_back(parameters.gather(*parameter, parameters.masters(), arena));
    gathered.tensors.push_back(
        {{parameter->name, FileDType::f32, extents(parameter->full)}, gathered.values.back().data()});
  }
  return gathered;
}

void CheckpointStore::write_model(const std::filesystem::path& folder, Arena& arena) const {
  if (model_.groups().grid.data_rank() != 0) return;
  if (writes()) std::filesystem::create_directories(folder);
  if (model_.options().projector) {
    const GatheredTensors projector = gather(parameters_of(true), arena);
    if (writes())
      write_projector(folder, *model_.options().projector, model_.config().hidden_size, projector.tensors);
  }
  if (config_.method == Method::lora) {
    const GatheredTensors adapter = gather(parameters_of(false), arena);
    if (writes()) write_peft(folder, *model_.options().lora, base_.folder().string(), adapter.tensors);
    return;
  }
  write_base(folder, arena);
}

void CheckpointStore::write_best(Arena& arena) const { write_model(best(), arena); }

void CheckpointStore::require_best(bool is_there, const TrainingState& state,
                                   const std::string& where) const {
  require<DataError>(is_there, "the best model so far, that of step ", state.best_step, ", is not in ", where,
                     ": bring it back and go on with --resume auto, or start anew in another --output");
}

void CheckpointStore::set_aside_after(std::int64_t step) const {
  if (!writes()) return;
  remove_remains(config_.output);
  for (const std::filesystem::path& checkpoint : checkpoints_after(config_.output, step)) {
    const std::string name = checkpoint.string() + aside_suffix;
    std::filesystem::path free = name;
    for (int i = 2; std::filesystem::exists(free); ++i) free = fmt::format("{}-{}", name, i);
    publish_folder(checkpoint, free);
  }
}

void CheckpointStore::restore_best(const std::filesystem::path& checkpoint,
                                   const TrainingState& state) const {
  if (!writes()) return;
  if (!state.best_metric) return remove_folder(best());  // of a later step that was never saved
  std::filesystem::path kept = checkpoint / "best";
  if (!std::filesystem::exists(kept)) {
    // Former versions had it beside their checkpoints only.
    kept = checkpoint.parent_path() / "best";
    require_best(std::filesystem::exists(kept), state,
                 fmt::format("{}, nor in {}", (checkpoint / "best").string(), kept.string()));
    std::error_code ignored;
    if (std::filesystem::equivalent(kept, best(), ignored)) return;
  }
  remove_folder(best());
  link_files(kept, best());
}

void CheckpointStore::write_result(const TrainingState& state, Arena& arena) const {
  const std::filesystem::path output = config_.output;
  if (!state.best_metric) {
    write_model(output, arena);
  } else if (writes()) {
    require_best(std::filesystem::exists(best()), state, best().string());
    for (const auto& file : std::filesystem::directory_iterator(best())) {
      std::filesystem::rename(file.path(), output / file.path().filename());
    }
    remove_folder(best());
  }
  model_.groups().world.barrier();
}

void CheckpointStore::write(const AdamW& optimizer, const TrainingState& state,
                            const nlohmann::ordered_json& identity, Arena& arena) const {
  const std::filesystem::path final_name =
      std::filesystem::path(config_.output) / fmt::format("{}{}", checkpoint_prefix, state.step);
  const std::filesystem::path folder = final_name.string() + std::string(unfinished_suffix);
  if (writes()) remove_folder(folder);
  write_model(folder, arena);
  if (model_.groups().grid.data_rank() == 0) write_optimizer(folder / optimizer_file, optimizer, arena);
  if (writes()) {
    if (state.best_metric) {
      require_best(std::filesystem::exists(best()), state, best().string());
      link_files(best(), folder / "best");
    }
    nlohmann::ordered_json json = state.to_json();
    json["run"] = identity;
    json[state_hash] = hash_of(json);
    write_file_atomically(folder / state_file, json.dump(2) + "\n");
    begin_removal(final_name);
    publish_folder(folder, final_name);
    remove_old();
  }
  model_.groups().world.barrier();
}

void CheckpointStore::remove_old() const {
  auto found = checkpoints_in(config_.output);
  while (config_.save_total_limit > 0 && std::ssize(found) > config_.save_total_limit) {
    begin_removal(found.begin()->second);
    found.erase(found.begin());
  }
  remove_remains(config_.output);
}

CheckpointStore::Resumed CheckpointStore::read(const std::filesystem::path& checkpoint, AdamW& optimizer,
                                               const nlohmann::ordered_json& identity) const {
  const nlohmann::json json = read_state(checkpoint);
  const TrainingState state = TrainingState::from_json(json, (checkpoint / state_file).string());
  const nlohmann::json then = json.value("run", nlohmann::json::object());
  const std::vector<std::string> different = differences(then, identity, config_.extend);
  require<ConfigurationError>(different.empty(), "cannot resume from ", checkpoint.string(), ": ",
                              joined(different, "; "));

  const std::optional<SavedProjector> projector = find_projector(checkpoint);
  require<DataError>(projector.has_value() == model_.options().projector.has_value(), checkpoint.string(),
                     projector ? " has a projector, the model none" : " has no projector, the model has one");
  const SafetensorsFile moments(checkpoint / optimizer_file);
  std::optional<SafetensorsFile> adapter;
  std::optional<BaseModel> model;
  if (config_.method == Method::lora) {
    adapter.emplace(checkpoint / "adapter_model.safetensors");
  } else if (!rounds()) {
    model.emplace(checkpoint);
  }
  const auto values = [&](const TensorView& view, const Parameter& parameter) {
    require<DataError>(view.shape == extents(parameter.full), checkpoint.string(), ": ", view.name, " is ",
                       to_string(view.shape), ", the model needs ", to_string(parameter.full));
    return read_tensor(view);
  };
  const auto master_of = [&](const Parameter& parameter) -> const TensorView& {
    if (is_projector_tensor(parameter.name)) return projector->file.tensor(parameter.name);
    if (adapter) return adapter->tensor(parameter.name);
    return model ? model->tensor(parameter.name) : moments.tensor(master + parameter.name);
  };
  ParameterSet& parameters = model_.parameters();
  for (Parameter& parameter : parameters.all()) {
    parameters.assign(parameter, values(master_of(parameter), parameter));
    parameters.scatter(parameter, optimizer.first_moments(),
                       values(moments.tensor(first_moment + parameter.name), parameter));
    parameters.scatter(parameter, optimizer.second_moments(),
                       values(moments.tensor(second_moment + parameter.name), parameter));
  }
  return {state, remark_on_identity(then, checkpoint.string()), then};
}

}  // namespace chorus
