#pragma once

#include <memory>
#include <string>

#include "parallel/communicator.h"

struct CUstream_st;

namespace chorus {

// The groups of a rank whose tensors are in the memory of a GPU. NCCL works in the order of `stream`, which is the
// backend's; only begun all-reduces run in a stream of their own.
class NcclGroups {
 public:
  // Collective over `host`, by which the ranks find each other; it must outlive the object. Each rank has chosen its
  // GPU.
  NcclGroups(const Groups& host, CUstream_st* stream);
  ~NcclGroups();
  NcclGroups(const NcclGroups&) = delete;
  NcclGroups& operator=(const NcclGroups&) = delete;

  Groups groups();

 private:
  class Communicators;
  std::unique_ptr<Communicators> communicators_;
};

// "NCCL 2.27.3", which the program was built with.
std::string nccl_version();

}  // namespace chorus
