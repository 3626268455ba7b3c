#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/cuda/runtime/device.h"
#include "kernels/weight_loader.h"

namespace lapidary::cuda {

/// WeightLoader of a CUDA device. Its buffers are made when they are first needed, so a small model takes
/// few.
class Loader final : public WeightLoader {
 public:
  /// Up to `buffers` of `bytes_each` pinned memory (more where a single row is longer).
  explicit Loader(int device, int buffers = 16, size_t bytes_each = size_t{4} << 20);
  ~Loader() override;

  WeightRows rows_of(const Matrix& w) const override;
  int64_t mlp_chunk_rows(int64_t cols, DType stored) const override;
  void load(const WeightRows& to, DType stored, const std::function<void(std::byte*)>& fill) override;
  void make(const WeightRows& to, const DummyValues& made, int64_t first_row, int64_t first_col) override;
  void finish() override;

  /// Of pinned memory, held.
  size_t pinned_bytes() const;

 private:
  /// A buffer and the stream that takes it to the device; several of them share a stream.
  struct Slot {
    Stream stream;
    Event passed;
    Buffer pinned, device;  // the latter where rows are converted
    size_t pinned_bytes = 0, device_bytes = 0;
  };
  class Lease;

  Slot* take();
  void give_back(Slot* slot);

  const int device_;
  const size_t max_;
  const size_t bytes_each_;
  std::array<Stream, 4> streams_;  // a conversion and the next copy run at the same time
  mutable std::mutex mutex_;       // of the rest
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;  // the one that was filled longest ago first
};

/// In its place while memory is only planned: takes rows and does nothing with them.
class NoLoader final : public WeightLoader {
 public:
  WeightRows rows_of(const Matrix& w) const override;
  int64_t mlp_chunk_rows(int64_t, DType) const override { return 1 << 20; }
  void load(const WeightRows&, DType, const std::function<void(std::byte*)>&) override {}
  void make(const WeightRows&, const DummyValues&, int64_t, int64_t) override {}
  void finish() override {}
};

}  // namespace lapidary::cuda
