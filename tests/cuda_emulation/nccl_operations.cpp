// NCCL: collectives as work in streams. Each begins with an exchange of what the ranks think they do, so that ranks that
// disagree are told so, where NCCL would hang. Progress is by polling: ranks may come to their streams in any order, and
// an abort can end a wait.

#include <chrono>
#include <climits>
#include <cstring>
#include <map>

#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/entry_points.h"
#include "tests/cuda_emulation/nccl_emulation.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/settings.h"
#include "tests/cuda_emulation/shadow.h"
#include "tests/cuda_emulation/streams.h"

namespace chorus::cuda_emulation {
namespace {

using Kind = Operation::Kind;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

const char* name(Kind kind) {
  constexpr const char* names[] = {"ncclAllReduce", "ncclReduce", "ncclReduceScatter", "ncclAllGather",
                                   "ncclBroadcast", "ncclSend",   "ncclRecv"};
  return names[static_cast<int>(kind)];
}

// What every rank must agree on.
struct Header {
  Kind kind;
  std::int32_t type, reduction, root;
  std::uint64_t count;
  std::uint32_t number, unused;

  std::string text() const {
    return fmt::format("{} of {} elements of type {}, reduction {}, root {}, as operation {}", name(kind),
                       count, type, reduction, root, number);
  }
};

// MPI may still write into the buffers of an operation that was given up.
std::vector<std::vector<char>>& abandoned() {
  static std::vector<std::vector<char>> buffers;
  return buffers;
}

class RunningOperation {
 public:
  explicit RunningOperation(const Operation& operation) : op_(operation) {}
  ~RunningOperation() {
    if (request_ == MPI_REQUEST_NULL) return;
    abandoned().push_back(std::move(sent_));
    abandoned().push_back(std::move(received_));
  }
  RunningOperation(const RunningOperation&) = delete;
  RunningOperation& operator=(const RunningOperation&) = delete;

  const Communicator* communicator() const { return op_.communicator.get(); }
  bool is_point_to_point() const { return op_.kind == Kind::send || op_.kind == Kind::receive; }

  // True when the operation is done.
  bool poll() {
    if (op_.communicator->aborted) return true;
    if (stage_ == Stage::waiting) {
      if (!is_point_to_point() && op_.number != op_.communicator->exchanged) return false;
      begin();
    }
    while (stage_ != Stage::done) {
      if (!arrived()) return false;
      if (stage_ == Stage::headers) {
        compare_headers();
        exchange_data();
      } else {
        write_result();
        stage_ = Stage::done;
      }
    }
    return true;
  }

 private:
  enum class Stage { waiting, headers, data, done };

  std::size_t bytes() const { return op_.count * bytes_of(op_.type); }
  std::size_t ranks() const { return static_cast<std::size_t>(op_.communicator->ranks); }
  bool alone() const { return op_.communicator->mpi == MPI_COMM_NULL; }
  MPI_Comm mpi() const { return op_.communicator->mpi; }

  static int as_int(std::size_t bytes) {
    if (bytes > INT_MAX) report(Location::current(), "NCCL: {} bytes are too many for the emulation", bytes);
    return static_cast<int>(bytes);
  }

  void begin() {
    started_ = seconds();
    if (is_point_to_point()) {
      exchange_data();
      return;
    }
    own_ = {op_.kind, op_.type, op_.reduction, op_.root, op_.count, op_.number, 0};
    headers_.assign(ranks(), own_);
    stage_ = Stage::headers;
    if (alone()) return;
    MPI_Iallgather(&own_, sizeof own_, MPI_BYTE, headers_.data(), sizeof own_, MPI_BYTE, mpi(), &request_);
  }

  bool arrived() {
    int done = 1;
    if (request_ != MPI_REQUEST_NULL) MPI_Test(&request_, &done, MPI_STATUS_IGNORE);
    if (done != 0) return true;
    Communicator& communicator = *op_.communicator;
    if (seconds() - started_ > settings().nccl_timeout && communicator.asynchronous_error == ncclSuccess) {
      communicator.asynchronous_error = ncclRemoteError;
      explain(fmt::format("rank {} of {} has waited for its peers for {} s in {}", communicator.rank,
                          communicator.ranks, settings().nccl_timeout, name(op_.kind)));
    }
    return false;
  }

  void compare_headers() const {
    for (std::size_t i = 0; i < headers_.size(); ++i) {
      if (std::memcmp(&headers_[i], &own_, sizeof own_) == 0) continue;
      report(Location::current(), "NCCL: rank {} calls {}; rank {} calls {}", op_.communicator->rank,
             own_.text(), i, headers_[i].text());
    }
  }

  void stage_input(std::size_t size) {
    check_range(op_.from, size, false, name(op_.kind));
    if (checked) {
      if (const std::ptrdiff_t first = first_unwritten(op_.from, size); first >= 0) {
        report(Location::current(), "{} sends uninitialised device memory, from byte {} on", name(op_.kind),
               first);
      }
    }
    const auto* begin = static_cast<const char*>(op_.from);
    sent_.assign(begin, begin + size);
  }

  // All ranks' inputs end up in received_, in the order of ranks; for alone() at once.
  void exchange_data() {
    stage_ = Stage::data;
    if (!is_point_to_point()) ++op_.communicator->exchanged;
    const std::size_t size = bytes();
    switch (op_.kind) {
      case Kind::all_reduce:
      case Kind::reduce:
      case Kind::all_gather:
        stage_input(size);
        received_.resize(size * ranks());
        if (alone()) break;
        MPI_Iallgather(sent_.data(), as_int(size), MPI_BYTE, received_.data(), as_int(size), MPI_BYTE, mpi(),
                       &request_);
        return;
      case Kind::reduce_scatter:
        stage_input(size * ranks());
        received_.resize(size * ranks());
        if (alone()) break;
        MPI_Ialltoall(sent_.data(), as_int(size), MPI_BYTE, received_.data(), as_int(size), MPI_BYTE, mpi(),
                      &request_);
        return;
      case Kind::broadcast:
        if (op_.communicator->rank == op_.root) stage_input(size);
        sent_.resize(size);
        if (alone()) break;
        received_ = sent_;
        MPI_Ibcast(received_.data(), as_int(size), MPI_BYTE, op_.root, mpi(), &request_);
        return;
      case Kind::send:
        stage_input(size);
        MPI_Isend(sent_.data(), as_int(size), MPI_BYTE, op_.root, point_to_point_tag, mpi(), &request_);
        return;
      case Kind::receive:
        received_.resize(size);
        MPI_Irecv(received_.data(), as_int(size), MPI_BYTE, op_.root, point_to_point_tag, mpi(), &request_);
        return;
    }
    received_ = sent_;
  }

  void write_result() {
    if (op_.kind == Kind::send || (op_.kind == Kind::reduce && op_.communicator->rank != op_.root)) return;
    const std::size_t size = bytes();
    const bool reduces =
        op_.kind == Kind::all_reduce || op_.kind == Kind::reduce || op_.kind == Kind::reduce_scatter;
    if (reduces) {  // in the order of ranks, whoever was first
      for (std::size_t rank = 1; rank < ranks(); ++rank) {
        combine(received_.data(), received_.data() + rank * size, op_.count, op_.type, op_.reduction);
      }
      if (op_.reduction == ncclAvg) divide(received_.data(), op_.count, op_.type, op_.communicator->ranks);
      received_.resize(size);
    }
    check_range(op_.to, received_.size(), true, name(op_.kind));
    if (received_.empty()) return;
    std::memcpy(op_.to, received_.data(), received_.size());
    if (checked) mark_written(op_.to, received_.size());
  }

  static constexpr int point_to_point_tag = 7;

  Operation op_;
  Stage stage_ = Stage::waiting;
  double started_ = 0;
  MPI_Request request_ = MPI_REQUEST_NULL;
  Header own_{};
  std::vector<Header> headers_;
  std::vector<char> sent_, received_;
};

int open_groups = 0;
std::vector<Operation>& open_group() {
  static std::vector<Operation> operations;
  return operations;
}

}  // namespace

void submit(const std::vector<Operation>& group) {
  auto rest = std::make_shared<std::vector<std::unique_ptr<RunningOperation>>>();
  std::map<cudaStream_t, const char*> streams;
  for (const Operation& operation : group) {
    rest->push_back(std::make_unique<RunningOperation>(operation));
    streams[operation.stream] = name(operation.kind);
  }
  for (const auto& [stream, call] : streams) {
    enqueue(stream, call, [rest] {
      std::erase_if(*rest, [](const auto& operation) { return operation->poll(); });
      return rest->empty();
    });
  }
}

ncclResult_t add(Operation operation) {
  Communicator& communicator = *operation.communicator;
  check_stream(operation.stream, name(operation.kind));
  if (communicator.aborted) return ncclInvalidUsage;
  if (operation.root < 0 || operation.root >= communicator.ranks) return ncclInvalidArgument;
  if (operation.stream->device != communicator.device) return ncclInvalidArgument;
  const bool message = operation.kind == Kind::send || operation.kind == Kind::receive;
  if (message && operation.root == communicator.rank) {
    explain("NCCL: messages of a rank to itself are not emulated");
    return ncclInvalidUsage;
  }
  if (!message) operation.number = communicator.called++;
  if (open_groups > 0) {
    open_group().push_back(operation);
  } else {
    submit({operation});
  }
  return ncclSuccess;
}

}  // namespace chorus::cuda_emulation

using namespace chorus::cuda_emulation;

namespace {

ncclResult_t operate(const char* name, ncclComm_t communicator, cudaStream_t stream, Operation::Kind kind,
                     const void* from, void* to, std::size_t count, ncclDataType_t type,
                     ncclRedOp_t reduction = ncclSum, int root = 0) {
  return entry<ncclResult_t>(name, [&] {
    if (communicator == nullptr) return ncclInvalidArgument;
    return add({communicator->communicator, stream, kind, from, to, count, type, reduction, root});
  });
}

}  // namespace

extern "C" {

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t reduction, ncclComm_t communicator, cudaStream_t stream) {
  return operate(__func__, communicator, stream, Operation::Kind::all_reduce, from, to, count, type,
                 reduction);
}
ncclResult_t ncclReduce(const void* from, void* to, std::size_t count, ncclDataType_t type,
                        ncclRedOp_t reduction, int root, ncclComm_t communicator, cudaStream_t stream) {
  return operate(__func__, communicator, stream, Operation::Kind::reduce, from, to, count, type, reduction,
                 root);
}
ncclResult_t ncclReduceScatter(const void* from, void* to, std::size_t count, ncclDataType_t type,
                               ncclRedOp_t reduction, ncclComm_t communicator, cudaStream_t stream) {
  return operate(__func__, communicator, stream, Operation::Kind::reduce_scatter, from, to, count, type,
                 reduction);
}
ncclResult_t ncclAllGather(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclComm_t communicator, cudaStream_t stream) {
  return operate(__func__, communicator, stream, Operation::Kind::all_gather, from, to, count, type);
}
ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type, int root,
                           ncclComm_t communicator, cudaStream_t stream) {
  return operate(__func__, communicator, stream, Operation::Kind::broadcast, from, to, count, type, ncclSum,
                 root);
}
ncclResult_t ncclSend(const void* from, std::size_t count, ncclDataType_t type, int peer,
                      ncclComm_t communicator, cudaStream_t stream) {
  return operate(__func__, communicator, stream, Operation::Kind::send, from, nullptr, count, type, ncclSum,
                 peer);
}
ncclResult_t ncclRecv(void* to, std::size_t count, ncclDataType_t type, int peer, ncclComm_t communicator,
                      cudaStream_t stream) {
  return operate(__func__, communicator, stream, Operation::Kind::receive, nullptr, to, count, type, ncclSum,
                 peer);
}

ncclResult_t ncclGroupStart() {
  return entry<ncclResult_t>(__func__, [&] {
    ++open_groups;
    return ncclSuccess;
  });
}
ncclResult_t ncclGroupEnd() {
  return entry<ncclResult_t>(__func__, [&] {
    if (open_groups == 0) return ncclInvalidUsage;
    if (--open_groups == 0 && !open_group().empty()) submit(std::exchange(open_group(), {}));
    return ncclSuccess;
  });
}
}
