#include "experiments/planning/benchmark_file.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "data/text/files.h"
#include "data/text/json.h"

namespace chorus {

namespace {

double required_number(const JsonFields& fields, const char* key) {
  const std::optional<double> value = fields.number(key);
  require<DataError>(value && *value >= 0, fields.where(), ": field '", key,
                     "' must be a number, not below 0");
  return *value;
}

const Measurement* find(const BenchmarkRun& run, const Measurement& like) {
  const auto found = std::ranges::find_if(run.measurements, [&](const Measurement& m) {
    return m.group == like.group && m.name == like.name && m.shape == like.shape;
  });
  return found == run.measurements.end() ? nullptr : &*found;
}

void say_what_is_alone(std::string& table, const BenchmarkRun& run, const BenchmarkRun& other) {
  for (const Measurement& m : run.measurements) {
    if (find(other, m) == nullptr)
      table += fmt::format("only in {}: {}, {}, {}\n", run.name, m.group, m.name, m.shape);
  }
}

}  // namespace

void write_benchmark(const std::filesystem::path& path, const BenchmarkRun& run) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Measurement& m : run.measurements) {
    list.push_back({{"group", m.group},
                    {"name", m.name},
                    {"shape", m.shape},
                    {"seconds", m.seconds},
                    {"bytes", m.bytes},
                    {"flops", m.flops},
                    {"calls", m.calls}});
  }
  const nlohmann::ordered_json json{{"version", run.version},
                                    {"machine", run.machine},
                                    {"copy_bytes_per_second", run.ceilings.copy_bytes_per_second},
                                    {"matmul_flops_per_second", run.ceilings.matmul_flops_per_second},
                                    {"measurements", list}};
  write_file_atomically(path, json.dump(2) + "\n");
}

BenchmarkRun read_benchmark(const std::filesystem::path& path) {
  const nlohmann::json json = read_json_file(path);
  const JsonFields fields(json, path.string());
  BenchmarkRun run{.name = path.string(),
                   .version = fields.text("version").value_or(""),
                   .machine = fields.text("machine").value_or(""),
                   .ceilings = {required_number(fields, "copy_bytes_per_second"),
                                required_number(fields, "matmul_flops_per_second")},
                   .measurements = {}};
  require<DataError>(fields["measurements"].is_array(), path.string(),
                     ": field 'measurements' must be a list");
  for (const nlohmann::json& each : fields["measurements"]) {
    const JsonFields m(each, fmt::format("{}: measurement {}", path.string(), run.measurements.size()));
    run.measurements.push_back({m.required_text("group"), m.required_text("name"), m.required_text("shape"),
                                required_number(m, "seconds"), required_number(m, "bytes"),
                                required_number(m, "flops"), m.number("calls").value_or(0)});
  }
  return run;
}

std::string comparison_table(const BenchmarkRun& first, const BenchmarkRun& second) {
  std::string table;
  for (const BenchmarkRun* run : {&first, &second}) {
    if (!run->machine.empty()) table += fmt::format("{}: {}\n", run->name, run->machine);
  }
  if (first.machine != second.machine) table += "machine or sizes differ: compare only what is the same\n";
  table += fmt::format(
      "copy {:.1f} and {:.1f} GB/s, square product {:.2f} and {:.2f} TFLOP/s\n",
      first.ceilings.copy_bytes_per_second / 1e9, second.ceilings.copy_bytes_per_second / 1e9,
      first.ceilings.matmul_flops_per_second / 1e12, second.ceilings.matmul_flops_per_second / 1e12);
  table += fmt::format("\n{:<32}{:<30}{:>12}{:>12}{:>9}{:>9}{:>9}\n", "", "shape", "first", "second",
                       "faster", "of step", "of step");
  std::string group;
  for (const Measurement& now : second.measurements) {
    const Measurement* then = find(first, now);
    if (then == nullptr) continue;
    if (now.group != group) table += fmt::format("{}{}\n", group.empty() ? "" : "\n", now.group);
    group = now.group;
    table += fmt::format("  {:<30}{:<30}{:>12}{:>12}{:>8.2f}x{:>9}{:>9}\n", now.name, now.shape,
                         print_time(then->seconds), print_time(now.seconds), then->seconds / now.seconds,
                         share_of_step(*then, first.measurements), share_of_step(now, second.measurements));
  }
  table += "\n";
  say_what_is_alone(table, first, second);
  say_what_is_alone(table, second, first);
  return table;
}

}  // namespace chorus
