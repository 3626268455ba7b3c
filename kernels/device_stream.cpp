#include "kernels/device_stream.h"

#include <cstring>
#include <stdexcept>
#include <vector>

namespace lapidary {
namespace {

/// Of tensors in host memory, whose operations are done when they return.
class HostReadback final : public Readback {
 public:
  explicit HostReadback(size_t bytes) : room_(bytes) {}

  void start(Tensor src) override {
    const size_t bytes = static_cast<size_t>(src.rows() * src.cols()) * size_of(src.dtype);
    if (bytes > room_.size() || (src.rows() > 1 && src.stride != src.cols()))
      throw std::logic_error("a readback is of contiguous rows that fit");
    if (bytes > 0) std::memcpy(room_.data(), src.data, bytes);
    taken_ = bytes;
  }
  bool ready() override { return true; }
  std::span<const std::byte> wait() override { return {room_.data(), taken_}; }

 private:
  std::vector<std::byte> room_;
  size_t taken_ = 0;
};

}  // namespace

std::unique_ptr<Readback> DeviceStream::make_readback(size_t bytes) {
  return std::make_unique<HostReadback>(bytes);
}

}  // namespace lapidary
