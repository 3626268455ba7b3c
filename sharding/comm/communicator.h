#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "kernels/tensor.h"
#include "sharding/plan/sum_tree.h"

namespace lapidary {

/// What a message between two ranks is about: each kind is a queue of its own.
enum class Channel : int { activations, tokens, embeddings };

/// A group of ranks: messages and collectives of host memory. Every rank calls the same operations in the
/// same order. A group of one is real: its collectives are the identity. Messages (send, receive) are between
/// two ranks and ask nothing of the others. Rows in the memory of a backend travel by a DeviceComm on top of
/// it.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// y [rows, n] = the sum of all ranks' partials [blocks of this rank * rows, n] (float32, contiguous),
  /// added as `finish` says: the same bits on every rank, whatever their number. y and partials do not
  /// overlap.
  virtual void all_reduce(Tensor y, Tensor partials, const SumTree::Finish& finish) = 0;
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
  /// Moves on what was sent; true while some of it is still under way. A rank that sent something and then
  /// computes, or has nothing to do, calls it now and then.
  virtual bool progress() = 0;

  /// Ranks of equal color become a group, in the order of their ranks here.
  virtual std::unique_ptr<Communicator> split(int color) = 0;

  /// Ends all ranks of the job when one cannot go on; does not return where there are others to end.
  virtual void abort(int code) = 0;
};

std::unique_ptr<Communicator> make_solo();

/// N ranks as threads of this process: body(rank's communicator) on each. The first exception of any rank
/// ends the others' collectives and is thrown again here.
void run_threads(int size, const std::function<void(Communicator&)>& body);

/// All processes of the job; initialises MPI (funneled), and finalises it when destroyed. A build without MPI
/// throws, naming the option.
std::unique_ptr<Communicator> make_mpi();

/// Everyone's text, in rank order: for errors that every rank must hear of before any goes on.
std::vector<std::string> gather_texts(Communicator& comm, const std::string& mine);

/// Runs what may fail on each rank. Where one failed all throw Error with its sentence, so that none goes on
/// to wait for the others.
void agree(Communicator& comm, const std::function<void()>& body);

}  // namespace lapidary
