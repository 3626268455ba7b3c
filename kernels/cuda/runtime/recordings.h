#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "kernels/cuda/runtime/device.h"

namespace lapidary::cuda {

/// The recordings of one stream, by key (Backend::replay). The first run of a key is a plain one: whatever is
/// made when it is first needed (kernels' attributes, connections) is there when the second is recorded.
class Recordings {
 public:
  explicit Recordings(Stream stream) : stream_(stream) {}
  ~Recordings() { clear(); }
  Recordings(const Recordings&) = delete;

  void run(uint64_t key, const std::function<void()>& body);
  /// Whether a body runs to be recorded.
  bool recording() const { return recording_; }
  /// Forgets them all: memory that they work on is given back. They must not be under way.
  void clear();
  int64_t replays() const { return replays_; }

 private:
  Graph record(const std::function<void()>& body);

  const Stream stream_;
  std::map<uint64_t, Graph> graphs_;  // without a handle: the plain run was
  bool recording_ = false;
  int64_t replays_ = 0;
};

}  // namespace lapidary::cuda
