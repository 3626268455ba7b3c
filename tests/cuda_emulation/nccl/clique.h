#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

namespace lapidary::emulation {

/// What one rank brings to an operation of all: the same kind and count on each.
struct Contribution {
  int kind = 0;  // of operation
  int root = 0;
  size_t count = 0;    // elements
  size_t element = 1;  // bytes of one
  const void* from = nullptr;
};

/// The ranks of one communicator, threads of this process. A stream's thread that waits here for another
/// rank's waits for ever if that one is gone, unless its own rank is freed.
class Clique {
 public:
  explicit Clique(int ranks);

  int ranks() const { return ranks_; }

  /// Waits until all ranks have come to meeting `number` with what they bring; that of rank r at place r.
  /// Throws where they do not bring the same kind.
  std::vector<Contribution> meet(int rank, uint64_t number, const Contribution& mine);

  /// A message of one rank to another: post, then wait until it was taken.
  uint64_t post(int from, int to, const Contribution& data);
  void await_taken(int from, int to, uint64_t number);
  /// The next message of `from`, whose bytes are copied to `to_data`.
  void take(int from, int to, void* to_data, size_t bytes);

  /// Rank's waits end, now and from now on, with an exception.
  void free(int rank);

 private:
  struct Meeting {
    std::vector<Contribution> brought;
    int arrived = 0, left = 0;
  };
  struct Mailbox {
    std::deque<Contribution> letters;
    uint64_t posted = 0, taken = 0;
  };

  template <class Ready>
  void wait(std::unique_lock<std::mutex>& lock, int rank, const Ready& ready);

  const int ranks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> freed_;
  std::map<uint64_t, Meeting> meetings_;
  std::map<std::pair<int, int>, Mailbox> mailboxes_;
};

}  // namespace lapidary::emulation
