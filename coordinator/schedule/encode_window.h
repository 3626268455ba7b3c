#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>

#include "coordinator/schedule/scheduler_types.h"

namespace lapidary {

/// The encodes of one rank's vision lane, in order: the bytes of pictures that were sent to it and are not
/// answered stay within what it has room for, and what is above that waits here. A picture that is larger
/// alone goes when nothing else is on its way. Encodes without bytes (files that the rank reads by itself)
/// take no room.
class EncodeWindow {
 public:
  /// `bytes`: the room.
  explicit EncodeWindow(int64_t bytes = 0) : room_(bytes) {}

  void add(LaneEncode order) { waiting_.push_back(std::move(order)); }
  /// The next to be sent, counted as sent; none while there is no room for it, or none waits.
  std::optional<LaneEncode> next();
  /// An encode was answered; one that is not under way is passed over.
  void answered(uint64_t encode_id);

  size_t waiting() const { return waiting_.size(); }
  int64_t bytes_out() const { return out_; }

 private:
  int64_t room_;
  int64_t out_ = 0;
  std::deque<LaneEncode> waiting_;
  std::unordered_map<uint64_t, int64_t> bytes_;  // of encodes that are out, by their ids
};

}  // namespace lapidary
