#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/runtime/device.h"

namespace lapidary::cuda {

/// A step's arrays but its spans (StepTable) on the device. All steps of up to `max_spans` rows have them at
/// the same addresses. Memory is taken in the constructor only.
class StepInputs {
 public:
  StepInputs(int64_t max_spans, int64_t max_rows);
  ~StepInputs();
  StepInputs(const StepInputs&) = delete;

  /// Copies the arrays to the device, in the order of the stream; the caller's memory is free on return.
  /// Throws std::logic_error where they don't fit.
  void upload(Stream stream, const StepArrays& step);

  /// Where an array is that has the contents of one that was uploaded last; null: nowhere.
  const int32_t* positions(std::span<const int32_t> array) const { return positions_.find(array); }
  const int32_t* ids(std::span<const int32_t> array) const { return ids_.find(array); }
  const int32_t* slots(std::span<const int32_t> array) const { return slots_.find(array); }
  const SamplingParams* sampling(std::span<const SamplingParams> array) const {
    return sampling_.find(array);
  }

  size_t bytes() const { return bytes_; }

 private:
  /// An array as it was uploaded, and where.
  template <class T>
  struct Held {
    std::vector<T> host;
    const T* device = nullptr;

    const T* find(std::span<const T> array) const {
      return device != nullptr && std::ranges::equal(host, array) ? device : nullptr;
    }
  };
  template <class T>
  size_t put(Held<T>& held, std::span<const T> array, size_t at, int64_t capacity, std::byte* to);

  static constexpr size_t kUploads = 8;  // that may wait in the stream at once
  int64_t max_spans_, max_rows_;
  size_t bytes_ = 0;
  Buffer device_;
  std::array<Buffer, kUploads> pinned_;
  std::array<Event, kUploads> copied_;
  size_t next_ = 0;
  Held<SamplingParams> sampling_;
  Held<int32_t> slots_, ids_, positions_;
};

}  // namespace lapidary::cuda
