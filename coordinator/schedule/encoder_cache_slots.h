#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "coordinator/schedule/scheduler_types.h"

namespace lapidary {

/// The encoder cache slots of all vision lanes of a replica: which picture is in which, who uses it, what is
/// to be encoded. A picture that is there already, or on its way, is shared. One that nobody uses any more
/// stays as a cache until its slot is needed, the least recently used first. Slots are numbered through all
/// lanes.
class EncoderCacheSlots {
 public:
  explicit EncoderCacheSlots(const SchedulerConfig& config);

  /// One slot a picture, in order, and orders the encodes that it takes. None: there is no room for all of
  /// them, and nothing was taken.
  std::optional<std::vector<int32_t>> take(std::span<const ImageInput> pictures);
  /// The end of one use.
  void release(int32_t slot);
  /// What to encode since the last call.
  std::vector<LaneEncode> ordered() { return std::exchange(ordered_, {}); }
  /// Whose encode has ended; one that failed is no longer shared. Throws Error for an encode that is not
  /// under way.
  int32_t encoded(const wire::Encoded& done);

  bool ready(int32_t slot) const { return at(slot).ready; }
  int32_t width(int32_t slot) const { return at(slot).width; }
  int32_t height(int32_t slot) const { return at(slot).height; }
  bool orientation_left(int32_t slot) const { return at(slot).orientation_left; }
  wire::Image image(int32_t slot) const;  // where workers find it

  size_t idle() const;                           // free, or nothing but a cache
  size_t encoding() const { return encoding_; }  // under way
  uint64_t encodes() const { return encodes_; }  // ordered so far
  uint64_t shared() const { return shared_; }    // uses so far that needed no encode

 private:
  struct Slot {
    std::string key;
    bool shared = false;  // by_key_ finds it
    bool ready = false;
    int64_t uses = 0;
    uint64_t encode_id = 0;              // its encode that is under way; 0: none
    uint64_t last_use = 0;               // 0: holds nothing
    std::list<int32_t>::iterator where;  // in its lane's idle or in busy_
    int32_t width = 0, height = 0;
    bool orientation_left = false;
  };
  struct Lane {
    int32_t rank = 0;
    int64_t encoding = 0;
    std::list<int32_t> idle;  // slots: empty ones first, then by last use
  };

  Slot& at(int32_t slot) { return cache_slots_[static_cast<size_t>(slot)]; }
  const Slot& at(int32_t slot) const { return cache_slots_[static_cast<size_t>(slot)]; }
  uint64_t new_encode_id(int32_t slot);
  int32_t slot_of(uint64_t encode_id) const;
  Lane& lane_of(int32_t slot) { return lanes_[static_cast<size_t>(slot / per_lane_)]; }
  bool has_room(std::span<const ImageInput> pictures) const;
  int32_t share(int32_t slot);
  int32_t encode(const ImageInput& picture);
  Lane& least_loaded();
  void rest(int32_t slot);
  void wake(int32_t slot);

  int64_t per_lane_;
  std::vector<Slot> cache_slots_;
  std::vector<Lane> lanes_;
  std::list<int32_t> busy_;
  std::unordered_map<std::string, int32_t> by_key_;
  std::vector<LaneEncode> ordered_;
  size_t encoding_ = 0;
  uint64_t encodes_ = 0, shared_ = 0, clock_ = 0;
};

}  // namespace lapidary
