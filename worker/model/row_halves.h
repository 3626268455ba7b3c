#pragma once

#include <utility>
#include <vector>

#include "kernels/device_stream.h"
#include "sharding/plan/range.h"

namespace lapidary {

/// The rows of a step: all at once, or two halves, of which one is summed over the ranks while the other is
/// multiplied. Each carries the event of what was done to it last, from layer to layer.
class RowHalves {
 public:
  RowHalves(DeviceStream& stream, int64_t rows, bool split) : stream_(stream) {
    if (split) halves_.push_back({{0, rows / 2}, nullptr});
    halves_.push_back({{split ? rows / 2 : 0, rows}, nullptr});
  }

  bool split() const { return halves_.size() > 1; }

  /// Runs body(rows) for each half, after what was done to that half before. The body returns the event of
  /// its own end, null where that is in the order of the stream.
  template <class Body>
  void each(const Body& body) {
    for (Half& half : halves_) {
      stream_.wait_event(half.done);
      half.done = body(half.rows);
    }
  }

  /// What follows in the stream comes after all that was done to the rows.
  void join() {
    for (Half& half : halves_) stream_.wait_event(std::exchange(half.done, nullptr));
  }

 private:
  struct Half {
    Range rows;
    DeviceEvent done;
  };

  DeviceStream& stream_;
  std::vector<Half> halves_;
};

}  // namespace lapidary
