#include "parallel/mpi_communicator.h"

#include <algorithm>
#include <array>
#include <source_location>

namespace chorus {

namespace {

// Large messages go in pieces: Open MPI over shared memory reduces 64 MiB at once three times slower per byte.
constexpr std::int64_t piece_bytes = std::int64_t{8} << 20;

template <Reduce how>
void reduce_bf16(void* in, void* in_out, int* count, MPI_Datatype*) {
  const auto* a = static_cast<const bfloat16*>(in);
  auto* b = static_cast<bfloat16*>(in_out);
  for (int i = 0; i < *count; ++i) {
    const auto x = static_cast<float>(a[i]), y = static_cast<float>(b[i]);
    b[i] = bfloat16(how == Reduce::sum ? x + y : std::max(x, y));
  }
}

MPI_Datatype mpi_type(DType dtype, MPI_Datatype bf16) {
  switch (dtype) {
    case DType::f32:
      return MPI_FLOAT;
    case DType::bf16:
      return bf16;
    case DType::f64:
      return MPI_DOUBLE;
    case DType::u8:
      return MPI_UINT8_T;
    case DType::i32:
      return MPI_INT32_T;
    case DType::i64:
      return MPI_INT64_T;
  }
  return MPI_DATATYPE_NULL;
}

}  // namespace

void check_mpi(int status, std::source_location where) {
  if (status == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(status, text.data(), &length);
  throw Error(fmt::format("MPI: {} [{}:{}]", std::string_view(text.data(), static_cast<std::size_t>(length)),
                          where.file_name(), where.line()));
}

MpiCommunicator::MpiCommunicator(MPI_Comm parent, int color, int key) {
  check_mpi(MPI_Comm_split(parent, color, key, &comm_));
  check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN));
  check_mpi(MPI_Comm_rank(comm_, &rank_));
  check_mpi(MPI_Comm_size(comm_, &size_));
  check_mpi(MPI_Type_contiguous(sizeof(bfloat16), MPI_BYTE, &bf16_));
  check_mpi(MPI_Type_commit(&bf16_));
  check_mpi(MPI_Op_create(reduce_bf16<Reduce::sum>, 1, &bf16_sum_));
  check_mpi(MPI_Op_create(reduce_bf16<Reduce::max>, 1, &bf16_max_));
}

// Freeing is local here; whoever ends the session has made sure that no call is under way.
MpiCommunicator::~MpiCommunicator() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized != 0) return;
  MPI_Op_free(&bf16_sum_);
  MPI_Op_free(&bf16_max_);
  MPI_Type_free(&bf16_);
  MPI_Comm_free(&comm_);
}

void MpiCommunicator::all_reduce(Tensor x, Reduce how) {
  if (size_ == 1) return;
  const MPI_Datatype type = mpi_type(x.dtype(), bf16_);
  MPI_Op op = how == Reduce::sum ? MPI_SUM : MPI_MAX;
  if (x.dtype() == DType::bf16) op = how == Reduce::sum ? bf16_sum_ : bf16_max_;
  const std::int64_t width = bytes_per_element(x.dtype());
  for (std::int64_t done = 0; done < x.elements();) {
    const std::int64_t count = std::min(x.elements() - done, piece_bytes / width);
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, static_cast<char*>(x.address()) + done * width,
                            static_cast<int>(count), type, op, comm_));
    done += count;
  }
}

void MpiCommunicator::all_gather(Tensor x) {
  if (size_ == 1) return;
  require(x.dim(0) == size_, "all_gather over ", size_, " ranks of ", x.shape());
  const auto count = static_cast<int>(x.elements() / size_);
  check_mpi(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, x.address(), count, mpi_type(x.dtype(), bf16_),
                          comm_));
}

// Each row is reduced at its own rank, which holds it already at its place.
void MpiCommunicator::reduce_scatter(Tensor x) {
  if (size_ == 1) return;
  require(x.dim(0) == size_, "reduce_scatter over ", size_, " ranks of ", x.shape());
  const MPI_Datatype type = mpi_type(x.dtype(), bf16_);
  const MPI_Op op = x.dtype() == DType::bf16 ? bf16_sum_ : MPI_SUM;
  for (int root = 0; root < size_; ++root) {
    const Tensor row = x.rows(root, root + 1);
    const void* from = root == rank_ ? MPI_IN_PLACE : row.address();
    check_mpi(MPI_Reduce(from, row.address(), static_cast<int>(row.elements()), type, op, root, comm_));
  }
}

void MpiCommunicator::broadcast(Tensor x, int root) {
  if (size_ == 1) return;
  const std::int64_t width = bytes_per_element(x.dtype());
  for (std::int64_t done = 0; done < x.elements();) {
    const std::int64_t count = std::min(x.elements() - done, piece_bytes / width);
    check_mpi(MPI_Bcast(static_cast<char*>(x.address()) + done * width, static_cast<int>(count),
                        mpi_type(x.dtype(), bf16_), root, comm_));
    done += count;
  }
}

void MpiCommunicator::barrier() { check_mpi(MPI_Barrier(comm_)); }

}  // namespace chorus
