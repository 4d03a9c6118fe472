#pragma once

#include <source_location>

#include <mpi.h>

#include "parallel/communicator.h"

namespace chorus {

// Throws Error with MPI's own text unless `status` is MPI_SUCCESS.
void check_mpi(int status, std::source_location where = std::source_location::current());

// Open MPI on host tensors. Owns the MPI communicator.
class MpiCommunicator : public Communicator {
 public:
  // Splits `parent`: ranks with equal `color` form a group, ordered by `key`. Collective.
  MpiCommunicator(MPI_Comm parent, int color, int key);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  using Communicator::all_reduce;
  void all_reduce(Tensor x, Reduce how) override;
  void all_gather(Tensor x) override;
  void reduce_scatter(Tensor x) override;
  void broadcast(Tensor x, int root) override;
  void barrier() override;

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
  MPI_Datatype bf16_ = MPI_DATATYPE_NULL;
  MPI_Op bf16_sum_ = MPI_OP_NULL, bf16_max_ = MPI_OP_NULL;
  int rank_ = 0, size_ = 1;
};

}  // namespace chorus
