#include "launch/commands/file_check.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include <nlohmann/json.hpp>

#include "core/formats/finite.h"
#include "core/training/run_identity.h"
#include "data/text/table.h"
#include "launch/commands/model_setup.h"

namespace chorus {

namespace {

class FileCheck {
 public:
  FileCheck(const FilesToCheck& files, const std::function<void(std::int64_t)>& reading)
      : files_(files), reading_(reading) {}

  std::vector<CheckedPart> parts() {
    if (!files_.base.empty()) check("base", [&] { return check_base(); });
    if (!files_.adapter.empty()) check("adapter", [&] { return check_adapter(); });
    if (!files_.data.empty()) check_data();
    return std::move(parts_);
  }

 private:
  void check(const std::string& what, const std::function<std::string()>& look) {
    try {
      parts_.push_back({what, look()});
    } catch (const DataError& error) {
      parts_.push_back({what, fmt::format("REFUSED: {}", error.what()), false});
    }
  }

  std::string check_base() {
    const BaseModel base(files_.base);
    base.require_undamaged();
    const std::vector<ModelTensor> tensors = model_tensors(base.config());
    for (const ModelTensor& tensor : tensors) require_finite(base.tensor(tensor.name));
    base_.emplace(base);
    const bool known = std::ranges::all_of(base.files(), &SafetensorsFile::has_hashes);
    return fmt::format("whole: {} tensors, {}", tensors.size(), soundness(known));
  }

  std::string check_adapter() {
    const PeftAdapter adapter = read_peft(files_.adapter);
    const std::optional<SavedProjector> projector = find_projector(files_.adapter);
    for (const TensorView& tensor : adapter.file.tensors()) require_finite(tensor);
    if (projector) {
      for (const TensorView& tensor : projector->file.tensors()) require_finite(tensor);
    }
    if (base_) {
      require_fits(adapter, base_->config());
      if (projector) require_fits(*projector, base_->config());
      require_own_base();
    }
    return fmt::format("whole: {} tensors, {}{}", adapter.file.tensors().size(),
                       soundness(adapter.file.has_hashes()), fits());
  }

  // Shapes of two bases may be the same.
  void require_own_base() const {
    const std::optional<nlohmann::json> run = read_identity(files_.adapter);
    if (!run) return;
    const std::string then = run->value("content of the base", ""),
                      now = fmt::format("{:016x}", base_->content_hash());
    require<DataError>(then.empty() || then == now, files_.adapter, " was trained on a base with content ",
                       then, ", ", files_.base, " has ", now,
                       ": the shapes are the same, the weights or their precision are not");
  }

  void check_data() {
    std::vector<std::string> splits;
    check("data", [&] {
      splits = splits_of(files_.data);
      require<DataError>(!splits.empty(), files_.data, " has no splits: `chorus prepare` writes some");
      return fmt::format("{} splits", splits.size());
    });
    for (const std::string& split : splits) check("data: " + split, [&] { return check_split(split); });
  }

  std::string check_split(const std::string& split) const {
    reading_(0);
    const SplitFiles files = required_split(files_.data, split);
    const DataSplit opened(files);
    if (base_) require_fits(opened, files.files[0].string(), *base_);
    return fmt::format("whole: {} samples, {} tokens{}", grouped(opened.samples()), grouped(opened.tokens()),
                       fits());
  }

  void require_finite(const TensorView& tensor) {
    constexpr std::int64_t elements_at_once = 1 << 22;
    reading_(++tensors_);
    const std::int64_t rows = tensor.shape.empty() ? 0 : tensor.shape[0];
    const std::int64_t step =
        std::max<std::int64_t>(elements_at_once * rows / std::max<std::int64_t>(tensor.elements(), 1), 1);
    for (std::int64_t begin = 0; begin < rows; begin += step) {
      const TensorView piece = tensor.rows(begin, std::min(begin + step, rows));
      require<DataError>(all_finite(read_tensor(piece)), tensor.file->path().string(), ": the tensor ",
                         tensor.name, " holds numbers that are not finite");
      tensor.file->give_back(piece.bytes());
    }
  }

  static std::string_view soundness(bool has_hashes) {
    return has_hashes ? "undamaged, finite" : "finite; of another program, without hashes";
  }
  std::string_view fits() const { return base_ ? ", fits the base" : ""; }

  const FilesToCheck& files_;
  const std::function<void(std::int64_t)>& reading_;
  std::int64_t tensors_ = 0;
  std::optional<BaseModel> base_;  // once it is known to be usable
  std::vector<CheckedPart> parts_;
};

}  // namespace

std::vector<CheckedPart> check_files(const FilesToCheck& files,
                                     const std::function<void(std::int64_t)>& reading) {
  return FileCheck(files, reading).parts();
}

std::string to_table(const std::vector<CheckedPart>& parts) {
  std::size_t width = 0;
  for (const CheckedPart& part : parts) width = std::max(width, part.what.size());
  std::string table;
  for (const CheckedPart& part : parts) table += fmt::format("{:<{}}  {}\n", part.what, width, part.verdict);
  return table;
}

}  // namespace chorus
