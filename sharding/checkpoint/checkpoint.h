#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "sharding/checkpoint/safetensors.h"
#include "sharding/checkpoint/tensor_source.h"

namespace lapidary {

/// The weights of a Hugging Face checkpoint folder: `model.safetensors`, else the shards that
/// `model.safetensors.index.json` names. What tensors there are, and where, the files themselves say; where
/// an index says otherwise, and where a weight is stored more than once with the same bytes, it is a remark.
/// Files are mapped; pages already read are given back, so that resident memory stays at what the caller
/// keeps. Throws one sentence for a missing or damaged file, and for a weight that is stored twice and
/// differs.
class Checkpoint final : public TensorSource {
 public:
  explicit Checkpoint(const std::filesystem::path& folder);

  /// Bytes of all tensors as stored.
  int64_t stored_bytes() const;

 private:
  struct Stored {
    const StoredTensor* tensor;
    size_t file;
  };
  /// What was read of a file since its pages were last given back.
  struct Pending {
    const std::byte* begin = nullptr;
    const std::byte* end = nullptr;
    int64_t touched = 0;  // bytes that this made resident, about
  };

  void add_file(const std::filesystem::path& path);
  void add_shards(const std::filesystem::path& index);
  /// Throws a sentence unless `tensor` of the newest file is what is stored already under this name.
  void check_copy(const StoredTensor& tensor, const std::string& name) const;
  void fetch(size_t tensor, Range rows, Range cols, float* out) override;
  void fetch(size_t tensor, Range rows, Range cols, uint16_t* out) override;
  DType dtype_of(size_t tensor) const override;
  void fetch_stored(size_t tensor, Range rows, Range cols, std::byte* out) override;
  /// Throws a sentence for what weights are not read from.
  void check_type(const Stored& stored) const;
  template <class Out>
  void copy_slice(const Stored& stored, Range rows, Range cols, Out* out);
  void note_read(size_t file, std::span<const std::byte> bytes, int64_t touched);

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<Stored> stored_;       // in the order of TensorSource::add
  std::vector<std::string> copies_;  // names stored again with the same bytes
  std::mutex mutex_;                 // guards pending_
  std::vector<Pending> pending_;
};

}  // namespace lapidary
