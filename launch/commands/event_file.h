#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "data/text/files.h"

namespace chorus {

// A value of a step; TensorBoard groups tags by what stands before the slash: "train/loss".
struct Scalar {
  std::string_view tag;
  float value = 0;
};

// One record of a TFRecord file: u64 length of the payload, u32 masked CRC-32C of these 8 bytes, payload, u32 masked
// CRC-32C of the payload; little-endian. https://www.tensorflow.org/tutorials/load_data/tfrecord
std::string tf_record(std::string_view payload);

// The protocol buffer `Event` with a summary of scalars. `wall_time`: seconds since 1970. Messages and field numbers:
// tensorboard/compat/proto/event.proto and summary.proto of https://github.com/tensorflow/tensorboard
std::string scalar_event(double wall_time, std::int64_t step, std::span<const Scalar> scalars);

// Now, in seconds since 1970.
double wall_time();

// Scalars over steps as TensorBoard reads them. Every failure throws DataError with the path and the reason of the
// system.
class EventFile {
 public:
  // A new file in `folder`, which is made where it is missing. It takes the place of all event files there, which
  // are emptied, also for a TensorBoard that has read them already.
  explicit EventFile(const std::filesystem::path& folder);

  void append(double wall_time, std::int64_t step, std::span<const Scalar> scalars);

 private:
  AppendedFile file_;
};

}  // namespace chorus
