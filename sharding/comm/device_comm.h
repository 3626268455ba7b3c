#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "kernels/backend.h"
#include "sharding/comm/communicator.h"

namespace lapidary {

/// The bytes of contiguous rows.
inline std::span<std::byte> bytes_of(Tensor rows) {
  return {static_cast<std::byte*>(rows.data),
          static_cast<size_t>(rows.rows() * rows.cols()) * size_of(rows.dtype)};
}

/// Collectives and messages of contiguous rows in the memory of each rank's backend. They follow the
/// backend's work before them. Every rank calls the same operations in the same order; a group of one is
/// real.
class DeviceComm {
 public:
  /// `host` is the same group, for bytes of host memory; it outlives this.
  explicit DeviceComm(Communicator& host) : host_(host) {}
  virtual ~DeviceComm() = default;

  int rank() const { return host_.rank(); }
  int size() const { return host_.size(); }
  Communicator& host() const { return host_; }

  /// y [rows, n] = the sum of all ranks' partials [blocks of this rank * rows, n]; as
  /// Communicator::all_reduce has it.
  virtual void all_reduce(Tensor y, Tensor partials, const SumTree::Finish& finish) = 0;
  /// The same with ops.add_rms_norm(to) after it, where to.y is the sum: equal bits. `ops` is the backend of
  /// the tensors. A group may do both at once.
  virtual void all_reduce_add_norm(Backend& ops, const AddNorm& to, Tensor partials,
                                   const SumTree::Finish& finish);
  /// all [size * rows, cols] = every rank's mine [rows, cols], in rank order.
  virtual void all_gather(Tensor all, Tensor mine) = 0;
  virtual void broadcast(Tensor rows, int root) = 0;
  virtual void send(Tensor rows, int to, Channel channel) = 0;
  virtual void receive(Tensor rows, int from, Channel channel) = 0;

  /// Whether all operations are work in the backend's stream and nothing else, so that they return before
  /// they are done and a backend can record and replay them (StepGraphs::replay). Messages are only those of
  /// Channel::activations: the others go through the host everywhere.
  virtual bool in_stream() const { return false; }
  /// Makes what the first operation of each kind and size would make, so that none of them is the first when
  /// a backend records it. Called by all ranks.
  virtual void warm_up() {}
  /// Bytes of the backend's memory that it holds.
  virtual size_t workspace_bytes() const { return 0; }

 protected:
  Communicator& host_;
};

/// For backends whose tensors lie in host memory: their bytes travel as `host` lets them.
std::unique_ptr<DeviceComm> make_host_rows(Communicator& host);
/// A group of one, of tensors in any memory.
std::unique_ptr<DeviceComm> make_solo_rows();
/// For other backends: rows are copied to host memory, travel as `host` lets them, and are copied back.
std::unique_ptr<DeviceComm> make_staged(Communicator& host, Backend& ops);

}  // namespace lapidary
