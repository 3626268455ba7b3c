#include "coordinator/schedule/encoder_cache_slots.h"

#include <algorithm>

#include "configs/error.h"

namespace lapidary {

EncoderCacheSlots::EncoderCacheSlots(const SchedulerConfig& config)
    : per_lane_(config.capacity.encoder_cache_slots()),
      cache_slots_(static_cast<size_t>(config.all_slots())) {
  int32_t slot = 0;
  for (const int32_t rank : config.vision_lanes) {
    Lane& lane = lanes_.emplace_back();
    lane.rank = rank;
    for (int64_t i = 0; i < per_lane_; ++i, ++slot) at(slot).where = lane.idle.insert(lane.idle.end(), slot);
  }
}

size_t EncoderCacheSlots::idle() const {
  size_t all = 0;
  for (const Lane& lane : lanes_) all += lane.idle.size();
  return all;
}

/// Pictures that are there but idle count too: sharing takes their slots out of reach of the others.
bool EncoderCacheSlots::has_room(std::span<const ImageInput> pictures) const {
  size_t needed = 0;
  for (size_t i = 0; i < pictures.size(); ++i) {
    const auto same = [&](const ImageInput& p) { return p.key == pictures[i].key; };
    if (std::any_of(pictures.begin(), pictures.begin() + static_cast<int64_t>(i), same)) continue;
    const auto found = by_key_.find(pictures[i].key);
    if (found == by_key_.end() || (at(found->second).ready && at(found->second).uses == 0)) ++needed;
  }
  return needed <= idle();
}

std::optional<std::vector<int32_t>> EncoderCacheSlots::take(std::span<const ImageInput> pictures) {
  if (!has_room(pictures)) return std::nullopt;
  std::vector<int32_t> taken(pictures.size(), -1);
  // What is there is shared first, so that making room for the rest does not evict it.
  for (const bool all : {false, true})
    for (size_t i = 0; i < pictures.size(); ++i) {
      if (taken[i] >= 0) continue;
      const auto found = by_key_.find(pictures[i].key);
      if (found != by_key_.end())
        taken[i] = share(found->second);
      else if (all)
        taken[i] = encode(pictures[i]);
    }
  return taken;
}

int32_t EncoderCacheSlots::share(int32_t slot) {
  Slot& shared = at(slot);
  if (shared.uses++ == 0 && shared.ready) wake(slot);
  ++shared_;
  return slot;
}

int32_t EncoderCacheSlots::encode(const ImageInput& picture) {
  Lane& lane = least_loaded();
  const int32_t slot = lane.idle.front();
  wake(slot);
  if (at(slot).shared) by_key_.erase(at(slot).key);
  at(slot) = {.key = picture.key,
              .shared = true,
              .uses = 1,
              .encode_id = new_encode_id(slot),
              .where = at(slot).where};
  by_key_[picture.key] = slot;
  ++encoding_;
  ++lane.encoding;
  LaneEncode& order = ordered_.emplace_back();
  order.rank = lane.rank;
  order.encode.set_id(at(slot).encode_id);
  order.encode.set_slot(static_cast<int32_t>(slot % per_lane_));
  order.image = picture.source;
  return slot;
}

/// Of those with an idle slot the one with the fewest encodes; among equals the one whose slot is missed
/// least.
EncoderCacheSlots::Lane& EncoderCacheSlots::least_loaded() {
  Lane* best = nullptr;
  for (Lane& lane : lanes_) {
    if (lane.idle.empty()) continue;
    const auto load = [this](const Lane& l) { return std::pair(l.encoding, at(l.idle.front()).last_use); };
    if (best == nullptr || load(lane) < load(*best)) best = &lane;
  }
  return *best;
}

void EncoderCacheSlots::release(int32_t slot) {
  Slot& released = at(slot);
  const bool under_way = released.shared && !released.ready;
  if (--released.uses == 0 && !under_way) rest(slot);
}

/// Nobody uses it: a cache from now on, or empty where its encode failed.
void EncoderCacheSlots::rest(int32_t slot) {
  Slot& resting = at(slot);
  std::list<int32_t>& idle = lane_of(slot).idle;
  resting.last_use = resting.shared ? ++clock_ : 0;
  idle.splice(resting.shared ? idle.end() : idle.begin(), busy_, resting.where);
}

void EncoderCacheSlots::wake(int32_t slot) { busy_.splice(busy_.end(), lane_of(slot).idle, at(slot).where); }

/// No other encode's, and one that tells its slot.
uint64_t EncoderCacheSlots::new_encode_id(int32_t slot) {
  return ++encodes_ * cache_slots_.size() + static_cast<uint64_t>(slot);
}

int32_t EncoderCacheSlots::slot_of(uint64_t encode_id) const {
  return static_cast<int32_t>(encode_id % std::max<size_t>(cache_slots_.size(), 1));
}

int32_t EncoderCacheSlots::encoded(const wire::Encoded& done) {
  const int32_t slot = slot_of(done.id());
  if (done.id() == 0 || cache_slots_.empty() || at(slot).encode_id != done.id())
    fail("a worker says that it encoded picture ", done.id(), ", but of the ", encodes_,
         " it was given that one is not under way");
  Slot& s = at(slot);
  s.encode_id = 0;
  --encoding_;
  --lane_of(slot).encoding;
  s.width = done.width();
  s.height = done.height();
  s.orientation_left = done.orientation_left();
  s.ready = done.error().empty();
  if (!s.ready) {
    by_key_.erase(s.key);
    s.shared = false;
  }
  if (s.uses == 0) rest(slot);
  return slot;
}

wire::Image EncoderCacheSlots::image(int32_t slot) const {
  wire::Image image;
  image.set_rank(lanes_[static_cast<size_t>(slot / per_lane_)].rank);
  image.set_slot(static_cast<int32_t>(slot % per_lane_));
  return image;
}

}  // namespace lapidary
