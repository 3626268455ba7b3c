#pragma once

#include <deque>
#include <span>

#include "worker/group.h"
#include "worker/sequences.h"

namespace lapidary {

/// Brings the tokens that the last stage samples to the first, where they are the next rows: past the
/// coordinator, so that no round trip sits between two tokens. With one stage they are there already.
class TokenFeed {
 public:
  TokenFeed(const Group& group, Sequences& sequences) : group_(group), sequences_(sequences) {}

  /// On every decoder rank, after a step's last layer: who was sampled for, and (on the last stage) what.
  void sampled(std::span<const int32_t> places, std::span<const int32_t> tokens);
  /// On the first stage: returns once the place's newest token is in its sequence.
  void wait_for(int32_t place);

 private:
  void receive();

  const Group& group_;
  Sequences& sequences_;
  std::deque<std::vector<int32_t>> owed_;  // messages on their way, in order: the places they are for
  std::vector<std::vector<int32_t>> spare_;
  std::vector<uint64_t> newest_;  // a place: count of the message that will bring its token
  std::vector<int32_t> tokens_;
  uint64_t promised_ = 0, received_ = 0;
};

}  // namespace lapidary
