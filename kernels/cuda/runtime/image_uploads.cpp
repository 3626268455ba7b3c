#include "kernels/cuda/runtime/image_uploads.h"

#include <cstring>

namespace lapidary::cuda {

ImageUploads::ImageUploads() : stream_(make_stream(true)) {
  for (Slot& slot : slots_) {
    slot.copied = make_event();
    slot.used = make_event();
  }
}

ImageUploads::~ImageUploads() {
  for (const Slot& slot : slots_) {
    destroy(slot.copied);
    destroy(slot.used);
  }
  destroy(stream_);
}

void ImageUploads::reserve(Stream stream, size_t bytes) {
  if (bytes <= bytes_each_) return;
  synchronize(stream);
  synchronize(stream_);
  for (Slot& slot : slots_) {
    slot.pinned.reset();
    slot.device.reset();
    slot.pinned = allocate_pinned(bytes);
    slot.device = allocate(bytes);
  }
  bytes_each_ = bytes;
}

const uint8_t* ImageUploads::upload(Stream stream, const uint8_t* picture, size_t bytes) {
  reserve(stream, bytes);
  Slot& slot = slots_[next_];
  wait(slot.copied);  // the pinned one can be written again…
  std::memcpy(slot.pinned.get(), picture, bytes);
  wait(stream_, slot.used);  // … and its twin when the work on the picture before is done
  copy(stream_, slot.device.get(), slot.pinned.get(), bytes);
  record(slot.copied, stream_);
  wait(stream, slot.copied);
  return reinterpret_cast<const uint8_t*>(slot.device.get());
}

void ImageUploads::release(Stream stream) {
  record(slots_[next_].used, stream);
  next_ = (next_ + 1) % slots_.size();
}

}  // namespace lapidary::cuda
