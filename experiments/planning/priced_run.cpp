#include "experiments/planning/priced_run.h"

#include <algorithm>
#include <bit>

namespace chorus {

Price& Price::operator+=(const Price& other) {
  seconds += other.seconds;
  product_seconds += other.product_seconds;
  memory_seconds += other.memory_seconds;
  pause_seconds += other.pause_seconds;
  tensor_seconds += other.tensor_seconds;
  gradient_seconds += other.gradient_seconds;
  flops += other.flops;
  bytes += other.bytes;
  tensor_bytes += other.tensor_bytes;
  gradient_bytes += other.gradient_bytes;
  calls += other.calls;
  exchanges += other.exchanges;
  return *this;
}

Price& Price::operator*=(double factor) {
  for (double* value : {&seconds, &product_seconds, &memory_seconds, &pause_seconds, &tensor_seconds,
                        &gradient_seconds, &flops, &bytes, &tensor_bytes, &gradient_bytes})
    *value *= factor;
  return *this;
}

void PricedBackend::count(const OperatorWork& work) {
  const double share = work.attention ? machine_.attention_share : machine_.peak_share;
  const double arithmetic = work.flops / (machine_.peak_flops(work.dtype) * share);
  const double traffic = work.bytes / (machine_.memory_bytes_per_second * machine_.memory_share);
  const double longer = std::max(arithmetic, traffic);
  (arithmetic > traffic ? price_.product_seconds : price_.memory_seconds) += longer;
  price_.pause_seconds += machine_.call_seconds;
  price_.seconds += longer + machine_.call_seconds;
  price_.flops += work.flops;
  price_.bytes += work.bytes;
  ++price_.calls;
}

GridPlaces places_of(const ProcessGrid& grid, int gpus_per_node) {
  const auto place = [&](int size, int stride) {
    const int per_node = std::clamp(gpus_per_node / stride, 1, size);
    return GroupPlace{per_node, (size + per_node - 1) / per_node};
  };
  return {place(grid.tensor_size, 1), place(grid.data_size, grid.tensor_size), place(grid.size(), 1)};
}

double all_reduce_seconds(const Machine& machine, const GroupPlace& place, double bytes) {
  const auto part = [](int ranks) { return 2.0 * (ranks - 1) / ranks; };
  const auto hops = [](int ranks) { return 2.0 * std::bit_width(static_cast<unsigned>(ranks - 1)); };
  return part(place.per_node) * bytes / machine.node_link.bytes_per_second +
         part(place.nodes) * bytes / place.per_node / machine.network.bytes_per_second +
         hops(place.per_node) * machine.node_link.hop_seconds +
         hops(place.nodes) * machine.network.hop_seconds;
}

double PricedCommunicator::exchange(std::int64_t bytes, double share) {
  if (size_ == 1) return 0;
  const auto all = static_cast<double>(bytes);
  (use_ == Use::tensor ? price_.tensor_bytes : price_.gradient_bytes) +=
      share * 2 * (size_ - 1) / size_ * all;
  ++price_.exchanges;
  return share * all_reduce_seconds(machine_, place_, all);
}

void PricedCommunicator::wait(double seconds) {
  (use_ == Use::tensor ? price_.tensor_seconds : price_.gradient_seconds) += seconds;
  price_.seconds += seconds;
}

void PricedCommunicator::wait_for(std::int64_t bytes, double share) { wait(exchange(bytes, share)); }

void PricedCommunicator::begin_all_reduce(Tensor x) {
  price_.side_seconds = std::max(price_.side_seconds, price_.seconds) + exchange(x.bytes(), 1);
}

void PricedCommunicator::finish() { wait(std::max(0.0, price_.side_seconds - price_.seconds)); }

}  // namespace chorus
