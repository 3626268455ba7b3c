#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>

#include "kernels/tensor.h"

namespace lapidary {

/// A point in a stream's work (CUDA's event). Null: the work is done.
using DeviceEvent = std::shared_ptr<void>;

/// A tensor on its way to the host. One thread at a time.
class Readback {
 public:
  virtual ~Readback() = default;
  /// Takes what `src`, contiguous, holds after the operations called so far. One at a time is under way.
  virtual void start(Tensor src) = 0;
  /// Whether wait() would return at once.
  virtual bool ready() = 0;
  /// The bytes of src, valid until the next start().
  virtual std::span<const std::byte> wait() = 0;
};

/// The order of a backend's work: the stream its operations run in, and a side stream. In host
/// memory an operation is done when it returns; then there are no events and one stream.
class DeviceStream {
 public:
  virtual ~DeviceStream() = default;

  virtual void synchronize() = 0;
  /// Behind all operations so far.
  virtual DeviceEvent record_event() { return nullptr; }
  /// Operations from here on begin after those before the event, of this backend or another of its device.
  virtual void wait_event(const DeviceEvent&) {}
  /// Returns when the operations before an event of this backend are done; throws where the device failed.
  virtual void synchronize_event(const DeviceEvent&) {}
  /// Whether tensors lie in host memory. Where they do not, the host reads and writes them by copy() alone,
  /// and matrices by pack() and unpack_row().
  virtual bool on_host() const { return true; }
  /// The queue that its operations run in, as the device's own libraries want it (cudaStream_t); for
  /// communicators that run in it too. Null: there is none.
  virtual void* native_stream() const { return nullptr; }
  /// Whether the work is done that had been given at the last call which returned true. May be called from
  /// any thread while operations run: a watchdog asks it about a lane that may itself wait for ever.
  virtual bool made_progress() { return true; }
  /// For tensors of up to `bytes`.
  virtual std::unique_ptr<Readback> make_readback(size_t bytes);

  /// Runs body(), whose operations go to the side stream: they start after all operations given so far and
  /// overlap those given later, up to wait_event() of the event returned. Bodies run one after another. A
  /// backend with one stream runs body() in it.
  virtual DeviceEvent on_side_stream(const std::function<void()>& body) {
    body();
    return nullptr;
  }
  /// From so many rows on a step is faster when its sums over ranks overlap its products.
  virtual int64_t overlap_min_rows() const { return std::numeric_limits<int64_t>::max(); }
};

}  // namespace lapidary
