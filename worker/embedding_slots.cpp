#include "worker/embedding_slots.h"

#include <stdexcept>

#include "configs/error.h"

namespace lapidary {

EmbeddingSlots::EmbeddingSlots(Backend& backend, int64_t slots, int64_t tokens, int64_t hidden)
    : backend_(backend), slots_(slots), tokens_(tokens), hidden_(hidden), data_(backend.allocate(bytes())) {}

size_t EmbeddingSlots::bytes() const {
  return static_cast<size_t>(slots_ * tokens_ * hidden_) * sizeof(float);
}

Tensor EmbeddingSlots::at(int64_t slot) const {
  if (slot < 0 || slot >= slots_)
    throw std::logic_error(cat("embedding slot ", slot, ", but there are ", slots_));
  return view(data_.get(), DType::f32, slots_ * tokens_, hidden_)
      .row_range(slot * tokens_, (slot + 1) * tokens_);
}

void EmbeddingSlots::store(int64_t slot, Tensor rows) {
  backend_.copy(at(slot), rows);
  backend_.synchronize();
}

}  // namespace lapidary
