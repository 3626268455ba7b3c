#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend.h"

namespace lapidary {

/// The results of one vision lane: `slots` pictures' embeddings, [tokens, hidden] float32 each, allocated
/// once. The lane's thread writes; the decoder lane reads a slot only after its Encoded went out, and the
/// lane is not told to write it again before that step is done, so the two never touch one slot at once and
/// need no lock. Where their backends work later than they are told to, each waits on the device for what the
/// other was told before.
class EncoderCache {
 public:
  /// `backend` is the vision lane's, and outlives this.
  EncoderCache(Backend& backend, int64_t slots, int64_t tokens, int64_t hidden);

  int64_t count() const { return slots_; }
  int64_t tokens() const { return tokens_; }
  int64_t hidden() const { return hidden_; }
  size_t bytes() const;

  /// Slot's rows [tokens, hidden] f32. A slot outside [0, count) is a std::logic_error.
  Tensor at(int64_t slot) const;

  /// A reader's operations from here on, on a backend of this device, see what was stored in the slot…
  Tensor begin_read(int64_t slot, Backend& reader) const;
  /// … and what is stored in it from here on waits for them.
  void end_read(int64_t slot, Backend& reader) const;

  /// Copies rows [tokens, hidden] into a slot, or slot to slot, as an operation of the lane's backend.
  void store(int64_t slot, Tensor rows);
  void copy(int64_t from, int64_t to) { store(to, at(from)); }

 private:
  Backend& backend_;
  int64_t slots_, tokens_, hidden_;
  Buffer data_;
  std::vector<DeviceEvent> stored_;        // of each slot, in the lane's backend
  mutable std::vector<DeviceEvent> read_;  // in the reader's
};

}  // namespace lapidary
