#include "core/training/replicas.h"

#include <vector>

#include "ops/base/hash.h"
#include "parallel/host_values.h"

namespace chorus {

namespace {

// What this rank has of a tensor.
struct Replica {
  std::string name;
  bool split = false;  // among tensor ranks
  std::int64_t hash = 0;
};

std::int64_t hash_of(Backend& backend, ConstTensor tensor) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes()));
  backend.download(bytes.data(), tensor);
  return static_cast<std::int64_t>(XxHash64().add(bytes).value());
}

std::vector<Replica> replicas_of(const Model& model, const AdamW& optimizer) {
  const ParameterSet& parameters = model.parameters();
  std::vector<Replica> replicas;
  for (const Parameter& parameter : parameters.all()) {
    const auto add = [&](const std::string& what, ConstTensor part) {
      replicas.push_back(
          {what + parameter.name, parameter.placement == Placement::sharded, hash_of(model.backend(), part)});
    };
    add("", parameter.master);
    if (parameter.value.address() != parameter.master.address())
      add("the rounded values of ", parameter.value);
    add("the first moments of ", parameters.part_of(parameter, optimizer.first_moments()));
    add("the second moments of ", parameters.part_of(parameter, optimizer.second_moments()));
  }
  for (const auto& [name, norm] : model.base().norms_in_memory())
    replicas.push_back({name, false, hash_of(model.backend(), norm)});
  return replicas;
}

}  // namespace

std::string differing_replicas(const Model& model, const AdamW& optimizer, Arena& arena) {
  const Groups& groups = model.groups();
  if (groups.grid.size() == 1) return "";
  const std::vector<Replica> replicas = replicas_of(model, optimizer);
  std::vector<std::int64_t> own;
  for (const Replica& replica : replicas) own.push_back(replica.hash);
  const auto hashes = gather_over_ranks<std::int64_t>(own, groups.world, model.backend(), arena);
  std::string first;
  std::size_t different = 0;
  for (std::size_t i = 0; i < replicas.size(); ++i) {
    for (std::size_t rank = 1; rank < hashes.size(); ++rank) {
      const std::size_t like =
          replicas[i].split ? rank % static_cast<std::size_t>(groups.grid.tensor_size) : 0;
      if (hashes[rank][i] == hashes[like][i]) continue;
      if (different++ == 0)
        first = fmt::format("{} of rank {} is not that of rank {}", replicas[i].name, rank, like);
    }
  }
  return different > 1 ? fmt::format("{} ({} more)", first, different - 1) : first;
}

}  // namespace chorus
