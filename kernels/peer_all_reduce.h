#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "kernels/add_norm.h"
#include "kernels/tensor.h"

namespace lapidary {

/// Sums of small rows over the ranks of a group whose devices reach each other's memory.
class PeerAllReduce {
 public:
  virtual ~PeerAllReduce() = default;
  /// Numbers of one sum.
  virtual int64_t max_elements() const = 0;
  /// y [rows, n] = the ranks' mine [rows, n], added in rank order by SumPlan's stack machine; work in the
  /// backend's stream that waits for the other ranks'. Called by all ranks with equal shapes.
  virtual void sum(Tensor y, Tensor mine, std::span<const int> merges) = 0;
  /// The same with Backend::add_rms_norm behind it, where to.y, float32 and contiguous, is the sum: equal
  /// bits, in one pass where the rows fit.
  virtual void all_reduce_add_norm(const AddNorm& to, Tensor mine, std::span<const int> merges) = 0;
  /// From any thread: sums under way and to come wait for nobody any more; what they give is nothing.
  virtual void abort() = 0;
};

/// Windows of device memory that the ranks of a group open to each other (NCCL's symmetric memory).
class PeerWindows {
 public:
  virtual ~PeerWindows() = default;

  /// Bytes of the windows of make_peer_all_reduce; 0: there is no such sum.
  virtual size_t peer_window_bytes(int ranks) const {
    (void)ranks;
    return 0;
  }
  /// `window`: NCCL's name (ncclWindow_t) for memory that every rank has given, zeroed, to a group of `ranks`
  /// whose devices reach each other's memory. Null where they cannot be reached from the program.
  virtual std::unique_ptr<PeerAllReduce> make_peer_all_reduce(void* window, int rank, int ranks) {
    (void)window, (void)rank, (void)ranks;
    return nullptr;
  }
};

}  // namespace lapidary
