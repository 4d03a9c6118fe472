#include "parallel/thread_communicator.h"

#include <algorithm>
#include <cstring>
#include <thread>

namespace chorus {

bool ThreadGroup::all_are_there() {
  if (++waiting_ < size()) return false;
  waiting_ = 0;
  ++round_;
  changed_.notify_all();
  return true;
}

void ThreadGroup::meet() {
  std::unique_lock lock(mutex_);
  require(!aborted_, "another rank failed");
  const std::uint64_t round = round_;
  if (all_are_there()) return;
  changed_.wait(lock, [&] { return round_ != round || aborted_; });
  require(round_ != round, "another rank failed");
}

void ThreadGroup::part() {
  std::unique_lock lock(mutex_);
  const std::uint64_t round = round_;
  if (!all_are_there()) changed_.wait(lock, [&] { return round_ != round; });
}

void ThreadGroup::abort() {
  const std::lock_guard lock(mutex_);
  aborted_ = true;
  changed_.notify_all();
}

namespace {

// Reduces elements [begin, end) of all ranks' arrays and leaves the result in each of them.
template <typename T>
void reduce_range(const ThreadGroup& group, Reduce how, std::int64_t begin, std::int64_t end) {
  using Sum = std::conditional_t<std::is_same_v<T, bfloat16>, float, T>;
  for (std::int64_t i = begin; i < end; ++i) {
    auto result = static_cast<Sum>(static_cast<const T*>(group.address(0))[i]);
    for (int rank = 1; rank < group.size(); ++rank) {
      const auto value = static_cast<Sum>(static_cast<const T*>(group.address(rank))[i]);
      result = how == Reduce::sum ? result + value : std::max(result, value);
    }
    for (int rank = 0; rank < group.size(); ++rank) static_cast<T*>(group.address(rank))[i] = T(result);
  }
}

}  // namespace

void ThreadCommunicator::all_reduce(Tensor x, Reduce how) {
  group_.publish(rank_, x.address());
  group_.meet();
  const Shard part = shard(x.elements(), rank_, size());
  switch (x.dtype()) {
    case DType::f32:
      reduce_range<float>(group_, how, part.begin, part.end);
      break;
    case DType::bf16:
      reduce_range<bfloat16>(group_, how, part.begin, part.end);
      break;
    case DType::f64:
      reduce_range<double>(group_, how, part.begin, part.end);
      break;
    case DType::u8:
      reduce_range<std::uint8_t>(group_, how, part.begin, part.end);
      break;
    case DType::i32:
      reduce_range<std::int32_t>(group_, how, part.begin, part.end);
      break;
    case DType::i64:
      reduce_range<std::int64_t>(group_, how, part.begin, part.end);
      break;
  }
  group_.part();
}

void ThreadCommunicator::all_gather(Tensor x) {
  require(x.dim(0) == size(), "all_gather over ", size(), " ranks of ", x.shape());
  const auto bytes = static_cast<std::size_t>(x.bytes() / size());
  group_.publish(rank_, x.address());
  group_.meet();
  for (int other = 0; other < size(); ++other) {
    const std::size_t offset = bytes * static_cast<std::size_t>(other);
    if (other != rank_) {
      std::memcpy(static_cast<char*>(x.address()) + offset,
                  static_cast<const char*>(group_.address(other)) + offset, bytes);
    }
  }
  group_.part();
}

void ThreadCommunicator::broadcast(Tensor x, int root) {
  group_.publish(rank_, x.address());
  group_.meet();
  if (rank_ != root) std::memcpy(x.address(), group_.address(root), static_cast<std::size_t>(x.bytes()));
  group_.part();
}

void run_on_threads(int data_size, int tensor_size, const std::function<void(const Groups&)>& body) {
  const int size = data_size * tensor_size;
  ThreadGroup world(size);
  std::vector<std::unique_ptr<ThreadGroup>> tensor_groups, data_groups;
  for (int d = 0; d < data_size; ++d) tensor_groups.push_back(std::make_unique<ThreadGroup>(tensor_size));
  for (int t = 0; t < tensor_size; ++t) data_groups.push_back(std::make_unique<ThreadGroup>(data_size));

  std::mutex mutex;
  std::exception_ptr failure;
  const auto run_rank = [&](int rank) {
    const ProcessGrid grid{data_size, tensor_size, rank};
    ThreadCommunicator world_communicator(world, rank);
    ThreadCommunicator tensor(*tensor_groups[static_cast<std::size_t>(grid.data_rank())], grid.tensor_rank());
    ThreadCommunicator data(*data_groups[static_cast<std::size_t>(grid.tensor_rank())], grid.data_rank());
    try {
      body(Groups{grid, world_communicator, data, tensor});
    } catch (...) {
      {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
      world.abort();
      for (const auto& group : tensor_groups) group->abort();
      for (const auto& group : data_groups) group->abort();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < size; ++rank) threads.emplace_back(run_rank, rank);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace chorus
