#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace lapidary {

/// The results of one vision lane: `slots` pictures' embeddings, [tokens, hidden] float32 each, allocated
/// once. The lane's thread writes; the decoder lane reads a slot only after its Encoded went out, so the two
/// never touch one slot at once and need no lock.
class EmbeddingSlots {
 public:
  /// `backend` is the vision lane's, and outlives this.
  EmbeddingSlots(Backend& backend, int64_t slots, int64_t tokens, int64_t hidden);

  int64_t count() const { return slots_; }
  int64_t tokens() const { return tokens_; }
  int64_t hidden() const { return hidden_; }
  size_t bytes() const;

  /// Slot's rows [tokens, hidden] f32. A slot outside [0, count) is a std::logic_error.
  Tensor at(int64_t slot) const;

  /// Copies rows [tokens, hidden] into a slot, or slot to slot; done when it returns.
  void store(int64_t slot, Tensor rows);
  void copy(int64_t from, int64_t to) { store(to, at(from)); }

 private:
  Backend& backend_;
  int64_t slots_, tokens_, hidden_;
  Buffer data_;
};

}  // namespace lapidary
