#pragma once

// NCCL on MPI: ranks are processes. Data pass through host memory, since a peer could read the pages of a sender at any
// time, also when they are locked.

#include <memory>
#include <vector>

#include <mpi.h>
#include <nccl.h>

#include "tests/cuda_emulation/device.h"

namespace chorus::cuda_emulation {

// What the copies of one communicator share: the operations in its queues may outlive the caller's handle.
struct Communicator {
  MPI_Comm mpi = MPI_COMM_NULL;  // null: the only rank
  int rank = 0, ranks = 1, device = 0;
  bool aborted = false;
  ncclResult_t asynchronous_error = ncclSuccess;
  // Collectives called, and those of them whose exchanges have all been started. One starts after the other, also those
  // in different streams, since MPI too wants the same order on all ranks.
  unsigned called = 0, exchanged = 0;
};

struct Operation {
  enum class Kind : std::int32_t { all_reduce, reduce, reduce_scatter, all_gather, broadcast, send, receive };

  std::shared_ptr<Communicator> communicator;
  cudaStream_t stream;
  Kind kind;
  const void* from;
  void* to;
  std::size_t count;
  ncclDataType_t type;
  ncclRedOp_t reduction;
  int root;             // or the peer
  unsigned number = 0;  // among the collectives of the communicator
};

std::size_t bytes_of(ncclDataType_t type);
// into[i] = into[i] (reduction) other[i]; bf16 is rounded each time, as NCCL's rings do.
void combine(void* into, const void* other, std::size_t count, ncclDataType_t type, ncclRedOp_t reduction);
// For averages.
void divide(void* values, std::size_t count, ncclDataType_t type, int divisor);

// Queues a group of operations: its members make progress together.
void submit(const std::vector<Operation>& group);
// The group that is open, or the operation at once.
ncclResult_t add(Operation operation);

}  // namespace chorus::cuda_emulation

// NCCL's own name for what ncclComm_t points to.
struct ncclComm {
  std::shared_ptr<chorus::cuda_emulation::Communicator> communicator;
};
