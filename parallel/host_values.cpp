#include "parallel/host_values.h"

#include <algorithm>
#include <cstring>

namespace chorus {

std::vector<std::string> gather_texts(Communicator& ranks, const std::string& text) {
  const auto size = static_cast<std::size_t>(ranks.size());
  const auto rank = static_cast<std::size_t>(ranks.rank());
  std::vector<std::int32_t> lengths(size);
  lengths[rank] = static_cast<std::int32_t>(text.size());
  ranks.all_gather(Tensor(DType::i32, {ranks.size(), 1}, lengths.data()));
  const auto words = static_cast<std::size_t>(*std::max_element(lengths.begin(), lengths.end())) / 4 + 1;
  std::vector<std::int32_t> all(size * words);
  std::memcpy(&all[rank * words], text.data(), text.size());
  ranks.all_gather(Tensor(DType::i32, {ranks.size(), static_cast<std::int64_t>(words)}, all.data()));
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < size; ++i)
    texts.emplace_back(reinterpret_cast<const char*>(&all[i * words]), static_cast<std::size_t>(lengths[i]));
  return texts;
}

}  // namespace chorus
