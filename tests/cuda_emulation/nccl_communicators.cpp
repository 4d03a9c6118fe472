// NCCL: how ranks find each other, and the life of communicators.

#include <chrono>
#include <cstring>

#include <sched.h>

#include "tests/cuda_emulation/entry_points.h"
#include "tests/cuda_emulation/nccl_emulation.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/runtime.h"

namespace chorus::cuda_emulation {
namespace {

// What ncclUniqueId carries: where the ranks meet.
struct Meeting {
  std::uint32_t mark = 0x4e43434c;
  std::int32_t host = 0;  // the MPI rank of the process that made the identity
  std::int32_t number = 0;
};

struct Introduction {
  int rank, ranks;
};

constexpr int introduction_tag = 20000, answer_tag = 24000, tags = 4000;

bool mpi_runs() {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  return initialized != 0 && finalized == 0;
}

bool wait_for(MPI_Request& request) {
  const auto start = std::chrono::steady_clock::now();
  for (int done = 0;; sched_yield()) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done != 0) return true;
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() >
        settings().nccl_timeout) {
      explain(fmt::format("ncclCommInitRank: not all ranks came within {} s", settings().nccl_timeout));
      return false;
    }
  }
}

// The host of the meeting learns who is where, and tells all. Empty: not everybody came.
std::vector<int> meet_as_host(const Meeting& meeting, const Introduction& own, int own_process) {
  std::vector<int> processes(static_cast<std::size_t>(own.ranks), -1);
  processes[static_cast<std::size_t>(own.rank)] = own_process;
  for (int i = 1; i < own.ranks; ++i) {
    Introduction other{};
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status;
    const auto start = std::chrono::steady_clock::now();
    for (int found = 0; found == 0; sched_yield()) {
      MPI_Improbe(MPI_ANY_SOURCE, introduction_tag + meeting.number, MPI_COMM_WORLD, &found, &message,
                  &status);
      const double waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      if (found != 0 || waited < settings().nccl_timeout) continue;
      explain(fmt::format("ncclCommInitRank: {} of {} ranks came within {} s", i, own.ranks,
                          settings().nccl_timeout));
      return {};
    }
    MPI_Imrecv(&other, sizeof other, MPI_BYTE, &message, &request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    if (other.ranks != own.ranks) {
      report(Location::current(),
             "ncclCommInitRank: rank {} says that there are {} ranks, rank {} that there are {}", own.rank,
             own.ranks, other.rank, other.ranks);
    }
    int& process = processes[static_cast<std::size_t>(other.rank)];
    if (process != -1) report(Location::current(), "ncclCommInitRank: two processes are rank {}", other.rank);
    process = status.MPI_SOURCE;
  }
  for (const int process : processes) {
    if (process == own_process) continue;
    MPI_Send(processes.data(), own.ranks, MPI_INT, process, answer_tag + meeting.number, MPI_COMM_WORLD);
  }
  return processes;
}

std::vector<int> meet_as_guest(const Meeting& meeting, const Introduction& own) {
  std::vector<int> processes(static_cast<std::size_t>(own.ranks), -1);
  MPI_Send(&own, sizeof own, MPI_BYTE, meeting.host, introduction_tag + meeting.number, MPI_COMM_WORLD);
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Irecv(processes.data(), own.ranks, MPI_INT, meeting.host, answer_tag + meeting.number, MPI_COMM_WORLD,
            &request);
  if (wait_for(request)) return processes;
  MPI_Cancel(&request);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  return {};
}

// Only the ranks that take part call MPI, in the order that they say: they may be some of MPI_COMM_WORLD, in any order.
ncclResult_t connect(Communicator& communicator, const Meeting& meeting) {
  int processes_in_all = 0, own_process = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &processes_in_all);
  MPI_Comm_rank(MPI_COMM_WORLD, &own_process);
  if (communicator.ranks > processes_in_all) {
    explain(fmt::format("ncclCommInitRank: {} ranks, but MPI has {} processes", communicator.ranks,
                        processes_in_all));
    return ncclInvalidArgument;
  }
  const Introduction own{communicator.rank, communicator.ranks};
  const std::vector<int> members =
      own_process == meeting.host ? meet_as_host(meeting, own, own_process) : meet_as_guest(meeting, own);
  if (members.empty()) return ncclSystemError;
  MPI_Group world, group;
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  MPI_Group_incl(world, communicator.ranks, members.data(), &group);
  MPI_Comm_create_group(MPI_COMM_WORLD, group, introduction_tag + meeting.number, &communicator.mpi);
  MPI_Group_free(&group);
  MPI_Group_free(&world);
  return ncclSuccess;
}

ncclComm_t handle_of(std::shared_ptr<Communicator> communicator) {
  ++live().communicators;
  return new ncclComm{std::move(communicator)};
}

ncclResult_t initialize(ncclComm_t* handle, int ranks, const ncclUniqueId& id, int rank) {
  if (!settings().driver || settings().devices.empty()) return ncclUnhandledCudaError;
  Meeting meeting;
  std::memcpy(&meeting, id.internal, sizeof meeting);
  if (rank < 0 || rank >= ranks || meeting.mark != Meeting{}.mark) return ncclInvalidArgument;
  auto communicator = std::make_shared<Communicator>();
  communicator->rank = rank;
  communicator->ranks = ranks;
  communicator->device = current_device();
  if (ranks > 1) {
    if (!mpi_runs()) {
      explain("ncclCommInitRank: several ranks need MPI_Init first");
      return ncclSystemError;
    }
    if (const ncclResult_t status = connect(*communicator, meeting); status != ncclSuccess) return status;
  }
  *handle = handle_of(std::move(communicator));
  return ncclSuccess;
}

ncclResult_t split(ncclComm_t handle, int color, int key, ncclComm_t* part) {
  const Communicator& whole = *handle->communicator;
  *part = nullptr;
  auto communicator = std::make_shared<Communicator>();
  communicator->device = whole.device;
  if (whole.mpi != MPI_COMM_NULL) {
    MPI_Comm_split(whole.mpi, color == NCCL_SPLIT_NOCOLOR ? MPI_UNDEFINED : color, key, &communicator->mpi);
    if (communicator->mpi != MPI_COMM_NULL) {
      MPI_Comm_rank(communicator->mpi, &communicator->rank);
      MPI_Comm_size(communicator->mpi, &communicator->ranks);
    }
  }
  if (color != NCCL_SPLIT_NOCOLOR) *part = handle_of(std::move(communicator));
  return ncclSuccess;
}

}  // namespace
}  // namespace chorus::cuda_emulation

using namespace chorus::cuda_emulation;

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  return entry<ncclResult_t>(__func__, [&] {
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
  });
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "a call of CUDA failed";
    case ncclSystemError:
      return "a call of the system failed";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "another process is gone or cannot be reached";
    case ncclInProgress:
      return "in progress";
    default:
      return "an error that the emulation has no name for";
  }
}
const char* ncclGetLastError(ncclComm_t) { return ""; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  return entry<ncclResult_t>(__func__, [&] {
    static int made = 0;
    Meeting meeting;
    if (mpi_runs()) MPI_Comm_rank(MPI_COMM_WORLD, &meeting.host);
    meeting.number = ++made % tags;
    *id = {};
    std::memcpy(id->internal, &meeting, sizeof meeting);
    return ncclSuccess;
  });
}

ncclResult_t ncclCommInitRank(ncclComm_t* communicator, int ranks, ncclUniqueId id, int rank) {
  return entry<ncclResult_t>(__func__, [&] { return initialize(communicator, ranks, id, rank); });
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t*) {
  return entry<ncclResult_t>(__func__, [&] { return initialize(communicator, ranks, id, rank); });
}
ncclResult_t ncclCommSplit(ncclComm_t communicator, int color, int key, ncclComm_t* part, ncclConfig_t*) {
  return entry<ncclResult_t>(__func__, [&] {
    return communicator == nullptr ? ncclInvalidArgument : split(communicator, color, key, part);
  });
}

ncclResult_t ncclCommCount(const ncclComm_t communicator, int* ranks) {
  return entry<ncclResult_t>(__func__, [&] {
    *ranks = communicator->communicator->ranks;
    return ncclSuccess;
  });
}
ncclResult_t ncclCommUserRank(const ncclComm_t communicator, int* rank) {
  return entry<ncclResult_t>(__func__, [&] {
    *rank = communicator->communicator->rank;
    return ncclSuccess;
  });
}
ncclResult_t ncclCommCuDevice(const ncclComm_t communicator, int* device) {
  return entry<ncclResult_t>(__func__, [&] {
    *device = communicator->communicator->device;
    return ncclSuccess;
  });
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t* error) {
  return entry<ncclResult_t>(__func__, [&] {
    *error = communicator->communicator->asynchronous_error;
    return ncclSuccess;
  });
}

ncclResult_t ncclCommFinalize(ncclComm_t communicator) {
  return entry<ncclResult_t>(__func__, [&] {
    if (communicator == nullptr) return ncclInvalidArgument;
    finish_all_streams();
    return ncclSuccess;
  });
}
ncclResult_t ncclCommDestroy(ncclComm_t communicator) {
  return entry<ncclResult_t>(__func__, [&] {
    if (communicator == nullptr) return ncclSuccess;
    finish_all_streams();
    if (communicator->communicator->mpi != MPI_COMM_NULL && mpi_runs())
      MPI_Comm_free(&communicator->communicator->mpi);
    delete communicator;
    --live().communicators;
    return ncclSuccess;
  });
}
// Queued operations end without having done anything. MPI's communicator stays, since its messages may still come.
ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  return entry<ncclResult_t>(__func__, [&] {
    if (communicator == nullptr) return ncclSuccess;
    communicator->communicator->aborted = true;
    delete communicator;
    --live().communicators;
    return ncclSuccess;
  });
}
}
