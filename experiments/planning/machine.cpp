#include "experiments/planning/machine.h"

#include <cmath>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "data/text/json.h"
#include "data/text/text.h"
#include "data/text/text_file.h"
#include "ops/base/error.h"

namespace chorus {

namespace {

constexpr double giga = 1e9, mebi = 1 << 20, gibi = 1 << 30, micro = 1e-6;

// A number of [least, most], above 0 unless least is 0 itself.
double number(const JsonFields& object, const std::string& name, double least, double most) {
  object.get(name);
  const double value = *object.number(name);
  require<DataError>(std::isfinite(value) && value >= least && value <= most, object.where(), ": field '",
                     name, "' is ", value, ", it must be from ", least, " to ", most);
  return value;
}

double rate(const JsonFields& object, const std::string& name) { return number(object, name, 1e-6, 1e9); }
double share(const JsonFields& object, const std::string& name) { return number(object, name, 0.01, 1); }
double amount(const JsonFields& object, const std::string& name) { return number(object, name, 0, 1e9); }

LinkRate parse_link(const JsonFields& machine, const std::string& name) {
  const JsonFields link(machine.get(name), machine.where() + ": " + name, {"gb_per_second", "hop_us"});
  return {giga * rate(link, "gb_per_second"), micro * amount(link, "hop_us")};
}

}  // namespace

Machine parse_machine(const std::string& text, const std::string& origin) {
  const nlohmann::json json = parse_json(text, origin);
  const JsonFields object(json, origin,
                          {"name", "sources", "device_name", "memory_gib", "reserved_gib", "communicator_mib",
                           "peak_tflops", "peak_share", "attention_share", "memory_gb_per_second",
                           "memory_share", "call_us", "gpus_per_node", "node_link", "network"});
  Machine machine;
  machine.name = object.required_text("name");
  machine.sources = object.text("sources").value_or("");
  machine.device_name = object.text("device_name").value_or("");
  machine.memory_bytes = gibi * rate(object, "memory_gib");
  machine.reserved_bytes = gibi * amount(object, "reserved_gib");
  machine.communicator_bytes = mebi * amount(object, "communicator_mib");
  const JsonFields peak(object.get("peak_tflops"), origin + ": peak_tflops", {"bf16", "f32"});
  machine.bf16_flops = 1e12 * rate(peak, "bf16");
  machine.f32_flops = 1e12 * rate(peak, "f32");
  machine.peak_share = share(object, "peak_share");
  machine.attention_share = share(object, "attention_share");
  machine.memory_bytes_per_second = giga * rate(object, "memory_gb_per_second");
  machine.memory_share = share(object, "memory_share");
  machine.call_seconds = micro * amount(object, "call_us");
  const double gpus = number(object, "gpus_per_node", 1, 1024);
  require<DataError>(gpus == std::floor(gpus), origin, ": field 'gpus_per_node' is ", gpus,
                     ", it must be a whole number");
  machine.gpus_per_node = static_cast<int>(gpus);
  machine.node_link = parse_link(object, "node_link");
  machine.network = parse_link(object, "network");
  return machine;
}

Machine load_machine(const std::string& name_or_path) {
  std::vector<std::string> names;
  for (const ShippedMachine& shipped : shipped_machines()) {
    if (name_or_path == shipped.name) return parse_machine(shipped.text, name_or_path);
    names.emplace_back(shipped.name);
  }
  const std::string text =
      std::filesystem::is_regular_file(name_or_path) ? read_file(name_or_path) : std::string();
  require<ConfigurationError>(!text.empty(), "--machine ", name_or_path,
                              ": neither a file that can be read nor one of ", joined(names, ", "),
                              "; did you mean '", nearest(name_or_path, names), "'?");
  return parse_machine(text, name_or_path);
}

std::optional<Machine> shipped_machine_of(std::string_view device_name) {
  if (device_name.empty()) return std::nullopt;
  for (const ShippedMachine& shipped : shipped_machines()) {
    Machine machine = parse_machine(shipped.text, shipped.name);
    if (machine.device_name == device_name) return machine;
  }
  return std::nullopt;
}

}  // namespace chorus
