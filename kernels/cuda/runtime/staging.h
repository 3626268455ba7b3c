#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "kernels/cuda/runtime/device.h"

namespace lapidary::cuda {

/// The way of small arrays of the host (positions, tokens, draws, pixels) to the device: a ring of pinned
/// memory with a twin on the device. What has been handed to the stream is not overwritten before the stream
/// is done with it: an upload that meets work under way waits for it.
class Staging {
 public:
  /// Single uploads of up to `bytes`.
  Staging(Stream stream, size_t bytes);
  ~Staging();
  Staging(const Staging&) = delete;

  /// Room for uploads of up to `bytes`; where it grows it waits for the stream.
  void reserve(size_t bytes);
  size_t most() const { return segment_bytes_; }                   // bytes of one upload
  size_t bytes() const { return 2 * kSegments * segment_bytes_; }  // held, on host and device together

  /// The array on the device, aligned to 16 bytes. It lives until kSegments - 1 more arrays have been
  /// uploaded, for kernels started before that. std::logic_error where it is larger than reserved.
  template <class T>
  const T* upload(std::span<const T> array) {
    return reinterpret_cast<const T*>(upload_bytes(array.data(), array.size_bytes()));
  }

 private:
  static constexpr size_t kSegments = 4;

  const std::byte* upload_bytes(const void* data, size_t bytes);

  Stream stream_;
  size_t segment_bytes_ = 0;
  Buffer pinned_, device_;               // kSegments * segment_bytes_ each
  std::array<Event, kSegments> passed_;  // the copies out of a segment, when it was last full
  size_t segment_ = 0, used_ = 0;
};

}  // namespace lapidary::cuda
