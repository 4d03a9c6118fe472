#pragma once

#include <source_location>

#include <cuda_runtime.h>
#include <nccl.h>

#include "parallel/communicator.h"

namespace chorus {

// Throws Error with the name of the call and NCCL's own text unless `status` is success.
void check(ncclResult_t status, const char* call,
           std::source_location where = std::source_location::current());

// NCCL on tensors in GPU memory. Owns the NCCL communicator; without one it is the group of a single rank.
class NcclCommunicator : public Communicator {
 public:
  // `host` is the same group on host memory.
  NcclCommunicator(ncclComm_t comm, Communicator& host, cudaStream_t stream);
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  using Communicator::all_reduce;
  void all_reduce(Tensor x, Reduce how) override;
  void all_gather(Tensor x) override;
  void reduce_scatter(Tensor x) override;
  void broadcast(Tensor x, int root) override;
  void barrier() override;
  void begin_all_reduce(Tensor x) override;
  void finish() override;

 private:
  void reduce_in(cudaStream_t stream, Tensor x, Reduce how);

  ncclComm_t comm_;
  Communicator& host_;
  cudaStream_t stream_;
  cudaStream_t side_stream_ = nullptr;  // of begun all-reduces
  cudaEvent_t ready_ = nullptr, done_ = nullptr;
};

}  // namespace chorus
