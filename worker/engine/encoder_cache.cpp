#include "worker/engine/encoder_cache.h"

#include <stdexcept>

#include "configs/error.h"

namespace lapidary {

EncoderCache::EncoderCache(Backend& backend, int64_t slots, int64_t tokens, int64_t hidden)
    : backend_(backend),
      slots_(slots),
      tokens_(tokens),
      hidden_(hidden),
      data_(backend.allocate(bytes())),
      stored_(static_cast<size_t>(slots)),
      read_(static_cast<size_t>(slots)) {}

size_t EncoderCache::bytes() const { return static_cast<size_t>(slots_ * tokens_ * hidden_) * sizeof(float); }

Tensor EncoderCache::at(int64_t slot) const {
  if (slot < 0 || slot >= slots_)
    throw std::logic_error(cat("encoder cache slot ", slot, ", but there are ", slots_));
  return view(data_.get(), DType::f32, slots_ * tokens_, hidden_)
      .row_range(slot * tokens_, (slot + 1) * tokens_);
}

Tensor EncoderCache::begin_read(int64_t slot, Backend& reader) const {
  const Tensor rows = at(slot);
  reader.wait_event(stored_[static_cast<size_t>(slot)]);
  return rows;
}

void EncoderCache::end_read(int64_t slot, Backend& reader) const {
  read_[static_cast<size_t>(slot)] = reader.record_event();
}

void EncoderCache::store(int64_t slot, Tensor rows) {
  const Tensor to = at(slot);
  backend_.wait_event(read_[static_cast<size_t>(slot)]);
  backend_.copy(to, rows);
  stored_[static_cast<size_t>(slot)] = backend_.record_event();
}

}  // namespace lapidary
