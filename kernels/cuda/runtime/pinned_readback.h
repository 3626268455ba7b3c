#pragma once

#include <cstddef>
#include <span>

#include "kernels/backend.h"
#include "kernels/cuda/runtime/device.h"

namespace lapidary::cuda {

/// A Readback of the device's memory by way of pinned memory: start() returns at once.
class PinnedReadback final : public Readback {
 public:
  PinnedReadback(Stream stream, size_t bytes);
  ~PinnedReadback() override;
  PinnedReadback(const PinnedReadback&) = delete;

  void start(Tensor src) override;
  bool ready() override { return done(copied_); }
  std::span<const std::byte> wait() override;

 private:
  const Stream stream_;
  const size_t room_;
  Buffer pinned_;
  Event copied_;
  size_t taken_ = 0;
};

}  // namespace lapidary::cuda
