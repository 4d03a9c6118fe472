#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ops/dtype.h"

namespace chorus {

// A way between ranks. The rate is what the sums of a ring carry per direction and rank (NCCL's "bus bandwidth").
struct LinkRate {
  double bytes_per_second = 0;
  double hop_seconds = 0;  // until a neighbour has the first byte
  bool operator==(const LinkRate&) const = default;
};

// What a plan assumes of a machine: data-sheet numbers, and which shares of them work reaches. A JSON file whose fields
// carry their units in their names (docs/scaling.md lists them).
struct Machine {
  std::string name, sources;
  std::string device_name;    // as CUDA calls it; empty: not said
  bool gpu = true;            // with memory beside the arenas: a workspace and the tile lists of attention
  double memory_bytes = 0;    // of one device
  double reserved_bytes = 0;  // of it, for the driver's context and the like
  double communicator_bytes = 0;         // of it, for each group of more than one rank
  double bf16_flops = 0, f32_flops = 0;  // per second, dense products
  double peak_share = 1;                 // of these, in matrix products
  double attention_share = 1;            // of these, in attention
  double memory_bytes_per_second = 0;
  double memory_share = 1;
  double call_seconds = 0;  // from the end of one operator to the start of the next
  int gpus_per_node = 1;
  LinkRate node_link;  // between the devices of a node
  LinkRate network;    // of one device, to other nodes
  bool operator==(const Machine&) const = default;

  double peak_flops(DType dtype) const { return dtype == DType::bf16 ? bf16_flops : f32_flops; }
};

// Throws DataError that begins with `origin` for text that is not JSON, a field that is unknown (and names the
// nearest), missing or out of its range.
Machine parse_machine(const std::string& text, const std::string& origin);

// A shipped machine by its name ("a100-40", "h100", …) or the path of a file. Throws ConfigurationError, which lists the
// shipped ones, where it is neither.
Machine load_machine(const std::string& name_or_path);

// The shipped machine of the devices that CUDA calls so; none for "" and names that no shipped one has.
std::optional<Machine> shipped_machine_of(std::string_view device_name);

struct ShippedMachine {
  const char* name;
  const char* text;
};
const std::vector<ShippedMachine>& shipped_machines();

}  // namespace chorus
