#pragma once

#include <functional>
#include <memory>

#include "sharding/comm/device_comm.h"
#include "sharding/comm/watchdog.h"

namespace lapidary {

/// The sums of a group that go by the backend's own kernel, alone or with the norm behind them: those of
/// small rows with a block of each rank.
class PeerAllReduces final : public Watchdog::Watched {
 public:
  explicit PeerAllReduces(std::unique_ptr<PeerAllReduce> sum) : sum_(std::move(sum)) {}

  bool takes(Tensor y, const SumTree::Finish& finish) const;
  void sum(Tensor y, Tensor mine, const SumTree::Finish& finish) { sum_->sum(y, mine, finish.merges); }
  void all_reduce_add_norm(const AddNorm& to, Tensor mine, const SumTree::Finish& finish) {
    sum_->all_reduce_add_norm(to, mine, finish.merges);
  }

  /// Takes sums of up to `bytes`.
  void limit(int64_t bytes) { bytes_ = bytes; }
  /// Takes sums of as many bytes, by powers of four, as are added faster so than by `otherwise`, with a norm
  /// behind each: all sums of a decoder's layers have one, and those without are few. As rank 0 of `host` has
  /// measured it; called by all ranks.
  using Otherwise = std::function<void(Tensor y, Tensor mine, const SumTree::Finish& finish)>;
  void measure(Communicator& host, Backend& ops, const Otherwise& otherwise);

  /// What the rank hangs in shows elsewhere.
  std::string trouble() override { return {}; }
  void abort() override { sum_->abort(); }

 private:
  const std::unique_ptr<PeerAllReduce> sum_;
  int64_t bytes_ = 0;
};

}  // namespace lapidary
