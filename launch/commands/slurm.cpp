#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include <fmt/format.h>

#include "data/text/files.h"
#include "data/text/text.h"
#include "experiments/studies/job.h"
#include "launch/commands/commands.h"
#include "launch/commands/startable.h"
#include "launch/process/console.h"
#include "launch/process/environment.h"

namespace chorus::command {

namespace {

enum class Launcher { srun, mpirun };

struct Options {
  std::vector<std::string> configurations, seeds;
  std::string sweep, script, output, setup, program, further_lines;
  std::string name = "chorus", time = "24:00:00", partition, account, qos, constraint, gpu_type, gres, memory,
              log;
  std::string mail_type, mail_user;
  int nodes = 1, ranks_per_node = 0, gpus_per_node = 0, cpus_per_rank = 0, at_once = 0;
  int warning = 120, max_restarts = 20;
  bool chain = false;
  Launcher launcher = Launcher::srun;
  std::vector<Arguments> trials;  // of the sweep
  bool check = true;
  std::string machine;

  int ranks_of_node() const { return ranks_per_node > 0 ? ranks_per_node : std::max(1, gpus_per_node); }
  std::size_t tasks() const { return std::max({configurations.size(), seeds.size(), trials.size()}); }
};

void add_work(OptionTable& table, Options& options) {
  table
      .add("train", options.configurations,
           "configurations of chorus train; of several, each is a task of an array")
      .shown_as("FILE,...");
  table.add("sweep", options.sweep, "configuration of chorus sweep instead; each trial is a task of an array")
      .shown_as("FILE");
  table.add("seeds", options.seeds, "train the one configuration with each of these seeds, as an array");
  table
      .add("output", options.output,
           "--output of the training, instead of the configuration's; with --seeds each gets a folder in it")
      .shown_as("DIR");
  table.add("script", options.script, "new file to write; - is the terminal").required().shown_as("FILE");
  table.add("setup", options.setup, "shell line before the training, such as module load openmpi");
  table.add("check", options.check,
            "first read what the training reads, and refuse one that could not start; off: where base and "
            "data are on the nodes alone");
  table.add("machine", options.machine,
            "also refuse one whose ranks need more memory than a GPU has: a100-40, a100-80, h100, h200, l40s "
            "or a JSON file; empty: unknown");
  table.add("program", options.program, "chorus on the nodes; empty: this one").shown_as("FILE");
}

void add_resources(OptionTable& table, Options& options) {
  table.group("What to ask of Slurm");
  table.add("name", options.name, "of the job");
  table.add("nodes", options.nodes, "machines").at_least(1);
  table.add("gpus-per-node", options.gpus_per_node, "GPUs of each; 0: none").at_least(0);
  table.add("gpu-type", options.gpu_type, "of those GPUs, as the cluster calls it, such as a100; empty: any");
  table.add("gres", options.gres, "other resources of each, as gpu:a100:4 where GPUs are asked for so");
  table.add("ranks-per-node", options.ranks_per_node, "0: one for each GPU").at_least(0);
  table.add("cpus-per-rank", options.cpus_per_rank, "cores; 0: as the cluster has it").at_least(0);
  table.add("memory", options.memory, "of each node, as 200G; empty: as the cluster has it");
  table.add("time", options.time, "limit of one attempt: minutes, hours:minutes:seconds, days-hours");
  table.add("partition", options.partition, "empty: the cluster's own choice");
  table.add("account", options.account, "empty: your own");
  table.add("qos", options.qos, "quality of service; empty: the cluster's own choice");
  table.add("constraint", options.constraint, "features that the machines must have");
  table.add("mail-type", options.mail_type, "events that are mailed, as END,FAIL").shown_as("EVENT,...");
  table.add("mail-user", options.mail_user, "address for them; empty: yours on the cluster");
  table.add("sbatch", options.further_lines, "further options of sbatch: \"--exclusive; --nodelist=h1,h2\"")
      .shown_as("LINES");
  table.add("log", options.log, "file of the output; empty: NAME-JOB.log").shown_as("FILE");
  table.add("at-once", options.at_once, "tasks of an array that run at the same time; 0: all").at_least(0);
  table.add("chain", options.chain, "wait for jobs of the same name and user, so that several can be queued");
}

void add_survival(OptionTable& table, Options& options) {
  table.group("Before the limit, and after");
  table.choice(
      "launcher", options.launcher, {{"srun", Launcher::srun}, {"mpirun", Launcher::mpirun}},
      "what starts the ranks; srun needs Slurm's pmix plugin, and lets ranks save on every kind of end");
  table.add("warning", options.warning, "seconds before the limit at which ranks are told to save and stop")
      .at_least(1);
  table.add("max-restarts", options.max_restarts, "how often the job puts itself back into the queue")
      .at_least(0);
}

// Slurm reads its own lines without any shell: a blank would end the value, and nothing is expanded.
void check_plain(const std::string& option, const std::string& value) {
  require<ConfigurationError>(value.find_first_of(" \t\n\"'$`\\") == std::string::npos, "--", option, " '",
                              value, "': a line of #SBATCH has no room for blanks, quotes or variables");
}

std::vector<std::string> further_lines(const Options& options) {
  std::vector<std::string> lines;
  std::istringstream all(options.further_lines);
  for (std::string line; std::getline(all, line, ';');) {
    if (!is_blank(line)) lines.emplace_back(trimmed(line));
  }
  return lines;
}

// The script depends on its own lines, and Slurm would take the later of two.
void check_further(const std::string& line) {
  const std::string option = line.substr(0, line.find_first_of("= "));
  require<ConfigurationError>(
      line.starts_with("--") && option.size() > 2, "--sbatch: '", line,
      "' is no long option of sbatch: write some like \"--exclusive; --nodelist=h1,h2\"");
  require<ConfigurationError>(line.find_first_of("\n\"'$`\\") == std::string::npos, "--sbatch: '", line,
                              "': a line of #SBATCH has no room for quotes, variables or line breaks");
  constexpr std::array own{"--job-name", "--nodes",   "--ntasks-per-node", "--ntasks",     "--cpus-per-task",
                           "--mem",      "--time",    "--gpus-per-node",   "--output",     "--array",
                           "--signal",   "--requeue", "--open-mode",       "--dependency", "--no-requeue"};
  require<ConfigurationError>(
      std::ranges::find(own, option) == own.end(), "--sbatch: ", option,
      " is written by chorus slurm itself, from its own options (chorus slurm --help)");
}

void check(const Options& options) {
  for (const auto& [option, value] : {std::pair{"name", &options.name},
                                      {"time", &options.time},
                                      {"partition", &options.partition},
                                      {"account", &options.account},
                                      {"qos", &options.qos},
                                      {"constraint", &options.constraint},
                                      {"gpu-type", &options.gpu_type},
                                      {"gres", &options.gres},
                                      {"mail-type", &options.mail_type},
                                      {"mail-user", &options.mail_user},
                                      {"memory", &options.memory},
                                      {"log", &options.log}})
    check_plain(option, *value);
  for (const std::string& further : further_lines(options)) check_further(further);
  require<ConfigurationError>(options.gpu_type.empty() || options.gpus_per_node > 0, "--gpu-type ",
                              options.gpu_type, " goes with --gpus-per-node");
  require<ConfigurationError>(options.configurations.empty() != options.sweep.empty(),
                              "either --train or --sweep says what to run");
  require<ConfigurationError>(options.seeds.empty() || options.configurations.size() == 1,
                              "--seeds goes with one configuration, and --train names ",
                              options.configurations.size());
  require<ConfigurationError>(options.output.empty() || options.configurations.size() == 1,
                              "--output goes with one configuration: each of several must have its own");
  require<ConfigurationError>(options.seeds.empty() || !options.output.empty(),
                              "--seeds needs --output: each seed gets a folder in it");
  require<ConfigurationError>(options.sweep.empty() || !options.chain,
                              "--chain is for one job after another, and --sweep submits two that depend");
  require<ConfigurationError>(options.check || options.machine.empty(),
                              "--machine is for the check that --check off leaves out");
  require<ConfigurationError>(options.at_once == 0 || options.tasks() > 1,
                              "--at-once is for arrays, and there is one task");
  for (const std::string& file : options.configurations) {
    require<ConfigurationError>(std::filesystem::is_regular_file(file), "--train ", file, " is no file");
  }
}

std::string task_numbers(const Options& o) {
  return fmt::format("0-{}{}", o.tasks() - 1, o.at_once > 0 ? fmt::format("%{}", o.at_once) : "");
}

std::string header(const Options& o) {
  std::string text = "#!/bin/bash\n";
  const auto line = [&](const std::string& what) { text += "#SBATCH --" + what + "\n"; };
  const auto given = [&](const std::string& key, const std::string& value) {
    if (!value.empty()) line(key + "=" + value);
  };
  // The array of a sweep is asked for at its submission, since a job without one ends it.
  const bool array = o.sweep.empty() && o.tasks() > 1;
  line("job-name=" + o.name);
  line(fmt::format("nodes={}", o.nodes));
  line(fmt::format("ntasks-per-node={}", o.ranks_of_node()));
  if (o.cpus_per_rank > 0) line(fmt::format("cpus-per-task={}", o.cpus_per_rank));
  if (o.gpus_per_node > 0)
    line(fmt::format("gpus-per-node={}{}{}", o.gpu_type, o.gpu_type.empty() ? "" : ":", o.gpus_per_node));
  given("gres", o.gres);
  given("mem", o.memory);
  line("time=" + o.time);
  given("partition", o.partition);
  given("account", o.account);
  given("qos", o.qos);
  given("constraint", o.constraint);
  given("mail-type", o.mail_type);
  given("mail-user", o.mail_user);
  line("output=" + (!o.log.empty() ? o.log : array ? "%x-%A_%a.log" : "%x-%j.log"));
  if (array) line("array=" + task_numbers(o));
  if (o.chain) line("dependency=singleton");
  line("requeue");
  line("open-mode=append");
  line(fmt::format("signal=B:USR1@{}", o.warning));
  for (const std::string& further : further_lines(o)) text += "#SBATCH " + further + "\n";
  return text;
}

std::string words(const std::vector<std::string>& values) { return shell_line(values); }

// What starts the ranks, as words of a shell.
std::string launcher_words(const Options& o) {
  if (o.launcher == Launcher::mpirun) return "mpirun --bind-to none";
  return "srun --mpi=pmix --kill-on-bad-exit=1" +
         (o.cpus_per_rank > 0 ? fmt::format(" --cpus-per-task={}", o.cpus_per_rank) : "");
}

// The trial of one task, or all that are left and the best's score on test.
std::string trial(const Options& o, const std::string& program) {
  return fmt::format(R"(run=({} sweep {} --launcher "{}")
[[ -z $SLURM_ARRAY_TASK_ID ]] || run+=(--trial "$SLURM_ARRAY_TASK_ID")
)",
                     words({program}), words({o.sweep}), launcher_words(o));
}

// The training of one task; what differs between tasks is looked up by the shell.
std::string training(const Options& o, const std::string& program) {
  std::string text, arguments;
  if (o.configurations.size() > 1) {
    text += "configurations=(" + words(o.configurations) + ")\n";
    arguments = " \"${configurations[SLURM_ARRAY_TASK_ID]}\"";
  } else {
    arguments = " " + words(o.configurations);
  }
  if (!o.seeds.empty()) {
    text += "seeds=(" + words(o.seeds) + ")\n";
    const std::string seed = o.seeds.size() > 1 ? "${seeds[SLURM_ARRAY_TASK_ID]}" : "${seeds[0]}";
    arguments += fmt::format(" --seed \"{}\" --output {}/seed-\"{}\"", seed, words({o.output}), seed);
  } else if (!o.output.empty()) {
    arguments += " --output " + words({o.output});
  }
  return text +
         fmt::format("run=({} {} train{} --resume auto)\n", launcher_words(o), words({program}), arguments);
}

std::string prepare_launcher(const Options& o) {
  if (o.launcher == Launcher::mpirun) {
    return R"(# A lost machine ends the job within seconds instead of minutes.
export OMPI_MCA_oob_tcp_keepalive_time=5 OMPI_MCA_oob_tcp_keepalive_intvl=2 OMPI_MCA_oob_tcp_keepalive_probes=3
)";
  }
  return R"(# What a step leaves on a machine that dies under it hinders a later one of the same number, so that every attempt
# takes another.
for ((i = 0; i < attempt; ++i)); do srun --mpi=none --nodes=1 --ntasks=1 true; done
)";
}

// Exit codes: 0 done; 1 to 4 would come again; 6 saved before the end; what is left is a rank or a machine that died.
std::string script(const Options& o, const std::string& program) {
  std::string text = header(o);
  text += R"(
# Written by chorus slurm. The training saves and stops when told to; this puts the job back into the queue, where it
# goes on from its newest checkpoint.
warned= ended= ranks=
# USR1: the limit is near. TERM: the job was cancelled, or Slurm itself puts it back. Both ask the ranks to stop.
tell_ranks() { [[ -z $ranks ]] || kill -USR2 "$ranks" 2>/dev/null; }
trap 'warned=yes; tell_ranks' USR1
trap 'ended=yes; tell_ranks' TERM
attempt=${SLURM_RESTART_COUNT:-0}
)";
  if (!o.setup.empty()) text += o.setup + "\n";
  text += o.sweep.empty() ? training(o, program) : trial(o, program);
  text += "echo \"attempt $attempt of job $SLURM_JOB_ID on ${SLURM_JOB_NODELIST:-this machine}\"\n";
  text += prepare_launcher(o);
  text += fmt::format(R"("${{run[@]}}" &
ranks=$!
[[ -z $warned$ended ]] || tell_ranks
# A trap interrupts wait.
while :; do
  wait "$ranks"
  code=$?
  kill -0 "$ranks" 2>/dev/null || break
done
echo "attempt $attempt: exit code $code${{warned:+, the limit was near}}${{ended:+, ended by Slurm}}"
case $code in
  [0-4]) [[ -n $warned && $code != 0 ]] || exit "$code" ;;  # done, or an error that would come again
esac
if [[ -z $ended ]] && ((attempt < {})); then
  scontrol requeue "$SLURM_JOB_ID" && sleep 60  # Slurm ends this script meanwhile
fi
exit "$code"
)",
                      o.max_restarts);
  return text;
}

std::string submission(const Options& o) {
  const std::string script_word = words({o.script});
  if (o.sweep.empty()) return "sbatch " + script_word;
  return fmt::format("sbatch --dependency=afterany:$(sbatch --parsable --array={0} {1}) {1}", task_numbers(o),
                     script_word);
}

// A sweep's trials differ in options alone: of the first all is read.
void check_trainings(const Options& o) {
  std::optional<Machine> machine;
  if (!o.machine.empty()) machine = load_machine(o.machine);
  const int ranks = o.nodes * o.ranks_of_node();
  if (!o.sweep.empty()) return require_startable(o.trials.at(0), ranks, machine);
  for (const std::string& configuration : o.configurations) {
    Arguments arguments{configuration};
    if (!o.output.empty()) arguments.insert(arguments.end(), {"--output", o.output});
    if (!o.seeds.empty()) arguments.insert(arguments.end(), {"--seed", o.seeds[0]});
    require_startable(arguments, ranks, machine);
  }
}

ExitCode run(Options& options) {
  if (!options.sweep.empty()) options.trials = trainings_of_sweep(options.sweep);
  check(options);
  if (options.check) check_trainings(options);
  const std::string text = script(options, options.program.empty() ? own_program() : options.program);
  if (options.script == "-") {
    std::fputs(text.c_str(), stdout);
    return ExitCode::done;
  }
  begin_new_file(options.script, "--script");
  write_file_atomically(options.script, text);
  Console().print(
      fmt::format("{}: {} of {} ranks on {} nodes; submit it by:\n{}", options.script,
                  options.tasks() == 1 ? "a training" : fmt::format("{} trainings", options.tasks()),
                  options.nodes * options.ranks_of_node(), options.nodes, submission(options)));
  return ExitCode::done;
}

}  // namespace

ExitCode slurm(const Arguments& arguments) {
  Options options;
  OptionTable table("slurm",
                    "writes a batch script for Slurm that trains, saves before its limit, and goes on");
  add_work(table, options);
  add_resources(table, options);
  add_survival(table, options);
  if (!table.parse(arguments)) return ExitCode::done;
  return run(options);
}

}  // namespace chorus::command
