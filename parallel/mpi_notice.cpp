#include "parallel/mpi_notice.h"

#include "parallel/mpi_communicator.h"

namespace chorus {

MpiNotice::MpiNotice() { check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm_)); }

MpiNotice::~MpiNotice() { MPI_Comm_free(&comm_); }

void MpiNotice::say() {
  if (said_) return;
  said_ = true;
  int rank = 0, size = 1;
  check_mpi(MPI_Comm_rank(comm_, &rank));
  check_mpi(MPI_Comm_size(comm_, &size));
  for (int other = 0; other < size; ++other) {
    if (other == rank) continue;
    sent_.push_back(MPI_REQUEST_NULL);
    check_mpi(MPI_Isend(nullptr, 0, MPI_BYTE, other, 0, comm_, &sent_.back()));
  }
}

bool MpiNotice::heard() {
  if (said_ || received_ > 0) return true;
  int there = 0;
  check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, 0, comm_, &there, MPI_STATUS_IGNORE));
  if (there != 0) receive();
  return received_ > 0;
}

void MpiNotice::receive() {
  check_mpi(MPI_Recv(nullptr, 0, MPI_BYTE, MPI_ANY_SOURCE, 0, comm_, MPI_STATUS_IGNORE));
  ++received_;
}

void MpiNotice::settle() {
  int speakers = said_ ? 1 : 0;
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &speakers, 1, MPI_INT, MPI_SUM, comm_));
  while (received_ < speakers - (said_ ? 1 : 0)) receive();
  check_mpi(MPI_Waitall(static_cast<int>(sent_.size()), sent_.data(), MPI_STATUSES_IGNORE));
  sent_.clear();
}

}  // namespace chorus
