#pragma once

#include <deque>
#include <span>
#include <vector>

#include "worker/model/group.h"
#include "worker/model/layers.h"

namespace lapidary {

/// Keeps the newest token of each slot where the next step's rows take it: on the first stage's device. The
/// last stage's ranks send what they sampled: past the coordinator, so that no round trip sits between two
/// tokens. With one stage there are no messages: sampling writes to the token_table.
class TokenFeed {
 public:
  TokenFeed(Backend& ops, const DeviceGroup& group, int64_t slots);

  /// [slots + 1, 1] int32: a slot's newest token. The last row is for rows that nobody reads. Empty beyond
  /// the first stage.
  Tensor token_table() const { return token_table_; }

  /// With several stages, on every decoder rank, after a step's last layer: who was sampled for, and (on the
  /// last stage) what: tokens [slots, 1].
  void sampled(std::span<const int32_t> slots, Tensor tokens);
  /// On the first stage: returns once the slot's newest token is on the token_table, or in the device's
  /// queue before what follows.
  void wait_for(int32_t slot);

  size_t bytes() const { return space_.bytes(); }

 private:
  void receive();

  Backend& ops_;
  const DeviceGroup& group_;
  Workspace space_;
  Tensor token_table_;
  Tensor arriving_;                        // [slots, 1]
  std::deque<std::vector<int32_t>> owed_;  // messages on their way, in order: the slots they are for
  std::vector<std::vector<int32_t>> spare_;
  std::vector<uint64_t> newest_;  // a slot: count of the message that will bring its token
  uint64_t promised_ = 0, received_ = 0;
};

}  // namespace lapidary
