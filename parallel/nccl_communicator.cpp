#include "parallel/nccl_communicator.h"

#include <exception>

#include "ops/cuda/check.h"
#include "parallel/nccl_groups.h"

namespace chorus {

using cuda::check;

namespace {

ncclDataType_t nccl_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ncclFloat32;
    case DType::bf16:
      return ncclBfloat16;
    case DType::f64:
      return ncclFloat64;
    case DType::u8:
      return ncclUint8;
    case DType::i32:
      return ncclInt32;
    case DType::i64:
      return ncclInt64;
  }
  return ncclNumTypes;
}

std::size_t elements_per_rank(const Tensor& x, int size) {
  require(x.dim(0) == size, "a collective over ", size, " ranks of ", x.shape());
  return static_cast<std::size_t>(x.elements() / size);
}

}  // namespace

void check(ncclResult_t status, const char* call, std::source_location where) {
  if (status == ncclSuccess) return;
  throw Error(
      fmt::format("{}: {} [{}:{}]", call, ncclGetErrorString(status), where.file_name(), where.line()));
}

NcclCommunicator::NcclCommunicator(ncclComm_t comm, Communicator& host, cudaStream_t stream)
    : comm_(comm), host_(host), stream_(stream) {}

// A rank that ends by an error must not wait for the others, who may never come.
NcclCommunicator::~NcclCommunicator() {
  if (side_stream_ != nullptr) (void)cudaStreamDestroy(side_stream_);
  if (ready_ != nullptr) (void)cudaEventDestroy(ready_);
  if (done_ != nullptr) (void)cudaEventDestroy(done_);
  if (comm_ == nullptr) return;
  if (std::uncaught_exceptions() > 0) {
    (void)ncclCommAbort(comm_);
  } else {
    (void)ncclCommDestroy(comm_);
  }
}

void NcclCommunicator::reduce_in(cudaStream_t stream, Tensor x, Reduce how) {
  check(ncclAllReduce(x.address(), x.address(), static_cast<std::size_t>(x.elements()), nccl_type(x.dtype()),
                      how == Reduce::sum ? ncclSum : ncclMax, comm_, stream),
        "ncclAllReduce");
}

void NcclCommunicator::all_reduce(Tensor x, Reduce how) {
  if (comm_ != nullptr && !x.empty()) reduce_in(stream_, x, how);
}

void NcclCommunicator::all_gather(Tensor x) {
  if (comm_ == nullptr || x.empty()) return;
  const std::size_t count = elements_per_rank(x, size());
  check(ncclAllGather(x.rows(rank(), rank() + 1).address(), x.address(), count, nccl_type(x.dtype()), comm_,
                      stream_),
        "ncclAllGather");
}

void NcclCommunicator::reduce_scatter(Tensor x) {
  if (comm_ == nullptr || x.empty()) return;
  const std::size_t count = elements_per_rank(x, size());
  check(ncclReduceScatter(x.address(), x.rows(rank(), rank() + 1).address(), count, nccl_type(x.dtype()),
                          ncclSum, comm_, stream_),
        "ncclReduceScatter");
}

void NcclCommunicator::broadcast(Tensor x, int root) {
  if (comm_ == nullptr || x.empty()) return;
  check(ncclBroadcast(x.address(), x.address(), static_cast<std::size_t>(x.elements()), nccl_type(x.dtype()),
                      root, comm_, stream_),
        "ncclBroadcast");
}

void NcclCommunicator::barrier() {
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  host_.barrier();
}

void NcclCommunicator::begin_all_reduce(Tensor x) {
  if (comm_ == nullptr || x.empty()) return;
  if (side_stream_ == nullptr) {
    int least = 0, greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
    check(cudaEventCreateWithFlags(&ready_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    check(cudaEventCreateWithFlags(&done_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    // Before the products that are queued behind it, which would otherwise take all multiprocessors.
    check(cudaStreamCreateWithPriority(&side_stream_, cudaStreamNonBlocking, greatest),
          "cudaStreamCreateWithPriority");
  }
  check(cudaEventRecord(ready_, stream_), "cudaEventRecord");
  check(cudaStreamWaitEvent(side_stream_, ready_, 0), "cudaStreamWaitEvent");
  reduce_in(side_stream_, x, Reduce::sum);
  check(cudaEventRecord(done_, side_stream_), "cudaEventRecord");
}

void NcclCommunicator::finish() {
  if (done_ != nullptr) check(cudaStreamWaitEvent(stream_, done_, 0), "cudaStreamWaitEvent");
}

namespace {

// The id that rank 0 draws is what the others need to find it.
ncclComm_t join(Communicator& host) {
  if (host.size() == 1) return nullptr;
  ncclUniqueId id{};
  if (host.rank() == 0) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
  static_assert(sizeof(id) % sizeof(std::int32_t) == 0);
  host.broadcast(Tensor(DType::i32, {static_cast<std::int64_t>(sizeof(id) / sizeof(std::int32_t))}, &id), 0);
  ncclComm_t comm = nullptr;
  check(ncclCommInitRank(&comm, host.size(), id, host.rank()), "ncclCommInitRank");
  return comm;
}

ncclComm_t split(ncclComm_t world, int color, int key, int size) {
  if (world == nullptr) return nullptr;
  ncclComm_t comm = nullptr;
  // Every rank of the world takes part in a split, also those that stay alone and want no communicator.
  check(ncclCommSplit(world, size == 1 ? NCCL_SPLIT_NOCOLOR : color, key, &comm, nullptr), "ncclCommSplit");
  return comm;
}

}  // namespace

class NcclGroups::Communicators {
 public:
  Communicators(const Groups& host, cudaStream_t stream)
      : grid_(host.grid),
        world_comm_(join(host.world)),
        world_(world_comm_, host.world, stream),
        data_(split(world_comm_, host.grid.tensor_rank(), host.grid.rank, host.data.size()), host.data,
              stream),
        tensor_(split(world_comm_, host.grid.data_rank(), host.grid.rank, host.tensor.size()), host.tensor,
                stream) {}

  Groups groups() { return {grid_, world_, data_, tensor_}; }

 private:
  ProcessGrid grid_;
  ncclComm_t world_comm_;  // owned by world_
  NcclCommunicator world_, data_, tensor_;
};

NcclGroups::NcclGroups(const Groups& host, CUstream_st* stream)
    : communicators_(std::make_unique<Communicators>(host, stream)) {}

NcclGroups::~NcclGroups() = default;

Groups NcclGroups::groups() { return communicators_->groups(); }

std::string nccl_version() { return fmt::format("NCCL {}.{}.{}", NCCL_MAJOR, NCCL_MINOR, NCCL_PATCH); }

}  // namespace chorus
