#include <algorithm>
#include <cmath>
#include <span>

#include "core/formats/finite.h"
#include "core/formats/merge.h"
#include "core/formats/portable_adapter.h"
#include "core/scoring/text_logits.h"
#include "data/prompts/tokenizer.h"
#include "data/text/folder_lock.h"
#include "launch/commands/commands.h"
#include "launch/commands/model_setup.h"

namespace chorus::command {

namespace {

constexpr const char* usual_text =
    "Ann: You will not believe what happened on the way here. Bo: Try me, I have had quite a day myself.";
constexpr std::int64_t tokens_without_tokenizer = 32;

struct Options {
  std::string base, adapter, output, text = usual_text;
  bool portable = false;
  RuntimeOptions runtime{.device = DeviceKind::cpu};
};

void require_text_only(const std::string& folder) {
  require<DataError>(!find_projector(folder), folder,
                     " has a projector, projector.safetensors: it was trained with rows of features, for "
                     "which models of text have no place, and alone it would compute something else");
}

void check(const Options& options, const OptionTable& table) {
  require<ConfigurationError>(options.portable || !options.base.empty(),
                              "--base is missing: the adapter is merged into it; or give --portable to write "
                              "an adapter for other programs");
  for (const char* option : {"base", "text"}) {
    require<ConfigurationError>(!options.portable || !table.changed(option), "--", option,
                                " is for merging: leave it out, or --portable");
  }
  require_free_folder(options.output);
  require_writable_place(options.output, "--output");
  require_text_only(options.adapter);
}

void stop_if_requested(Runtime& runtime) {
  if (runtime.stop_requested()) throw Interrupted("stopped by a signal; nothing was written: start it again");
}

// At most what the base takes.
std::vector<std::int32_t> tokens_of(const Options& options, const OptionTable& table, const BaseModel& base) {
  const ModelConfig& config = base.config();
  std::vector<std::int32_t> tokens;
  if (table.changed("text") || tokenizer_file(base.folder())) {
    const Tokenizer tokenizer = Tokenizer::load(base.tokenizer_path());
    base.check_tokenizer_size(tokenizer.size());
    tokens = tokenizer.beginning();
    const std::vector<std::int32_t> words = tokenizer.encode(options.text);
    tokens.insert(tokens.end(), words.begin(), words.end());
    require<ConfigurationError>(!tokens.empty(), "--text is empty: give some words");
  } else {
    for (std::int64_t i = 0; i < tokens_without_tokenizer; ++i)
      tokens.push_back(static_cast<std::int32_t>(i * 7919 % config.vocabulary_size));
  }
  if (std::ssize(tokens) > config.longest_text())
    tokens.resize(static_cast<std::size_t>(config.longest_text()));
  return tokens;
}

// A base in f32. Weights that are not F32 in their file are converted block by block, so that all of them need not fit into
// memory.
class ComparedModel {
 public:
  ComparedModel(const BaseModel& base, Runtime& runtime)
      : base_(base), setup_(take_base(base, {.precision = DType::f32, .one_block = true}, runtime)) {
    setup_.llama.load(base);
  }

  // [N, V], finite.
  std::vector<float> logits(const PeftAdapter* adapter, std::span<const std::int32_t> tokens) {
    ModelOptions options{.precision = DType::f32, .one_block = true};
    if (adapter != nullptr) options.lora = adapter->config;
    ModelSetup setup(setup_, options, {.tokens = std::ssize(tokens), .logits = true});
    if (adapter != nullptr) setup.model.adapters().load(*adapter);
    std::vector<float> logits = text_logits(setup.model, tokens, setup.activations);
    require<DataError>(all_finite(logits), "the logits of ", base_.folder().string(),
                       adapter != nullptr ? " with the adapter" : "", " are not finite: ", not_finite_advice);
    return logits;
  }

 private:
  const BaseModel& base_;
  BaseSetup setup_;
};

double largest_difference(std::span<const float> a, std::span<const float> b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return largest;
}

struct ComparedLogits {
  std::vector<float> base, adapted, merged;
};

std::string to_table(const ComparedLogits& logits, const MergeRounding& rounding, std::int64_t tokens) {
  const double largest = largest_difference(logits.adapted, std::vector<float>(logits.adapted.size())),
               change = largest_difference(logits.adapted, logits.base),
               difference = largest_difference(logits.adapted, logits.merged);
  std::string text = fmt::format("logits of {} tokens, computed in f32\n", tokens);
  const auto row = [&](const std::string& what, double value) {
    text += fmt::format("  {:<52}{:>10.3g}\n", what, value);
  };
  row("largest of base + adapter", largest);
  row("largest difference that the adapter makes", change);
  row("largest difference of merged and base + adapter", difference);
  row(fmt::format("of which rounding to {} explains up to about", name(rounding.dtype)),
      rounding.relative * largest);
  if (2 * difference > change) {
    text += fmt::format(
        "{} rounds away most of what the adapter learned: keep the adapter beside the base, or merge it into "
        "a base in F32\n",
        name(rounding.dtype));
  }
  text.pop_back();
  return text;
}

std::vector<std::string> remarks_on(const PortableChanges& changes) {
  std::vector<std::string> lines;
  if (changes.folded_rslora) {
    lines.push_back(
        fmt::format("rsLoRA became plain LoRA: lora_alpha is alpha times the root of r, {}", changes.alpha));
  }
  if (changes.padded > 0) {
    lines.push_back(fmt::format("paths of smaller ranks, padded with zeros to rank {}: {}", changes.rank,
                                changes.padded));
  }
  if (changes.folded_scales) {
    lines.push_back(fmt::format(
        "the scale of each path was multiplied into its lora_B, in F32, and lora_alpha is the rank, {}",
        changes.rank));
  }
  if (changes.rank > usual_served_rank) {
    lines.push_back(fmt::format("vLLM takes ranks up to {}: serve this adapter with --max-lora-rank {}",
                                usual_served_rank, served_rank(changes.rank)));
  }
  return lines;
}

ExitCode write_for_others(const Options& options) {
  const PeftAdapter adapter = read_peft(options.adapter);
  FolderLock output(options.output, FolderLock::Former::refused);
  const PortableChanges changes = write_portable(adapter, output.begin_contents());
  output.publish();
  Console console;
  console.print(fmt::format("{}: an adapter of rank {} for vLLM, llama.cpp and PEFT, the same as {}",
                            options.output, changes.rank, options.adapter));
  for (const std::string& remark : remarks_on(changes)) console.print(remark);
  return ExitCode::done;
}

ExitCode merge(const Options& options, const OptionTable& table, const MakeRuntime& make_runtime) {
  const BaseModel base(options.base);
  const PeftAdapter adapter = read_peft(options.adapter);
  require_fits(adapter, base.config());
  const std::vector<std::int32_t> tokens = tokens_of(options, table, base);
  const std::unique_ptr<Runtime> runtime = make_runtime(options.runtime, {});
  Console& console = runtime->console();
  for (const std::string& remark : remarks(base, adapter, Quantisation::none)) console.print(remark);

  FolderLock output(options.output, FolderLock::Former::refused);
  const std::filesystem::path folder = output.begin_contents();
  ComparedLogits logits;
  {
    const char* what = "passes of base and adapter";
    console.progress(what, 0, 2);
    ComparedModel model(base, *runtime);
    logits.base = model.logits(nullptr, tokens);
    console.progress(what, 1, 2);
    stop_if_requested(*runtime);
    logits.adapted = model.logits(&adapter, tokens);
    console.progress(what, 2, 2);
  }
  const std::int64_t projections =
      write_merged(base, adapter, folder, runtime->backend(), [&](std::int64_t done, std::int64_t total) {
        console.progress("MiB written", done >> 20, total >> 20);
        stop_if_requested(*runtime);
      });
  console.progress("passes of the merged model", 0, 1);
  const BaseModel merged(folder);
  logits.merged = ComparedModel(merged, *runtime).logits(nullptr, tokens);
  console.progress("passes of the merged model", 1, 1);
  console.finish();
  stop_if_requested(*runtime);
  output.publish();
  console.print(fmt::format("{}: {} with {} in {} of its projections", options.output, options.base,
                            options.adapter, projections));
  console.print(to_table(logits, merge_rounding(base, adapter), std::ssize(tokens)));
  return ExitCode::done;
}

}  // namespace

ExitCode export_model(const Arguments& arguments) {
  return run_on_ranks("chorus export", [&](const MakeRuntime& make_runtime) {
    Options options;
    OptionTable table(
        "export",
        "merges an adapter into its base, or writes the adapter so that other programs read it rightly");
    table.add("adapter", options.adapter, "PEFT adapter").required().shown_as("DIR");
    table.add("output", options.output, "new folder").required().shown_as("DIR");
    table.add("base", options.base, "Hugging Face folder of the base model, to merge the adapter into")
        .shown_as("DIR");
    table.add("portable", options.portable,
              "write an adapter for vLLM and llama.cpp instead, with one rank and one alpha");
    table.add("text", options.text, "on which base + adapter and the merged model are compared")
        .shown_as("TEXT");
    table.add("threads", options.runtime.threads, "CPU threads; 0: all cores").between(0, most_threads);
    if (!table.parse(arguments)) return ExitCode::done;
    check(options, table);
    return options.portable ? write_for_others(options) : merge(options, table, make_runtime);
  });
}

}  // namespace chorus::command
