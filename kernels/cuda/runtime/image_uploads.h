#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/runtime/device.h"

namespace lapidary::cuda {

/// Pictures on their way to the device: two buffers of pinned memory, each with a twin on the device, and a
/// stream of their own, so that a picture is copied while the work on earlier ones goes on.
class ImageUploads {
 public:
  ImageUploads();
  ~ImageUploads();
  ImageUploads(const ImageUploads&) = delete;

  /// Room for pictures of up to `bytes`; where it grows, it waits for `stream`.
  void reserve(Stream stream, size_t bytes);
  size_t bytes() const { return 2 * slots_.size() * bytes_each_; }  // held, on host and device together

  /// The picture on the device, for work that `stream` is given until release(). The host waits until the
  /// picture before last has been copied, the copy until the device is done with it.
  const uint8_t* upload(Stream stream, const uint8_t* picture, size_t bytes);
  /// `stream` was given all work on the newest picture.
  void release(Stream stream);

 private:
  struct Slot {
    Buffer pinned, device;
    Event copied, used;
  };

  size_t bytes_each_ = 0;
  Stream stream_;
  std::array<Slot, 2> slots_;
  size_t next_ = 0;
};

}  // namespace lapidary::cuda
