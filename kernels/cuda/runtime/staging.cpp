#include "kernels/cuda/runtime/staging.h"

#include <stdexcept>
#include <string>

namespace lapidary::cuda {
namespace {

constexpr size_t kAlignment = 16;

size_t round_up(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

Staging::Staging(Stream stream, size_t bytes) : stream_(stream) {
  for (Event& event : passed_) event = make_event();
  reserve(bytes);
}

Staging::~Staging() {
  for (const Event event : passed_) destroy(event);
}

void Staging::reserve(size_t bytes) {
  if (round_up(bytes) <= segment_bytes_) return;
  synchronize(stream_);
  pinned_.reset();
  device_.reset();
  segment_bytes_ = round_up(bytes);
  pinned_ = allocate_pinned(kSegments * segment_bytes_);
  device_ = allocate(kSegments * segment_bytes_);
  segment_ = used_ = 0;
}

const std::byte* Staging::upload_bytes(const void* data, size_t bytes) {
  if (bytes > segment_bytes_)
    throw std::logic_error("an array of " + std::to_string(bytes) + " bytes for the device, where " +
                           std::to_string(segment_bytes_) + " are reserved");
  if (used_ + bytes > segment_bytes_) {
    record(passed_[segment_], stream_);
    segment_ = (segment_ + 1) % kSegments;
    wait(passed_[segment_]);
    used_ = 0;
  }
  const size_t at = segment_ * segment_bytes_ + used_;
  used_ += round_up(bytes);
  if (bytes > 0) {
    std::memcpy(pinned_.get() + at, data, bytes);
    copy(stream_, device_.get() + at, pinned_.get() + at, bytes);
  }
  return device_.get() + at;
}

}  // namespace lapidary::cuda
