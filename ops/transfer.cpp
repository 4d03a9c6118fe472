#include "ops/transfer.h"

namespace chorus {

namespace {

template <typename T>
void upload_as(Backend& backend, Tensor to, std::span<const float> values) {
  std::vector<T> converted(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) converted[i] = T(values[i]);
  backend.upload(to, converted.data());
}

template <typename T>
std::vector<float> download_as(Backend& backend, ConstTensor from) {
  std::vector<T> raw(static_cast<std::size_t>(from.elements()));
  backend.download(raw.data(), from);
  std::vector<float> values(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) values[i] = static_cast<float>(raw[i]);
  return values;
}

template <typename T>
Tensor upload_as_tensor(Backend& backend, Arena& arena, std::span<const T> values) {
  Tensor tensor = arena.take(dtype_of<T>(), {static_cast<std::int64_t>(values.size())});
  backend.upload(tensor, values.data());
  return tensor;
}

}  // namespace

void upload_floats(Backend& backend, Tensor to, std::span<const float> values) {
  require(to.elements() == static_cast<std::int64_t>(values.size()), values.size(),
          " values for a tensor of shape ", to.shape());
  switch (to.dtype()) {
    case DType::f32:
      return backend.upload(to, values.data());
    case DType::bf16:
      return upload_as<bfloat16>(backend, to, values);
    case DType::f64:
      return upload_as<double>(backend, to, values);
    default:
      throw Error(fmt::format("floats for a tensor of {}", name(to.dtype())));
  }
}

std::vector<float> download_floats(Backend& backend, ConstTensor from) {
  switch (from.dtype()) {
    case DType::f32:
      return download_as<float>(backend, from);
    case DType::bf16:
      return download_as<bfloat16>(backend, from);
    case DType::f64:
      return download_as<double>(backend, from);
    default:
      throw Error(fmt::format("floats from a tensor of {}", name(from.dtype())));
  }
}

Tensor upload_integers(Backend& backend, Arena& arena, std::span<const std::int32_t> values) {
  return upload_as_tensor(backend, arena, values);
}
Tensor upload_integers(Backend& backend, Arena& arena, std::span<const std::int64_t> values) {
  return upload_as_tensor(backend, arena, values);
}

}  // namespace chorus
