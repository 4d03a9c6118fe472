// NCCL on as many GPUs as mpirun started ranks; on an emulated GPU each, or on real ones.

#include <gtest/gtest.h>

#include "ops/cuda/cuda_backend.h"
#include "ops/cuda/gpu.h"
#include "parallel/mpi_session.h"
#include "parallel/nccl_groups.h"
#include "tests/parallel/collectives.h"

namespace chorus {
namespace {

// One MPI session per process: the tests of this file share it.
class NcclTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (started_by_mpi()) session = new MpiSession;
  }
  static void TearDownTestSuite() { delete session; }
  void SetUp() override {
    if (session == nullptr) GTEST_SKIP() << "not started by mpirun: see the tests Nccl.*";
    if (static_cast<int>(gpus()) < session->node_size())
      GTEST_SKIP() << "no usable GPU for each of " << session->node_size() << " ranks: NCCL WAS NOT TESTED";
  }
  static std::size_t gpus() {
    try {
      return list_gpus().size();
    } catch (const ConfigurationError&) {
      return 0;
    }
  }

  static inline MpiSession* session = nullptr;
};

TEST_F(NcclTest, Collectives) {
  for (const int tensor_size : {1, session->size()}) {
    const auto host = session->make_groups(tensor_size);
    CudaBackend backend(session->node_rank());
    NcclGroups groups(host->groups(), backend.stream());
    test::check_collectives(groups.groups().world, backend);
    test::check_collectives(groups.groups().data, backend);
    test::check_collectives(groups.groups().tensor, backend);
  }
}

// What was begun in pieces is complete after finish(), whatever was queued meanwhile.
TEST_F(NcclTest, BegunSumsRunBesideOtherWork) {
  const auto host = session->make_groups(session->size());
  CudaBackend backend(session->node_rank());
  NcclGroups owner(host->groups(), backend.stream());
  Communicator& tensor = owner.groups().tensor;
  Arena arena(backend, 1 << 20, "test");
  const Tensor x = arena.take(DType::f32, {4, 1000}), other = arena.take(DType::f32, {1000});
  backend.fill(x, tensor.rank() + 1);
  for (std::int64_t row = 0; row < 4; ++row) {
    tensor.begin_all_reduce(x.rows(row, row + 1));
    backend.fill(other, static_cast<double>(row));
  }
  tensor.finish();
  backend.add(x, x, x);
  const auto ranks = static_cast<float>(tensor.size());
  for (const float value : download_floats(backend, x)) ASSERT_EQ(value, ranks * (ranks + 1));
  EXPECT_EQ(download_floats(backend, other)[7], 3);
}

}  // namespace
}  // namespace chorus
