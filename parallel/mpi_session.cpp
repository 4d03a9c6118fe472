#include "parallel/mpi_session.h"

#include <cstdlib>
#include <optional>
#include <utility>

#include "ops/base/error.h"
#include "parallel/mpi_communicator.h"
#include "parallel/mpi_notice.h"
#include "parallel/mpi_watch.h"
#include "parallel/start_watch.h"

namespace chorus {

namespace {

// What options say is not known yet.
constexpr HangLimits limits_of_start{.end = usual_hang_limit};

void end_as_hung() { std::_Exit(static_cast<int>(ExitCode::hang)); }

class MpiGrid : public MpiSession::Grid {
 public:
  explicit MpiGrid(const ProcessGrid& grid)
      : grid_(grid),
        world_(MPI_COMM_WORLD, 0, grid.rank),
        data_(MPI_COMM_WORLD, grid.tensor_rank(), grid.rank),
        tensor_(MPI_COMM_WORLD, grid.data_rank(), grid.rank) {}
  Groups groups() override { return {grid_, world_, data_, tensor_}; }

 private:
  ProcessGrid grid_;
  MpiCommunicator world_, data_, tensor_;
};

}  // namespace

bool started_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

MpiSession::MpiSession(std::function<void(const std::string&)> say) {
  int provided = 0;
  {
    std::optional<StartWatch> watch;
    if (say) watch.emplace(limits_of_start, std::move(say), end_as_hung);
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided));
  }
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_));
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node));
  check_mpi(MPI_Comm_rank(node, &node_rank_));
  check_mpi(MPI_Comm_size(node, &node_size_));
  check_mpi(MPI_Comm_free(&node));
  notice_ = std::make_unique<MpiNotice>();
  watch_ = std::make_unique<MpiWatch>(provided == MPI_THREAD_MULTIPLE);
}

// Only a rank that ends in order comes here: a failed one has called abort().
MpiSession::~MpiSession() {
  {
    const Activity::In end(&activity(), "the end of all ranks");
    notice_->settle();
  }
  watch_->settle();
  watch_.reset();
  notice_.reset();
  MPI_Finalize();
}

void MpiSession::notify_all() const { notice_->say(); }

bool MpiSession::notified() const { return notice_->heard(); }

Activity& MpiSession::activity() const { return watch_->activity(); }

void MpiSession::watch(HangLimits limits, std::function<void(const std::string&)> say) const {
  watch_->start(limits, std::move(say), end_as_hung);
}

std::unique_ptr<MpiSession::Grid> MpiSession::make_groups(int tensor_size) const {
  return std::make_unique<MpiGrid>(make_grid(size_, tensor_size, rank_));
}

void MpiSession::abort(ExitCode exit_code) const {
  MPI_Abort(MPI_COMM_WORLD, static_cast<int>(exit_code));
  std::abort();
}

}  // namespace chorus
