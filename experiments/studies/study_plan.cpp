#include "experiments/studies/study_plan.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "data/text/text.h"
#include "ops/base/error.h"
#include "ops/base/hash.h"

namespace chorus {
namespace {

using Values = std::map<std::string, std::string>;

// A placeholder for which the user gave no value.
struct MissingValue {
  std::string name;
};

// Replaces every {name}. Unlike fill_in(), it says which value is missing, and options may hold other braces.
std::string fill(const std::string& text, const Values& values) {
  std::string out;
  std::size_t begin = 0;
  for (std::size_t open = text.find('{'); open != std::string::npos; open = text.find('{', begin)) {
    const std::size_t close = text.find('}', open);
    if (close == std::string::npos) break;
    const std::string name = text.substr(open + 1, close - open - 1);
    const auto found = values.find(name);
    if (found == values.end()) throw MissingValue{name};
    out += text.substr(begin, open - begin) + found->second;
    begin = close + 1;
  }
  return out + text.substr(begin);
}

// Cut to what tells a study's folders apart.
std::string short_hash(const std::vector<std::string>& words) {
  Fnv1a hash;
  for (const std::string& word : words) hash.add(word).add("\n");
  return fmt::format("{:08x}", hash.value() >> 32);
}

// Whether the base makes vectors for it.
bool maps_lines_to_vectors(const CommandOptions& prepare) {
  const auto is = [&](const char* name, const auto& holds) {
    const auto found = prepare.find(name);
    return found != prepare.end() && found->second && holds(*found->second);
  };
  return is("retrieval", [](const std::string& way) { return way == "embedding"; }) &&
         is("demonstrations", [](const std::string& count) { return count != "0"; });
}

// What a recipe is called in names of folders.
std::string recipe_slug(const CommandOptions& prepare) {
  const auto found = prepare.find("recipe");
  if (found == prepare.end() || !found->second) return "default";
  return std::filesystem::path(*found->second).stem().string();
}

bool trains_all_weights(const CommandOptions& train) {
  const auto found = train.find("method");
  return found != train.end() && found->second == "full";
}

// Plans row after row; equal data sets and stages are found by their arguments.
class Planner {
 public:
  Planner(const Study& study, const StudyRequest& request) : study_(study), request_(request) {
    for (const std::string& corpus : study.corpora) {
      if (request.inputs.contains(corpus)) {
        corpora_.push_back(corpus);
      } else {
        plan_.left_out.push_back(fmt::format("{}: no --corpus {}=DIR is given", corpus, corpus));
      }
    }
  }

  void add(std::size_t row_index) {
    const StudyRow& row = study_.rows[row_index];
    if (row.mixed && corpora_.size() < 2) {
      plan_.left_out.push_back(fmt::format("{}: mixes corpora, but only {} is given", row.name, corpora_[0]));
      return;
    }
    std::vector<std::vector<std::string>> sets;
    if (row.mixed) {
      sets.push_back(corpora_);
    } else {
      for (const std::string& corpus : corpora_) sets.push_back({corpus});
    }
    for (const std::vector<std::string>& set : sets) {
      const std::size_t jobs = plan_.jobs.size(), scores = plan_.scores.size();
      try {
        add_runs(row_index, set);
      } catch (const MissingValue& missing) {
        plan_.jobs.resize(jobs);
        plan_.scores.resize(scores);
        plan_.left_out.push_back(
            fmt::format("{}, {}: needs --value {}=...", row.name, set_name(set), missing.name));
      }
    }
  }

  StudyPlan finish() { return std::move(plan_); }

 private:
  static std::string set_name(const std::vector<std::string>& set) {
    return set.size() == 1 ? set[0] : "mixed";
  }

  // All that is the same for the jobs of one row, set of corpora and seed.
  struct Context {
    const StudyRow& row;
    const std::vector<std::string>& set;
    std::optional<std::uint64_t> seed;
    Values values;
  };

  Values values_of(const std::vector<std::string>& set, const std::optional<std::uint64_t>& seed) const {
    Values values = request_.values;
    values["base"] = request_.base;
    values["corpus"] = set_name(set);
    values["seed"] = fmt::format("{}", seed.value_or(seeds().front()));
    return values;
  }

  const std::vector<std::uint64_t>& seeds() const {
    return request_.seeds.empty() ? study_.seeds : request_.seeds;
  }

  void add_runs(std::size_t row_index, const std::vector<std::string>& set) {
    const StudyRow& row = study_.rows[row_index];
    std::vector<std::optional<std::uint64_t>> seeds_of_row{std::nullopt};
    if (row.trained) seeds_of_row.assign(seeds().begin(), seeds().end());
    for (const auto& seed : seeds_of_row) {
      const std::size_t job = add_run({row, set, seed, values_of(set, seed)});
      for (const std::string& corpus : set) plan_.scores.push_back({row_index, corpus, seed, job});
    }
  }

  // Adds what one score needs, and returns the job that finds it.
  std::size_t add_run(const Context& context) {
    const StudyRow& row = context.row;
    const std::string run = row.trained
                                ? fmt::format("{}/{}/seed-{}", row.name, set_name(context.set), *context.seed)
                                : fmt::format("{}/{}", row.name, set_name(context.set));
    const std::filesystem::path folder = request_.output / "runs" / run;
    Model model{.base = request_.base, .adapter = "", .made_by = std::nullopt};
    for (const StudyStage& stage : row.stages) {
      const CommandOptions train = options(context, study_.train, stage.train, request_.train);
      const std::size_t data = add_data(context, options(context, {}, stage.prepare, request_.prepare));
      model = add_training(context, model, train, data, "");
    }
    const std::size_t data =
        add_data(context, options(context, study_.prepare, row.prepare, request_.prepare));
    if (row.trained) {
      const CommandOptions train = options(context, study_.train, row.train, request_.train);
      model = add_training(context, model, train, data, folder / "train");
    }
    return add_evaluation(context, model, data, folder / "evaluate");
  }

  // What is trained so far.
  struct Model {
    std::string base, adapter;
    std::optional<std::size_t> made_by;
  };

  CommandOptions options(const Context& context, const CommandOptions& of_study, const CommandOptions& of_row,
                         const CommandOptions& of_request) const {
    CommandOptions out = overlaid(overlaid(of_study, of_row), of_request);
    std::erase_if(out, [](const auto& option) { return !option.second; });
    for (auto& [name, value] : out) value = fill(*value, context.values);
    return out;
  }

  static void append(std::vector<std::string>& arguments, const CommandOptions& options) {
    for (const auto& [name, value] : options) {
      arguments.push_back("--" + name);
      arguments.push_back(*value);
    }
  }

  // The index of the job, which is new unless one with the same arguments is planned.
  std::size_t add_job(Job job) {
    const auto same = std::ranges::find(plan_.jobs, job.arguments, &Job::arguments);
    if (same != plan_.jobs.end()) return static_cast<std::size_t>(same - plan_.jobs.begin());
    plan_.jobs.push_back(std::move(job));
    return plan_.jobs.size() - 1;
  }

  // Adds --output, which is a function of the folder.
  static Job make_job(JobKind kind, std::vector<std::string> arguments, std::filesystem::path folder,
                      const std::filesystem::path& output, std::vector<std::size_t> after) {
    Job job{.kind = kind,
            .name = std::filesystem::relative(folder, output).string(),
            .arguments = std::move(arguments),
            .folder = std::move(folder),
            .after = std::move(after)};
    job.arguments.insert(job.arguments.end(), {"--output", output_of(job).string()});
    return job;
  }

  // Of a base that makes vectors: it computes as in `evaluate`, and keeps them for all data of the study.
  CommandOptions options_of_vectors(const Context& context) const {
    CommandOptions out = options(context, study_.evaluate, {}, request_.evaluate);
    std::erase_if(out, [](const auto& option) {
      return std::ranges::find(options_of_computation, option.first) == options_of_computation.end();
    });
    out["vectors"] = (request_.output / "vectors").string();
    return out;
  }

  std::size_t add_data(const Context& context, CommandOptions prepare) {
    const std::string name = set_name(context.set);
    std::vector<std::string> arguments{"prepare"};
    for (const std::string& corpus : context.set) {
      const std::string& input = request_.inputs.at(corpus);
      arguments.push_back(context.set.size() == 1 ? input : corpus + "=" + input);
    }
    arguments.insert(arguments.end(), {"--corpus", name, "--base", request_.base});
    const bool maps_lines = maps_lines_to_vectors(prepare);
    if (maps_lines) prepare = overlaid(options_of_vectors(context), prepare);
    append(arguments, prepare);
    const std::string folder = fmt::format("{}-{}-{}", name, recipe_slug(prepare), short_hash(arguments));
    Job job = make_job(JobKind::prepare, std::move(arguments), request_.output / "data" / folder,
                       request_.output, {});
    job.on_ranks = maps_lines;
    return add_job(std::move(job));
  }

  static void append_model(std::vector<std::string>& arguments, const Model& model) {
    arguments.insert(arguments.end(), {"--base", model.base});
    if (!model.adapter.empty()) arguments.insert(arguments.end(), {"--adapter", model.adapter});
  }

  static std::vector<std::size_t> needs(const Model& model, std::size_t data) {
    std::vector<std::size_t> jobs{data};
    if (model.made_by) jobs.push_back(*model.made_by);
    return jobs;
  }

  // An empty folder: of a stage, which rows may share, so its name comes from its arguments.
  Model add_training(const Context& context, const Model& from, const CommandOptions& train, std::size_t data,
                     std::filesystem::path folder) {
    std::vector<std::string> arguments{"train"};
    append_model(arguments, from);
    arguments.insert(arguments.end(), {"--data", output_of(plan_.jobs[data]).string(), "--seed",
                                       fmt::format("{}", *context.seed)});
    append(arguments, train);
    if (folder.empty()) {
      folder = request_.output / "stages" /
               fmt::format("{}-seed-{}-{}", set_name(context.set), *context.seed, short_hash(arguments));
    }
    const std::size_t job = add_job(make_job(JobKind::train, std::move(arguments), std::move(folder),
                                             request_.output, needs(from, data)));
    const std::string output = output_of(plan_.jobs[job]).string();
    if (trains_all_weights(train)) return {.base = output, .adapter = "", .made_by = job};
    return {.base = from.base, .adapter = output, .made_by = job};
  }

  std::size_t add_evaluation(const Context& context, const Model& model, std::size_t data,
                             std::filesystem::path folder) {
    CommandOptions evaluate = options(context, study_.evaluate, context.row.evaluate, request_.evaluate);
    evaluate.try_emplace("split", "test");
    evaluate.try_emplace("compare-base", "off");
    std::vector<std::string> arguments{"evaluate"};
    append_model(arguments, model);
    arguments.insert(arguments.end(), {"--data", output_of(plan_.jobs[data]).string()});
    append(arguments, evaluate);
    return add_job(make_job(JobKind::evaluate, std::move(arguments), std::move(folder), request_.output,
                            needs(model, data)));
  }

  const Study& study_;
  const StudyRequest& request_;
  std::vector<std::string> corpora_;  // with an input
  StudyPlan plan_;
};

void check_known(const std::string& name, const std::vector<std::string>& known, const std::string& what) {
  require<ConfigurationError>(std::ranges::find(known, name) != known.end(), "the study has no ", what, " '",
                              name, "'; did you mean '", nearest(name, known), "'? It has ",
                              joined(known, ", "));
}

}  // namespace

StudyPlan plan_study(const Study& study, const StudyRequest& request) {
  std::vector<std::string> names;
  for (const StudyRow& row : study.rows) names.push_back(row.name);
  for (const std::string& name : request.rows) check_known(name, names, "row");
  for (const auto& [corpus, input] : request.inputs) check_known(corpus, study.corpora, "corpus");
  require<ConfigurationError>(!request.inputs.empty(), "no corpus is given: say where one of ",
                              joined(study.corpora, ", "), " is, as --corpus ", study.corpora.front(),
                              "=DIR");
  Planner planner(study, request);
  for (std::size_t row = 0; row < study.rows.size(); ++row) {
    const bool wanted =
        request.rows.empty() || std::ranges::find(request.rows, study.rows[row].name) != request.rows.end();
    if (wanted) planner.add(row);
  }
  StudyPlan plan = planner.finish();
  require<ConfigurationError>(!plan.jobs.empty(), "nothing is left to do: ", joined(plan.left_out, "; "));
  return plan;
}

}  // namespace chorus
