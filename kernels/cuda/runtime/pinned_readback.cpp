#include "kernels/cuda/runtime/pinned_readback.h"

#include <stdexcept>

namespace lapidary::cuda {

PinnedReadback::PinnedReadback(Stream stream, size_t bytes)
    : stream_(stream), room_(bytes), pinned_(allocate_pinned(bytes)), copied_(make_event()) {}

PinnedReadback::~PinnedReadback() {
  try {
    cuda::wait(copied_);  // the device may be writing what goes back
  } catch (const std::exception&) {
    // Who waits for a result hears of it.
  }
  destroy(copied_);
}

void PinnedReadback::start(Tensor src) {
  const size_t bytes = static_cast<size_t>(src.rows() * src.cols()) * size_of(src.dtype);
  if (bytes > room_ || (src.rows() > 1 && src.stride != src.cols()))
    throw std::logic_error("a readback is of contiguous rows that fit");
  if (bytes > 0) copy(stream_, pinned_.get(), src.data, bytes);
  record(copied_, stream_);
  taken_ = bytes;
}

std::span<const std::byte> PinnedReadback::wait() {
  cuda::wait(copied_);
  return {pinned_.get(), taken_};
}

}  // namespace lapidary::cuda
