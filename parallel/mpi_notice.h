#pragma once

#include <vector>

#include <mpi.h>

namespace chorus {

// What MpiSession::notify_all() and notified() do, by messages without content. Throws Error where MPI fails.
class MpiNotice {
 public:
  MpiNotice();   // collective
  ~MpiNotice();  // after settle() on all ranks
  MpiNotice(const MpiNotice&) = delete;
  MpiNotice& operator=(const MpiNotice&) = delete;

  void say();
  // Whether this rank or another has said it.
  bool heard();
  // Takes in what is still on its way. Collective; afterwards nobody says anything.
  void settle();

 private:
  void receive();

  MPI_Comm comm_ = MPI_COMM_NULL;
  std::vector<MPI_Request> sent_;
  int received_ = 0;
  bool said_ = false;
};

}  // namespace chorus
