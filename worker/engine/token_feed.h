#pragma once

#include <deque>
#include <span>
#include <vector>

#include "worker/engine/group.h"
#include "worker/model/layers.h"

namespace lapidary {

/// Keeps the newest token of each place where the next step's rows take it: on the first stage's device. The
/// last stage's ranks send what they sampled: past the coordinator, so that no round trip sits between two
/// tokens. With one stage there are no messages: sampling writes to the board.
class TokenFeed {
 public:
  TokenFeed(Backend& ops, const Group& group, int64_t places);

  /// [places + 1, 1] int32: a place's newest token. The last row is for rows that nobody reads. Empty beyond
  /// the first stage.
  Tensor board() const { return board_; }

  /// With several stages, on every decoder rank, after a step's last layer: who was sampled for, and (on the
  /// last stage) what: tokens [places, 1].
  void sampled(std::span<const int32_t> places, Tensor tokens);
  /// On the first stage: returns once the place's newest token is on the board, or in the device's queue
  /// before what follows.
  void wait_for(int32_t place);

  size_t bytes() const { return space_.bytes(); }

 private:
  void receive();

  Backend& ops_;
  const Group& group_;
  Workspace space_;
  Tensor board_;
  Tensor arriving_;                        // [places, 1]
  std::deque<std::vector<int32_t>> owed_;  // messages on their way, in order: the places they are for
  std::vector<std::vector<int32_t>> spare_;
  std::vector<uint64_t> newest_;  // a place: count of the message that will bring its token
  uint64_t promised_ = 0, received_ = 0;
};

}  // namespace lapidary
