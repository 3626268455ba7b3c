#pragma once

#include <cstddef>

namespace lapidary {

/// Counts what a model needs of a device before anything is allocated.
class MemoryPlanning {
 public:
  virtual ~MemoryPlanning() = default;

  /// Bytes of its own memory that are free; where tensors lie in host memory that is the host's affair: 0.
  virtual size_t free_memory() const { return 0; }
  /// Until end_plan() allocations are only counted, and nothing is packed, loaded or copied: parts of a model
  /// can be built to see what they need. Backends in host memory work as ever and count nothing.
  virtual void begin_plan() {}
  /// Bytes that allocate(), make_matrix() and the like would have taken.
  virtual size_t end_plan() { return 0; }
};

}  // namespace lapidary
