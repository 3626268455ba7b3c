#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "kernels/backend.h"
#include "sharding/plan/sum_tree.h"

namespace lapidary {

/// What a message between two ranks is about: each kind is a queue of its own.
enum class Channel : int { activations, tokens, embeddings };

/// A group of ranks. Every rank calls the same operations in the same order. Operations on a backend's
/// tensors follow the backend's work before them. A group of one is real: its collectives are the identity.
/// Messages (send, receive) are between two ranks and ask nothing of the others.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// y [rows, n] = the sum of all ranks' partials [blocks of this rank * rows, n] (float32, contiguous),
  /// added as `finish` says: the same bits on every rank, whatever their number. y and partials do not
  /// overlap.
  virtual void all_reduce(Tensor y, Tensor partials, const SumTree::Finish& finish) = 0;
  /// The same with ops.add_rms_norm(to) behind it, where to.y is the sum: equal bits. `ops` is the backend of
  /// the tensors. A group may do both at once.
  virtual void all_reduce_add_norm(Backend& ops, const AddNorm& to, Tensor partials,
                                   const SumTree::Finish& finish) {
    all_reduce(to.y, partials, finish);
    ops.add_rms_norm(to);
  }

  /// Bytes of all ranks in rank order; sizes[r] is what rank r gives.
  virtual void all_gather(std::byte* out, std::span<const std::byte> mine, std::span<const size_t> sizes) = 0;
  virtual void broadcast(std::byte* data, size_t bytes, int root) = 0;
  virtual void barrier() = 0;

  /// Starts sending and returns at once: the bytes are copied. Messages of one channel between two ranks
  /// arrive in order. A group of one has nobody to send to (std::logic_error).
  virtual void send(std::span<const std::byte> data, int to, Channel channel) = 0;
  /// Waits for the next message, of exactly data.size() bytes. A rank that waits long sleeps in short naps,
  /// so that it costs no core.
  virtual void receive(std::span<std::byte> data, int from, Channel channel) = 0;
  /// Moves on what was sent; true while some of it is still under way. To be called now and then by a rank
  /// that sent something and then computes, or has nothing to do.
  virtual bool progress() = 0;

  // --- contiguous rows in the memory of the rank's backend. Communicators of host memory move their bytes.
  virtual void broadcast_rows(Tensor rows, int root);
  virtual void send_rows(Tensor rows, int to, Channel channel);
  virtual void receive_rows(Tensor rows, int from, Channel channel);
  /// all [size * rows, cols] = every rank's mine [rows, cols], in rank order.
  virtual void gather_rows(Tensor all, Tensor mine);
  /// Whether all_reduce and the operations on rows are work in the backend's stream and nothing else, so that
  /// they return before they are done and a backend can record and replay them (Backend::replay). Messages
  /// are only those of Channel::activations: the others go through the host everywhere.
  virtual bool in_stream() const { return false; }
  /// Makes what the first operation of each kind and size would make, so that none of them is the first when
  /// a backend records it. Called by all ranks.
  virtual void warm_up() {}

  /// Bytes of the backend's memory that it holds.
  virtual size_t workspace_bytes() const { return 0; }

  /// Ranks of equal color become a group, in the order of their ranks here.
  virtual std::unique_ptr<Communicator> split(int color) = 0;

  /// Ends all ranks of the job when one cannot go on; does not return where there are others to end.
  virtual void abort(int code) = 0;
};

std::unique_ptr<Communicator> make_solo();

/// `host`, for a backend whose tensors do not lie in host memory: rows are copied there, travel as `host`
/// lets them, and are copied back. Both outlive the result.
std::unique_ptr<Communicator> make_staged(Communicator& host, Backend& ops);

/// N ranks as threads of this process: body(rank's communicator) on each. The first exception of any rank
/// ends the others' collectives and is thrown again here.
void run_threads(int size, const std::function<void(Communicator&)>& body);

/// Whether a launcher (mpirun, srun) started this process as one of several.
bool started_by_mpi();
/// All processes of the job; initialises MPI (funneled), and finalises it when destroyed. A build without MPI
/// throws, naming the option.
std::unique_ptr<Communicator> make_mpi();

/// Everyone's text, in rank order: for errors that every rank must hear of before any goes on.
std::vector<std::string> gather_texts(Communicator& comm, const std::string& mine);

/// Runs what may fail on each rank. Where one failed all throw Error with its sentence, so that none goes on
/// to wait for the others.
void agree(Communicator& comm, const std::function<void()>& body);

}  // namespace lapidary
