#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "coordinator/schedule/encoder_cache_slots.h"
#include "coordinator/schedule/scheduler_types.h"

namespace lapidary {

/// Where a scheduler's requests and its replica's memory are.
struct SchedulerCounts {
  size_t waiting = 0;   // for slots
  size_t encoding = 0;  // requests whose pictures are on their way
  size_t ready = 0;     // for their prefill
  size_t running = 0;   // sequence slots taken; those that ended while steps are in flight included
  size_t steps = 0;     // in flight
  size_t free_pages = 0;
  size_t idle_slots = 0;             // empty, or nothing but a cache
  uint64_t encodes = 0, shared = 0;  // pictures so far: encoded, and found encoded or on their way
};

/// Decides what the workers of one replica run: continuous batching over KV pages. A request waits for
/// encoder cache slots (all of its pictures' at once, in order of arrival), for its encodes, then for its
/// prefill: it is admitted when there is room for all it may ever need, so that no running one is ever put
/// back, and leaves when its text ends. Among those whose pictures are ready none overtakes another.
///
/// Steps are planned ahead of the results of those before: workers feed sampled tokens to themselves. What a
/// sequence held is free when it has ended and no step in flight names it. With pp stages the sequences are
/// dealt into pp groups that take turns, so that each stage has a group of its own to work on.
///
/// Decides, and does nothing else: no clock, no socket, no thread.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerConfig& config);
  Scheduler(Scheduler&&) = default;
  Scheduler& operator=(Scheduler&&) = default;

  /// Throws a sentence with both numbers for a request that could never run.
  void submit(Request request);
  /// Forgets a request, wherever it is; no event follows. Unknown or finished ids are ignored.
  void cancel(uint64_t request);

  /// What the vision lanes are to do from now on.
  std::vector<LaneEncode> next_encodes();
  /// The events of requests that end because a picture of theirs could not be encoded. Throws Error where the
  /// worker answers what it was not asked.
  std::vector<RequestOutput> encoded(const wire::Encoded& done);

  /// The next step. None: nothing can run now, or as many steps as may be are in flight.
  std::optional<wire::Step> next();
  /// What the workers sampled in the oldest step in flight. Throws Error, and changes nothing, where it is
  /// another step's or has another number of tokens.
  std::vector<RequestOutput> finish(const wire::StepDone& done);

  /// The replica is gone: every unfinished request in order of arrival, and whether workers had begun with
  /// it. The scheduler is as new.
  struct Unfinished {
    Request request;
    bool begun = false;
  };
  std::vector<Unfinished> take_all();

  const SchedulerConfig& config() const { return config_; }
  /// Requests whose prefill is not planned yet.
  size_t waiting() const { return waiting_.size() + encoding_.size() + ready_.size(); }
  /// All requests that have not ended.
  size_t unfinished() const { return by_id_.size(); }
  /// The number of the newest step.
  uint64_t last_step() const { return planned_; }
  SchedulerCounts counts() const;

 private:
  static constexpr uint64_t kNotYet = std::numeric_limits<uint64_t>::max();

  /// Used again and again, for what its lists have allocated.
  struct Entry {
    Request request;
    uint64_t arrival = 0;        // 0: free
    std::vector<int32_t> slots;  // one an image, until the prefill is done
    int32_t reused = 0;          // images that needed no encode of their own
    size_t encodes_left = 0;
    int32_t slot = -1;  // -1: not admitted
    std::vector<int32_t> pages;
  };
  /// What a sequence slot is at. Kept small and apart: each step touches all of them.
  struct Running {
    Entry* entry = nullptr;  // nullptr: the sequence slot is free
    const std::vector<int32_t>* eos = nullptr;
    uint64_t request = 0;
    uint64_t last_step = 0;  // the newest step that names it; kNotYet: one will
    int32_t planned = 0;     // tokens that planned steps sample
    int32_t generated = 0;   // of which have come back
    int32_t max_new_tokens = 0;
    int32_t width = 0, height = 0, reused = 0;
    bool orientation_left = false;
    bool ended = false;
  };
  /// Requests in order of arrival.
  class Queue {
   public:
    bool empty() const { return entries_.empty(); }
    size_t size() const { return entries_.size(); }
    Entry& front() const { return *entries_.front().entry; }
    Entry& pop();
    void insert(Entry& entry);
    /// What has this number and waits here, else nullptr.
    Entry* find(uint64_t arrival) const;
    void erase(uint64_t arrival);

   private:
    struct QueuePosition {
      uint64_t arrival = 0;  // beside the pointer: a search touches no entry
      Entry* entry = nullptr;
    };
    std::deque<QueuePosition>::const_iterator at(uint64_t arrival) const;
    std::deque<QueuePosition> entries_;
  };

  struct Group {
    std::vector<int32_t> slots;  // that will decode
    bool held_back = false;      // its last step left the decodes out, to make room for a prefill
    uint64_t last_step = 0;      // the newest; throughput mode
  };
  /// Prefills whose layers are run group by group.
  struct Batch {
    std::vector<int32_t> slots;
    size_t group = 0;
    int64_t next_layer = 0;
  };
  /// A step in flight; its tokens come in this order.
  struct InFlightStep {
    uint64_t number = 0;
    std::vector<int32_t> decodes, prefills;  // sequence slots
  };

  Entry& new_entry();
  void stage();
  void picture_ready(uint64_t arrival);
  void picture_failed(uint64_t arrival, const std::string& error, std::vector<RequestOutput>& events);

  Running& at(int32_t slot) { return sequence_slots_[static_cast<size_t>(slot)]; }
  void prune();
  bool plan_together(wire::Step& step);
  bool too_early(const Group& group) const;
  bool fill(size_t group, wire::Step& step);
  bool plan_in_turn(wire::Step& step);
  void plan_part(wire::Step& step);
  size_t allowance(const Group& group) const;
  bool fits(int64_t rows, int64_t images) const;
  std::vector<int32_t> admit(const Group& group, int64_t rows, wire::Step& step);
  void prefill(Entry& entry, wire::Step& step);
  void decode(const Group& group, wire::Step& step);
  void sample_first(Group& group, const std::vector<int32_t>& prefilled);
  size_t groups_decoding() const;
  InFlightStep& flight(uint64_t number) { return in_flight_[number % in_flight_.size()]; }
  const InFlightStep& flight(uint64_t number) const { return in_flight_[number % in_flight_.size()]; }

  void check(const wire::StepDone& done);
  void advance(int32_t slot, int32_t token, std::vector<RequestOutput>& events);
  void end(Entry& entry);
  void release_slots(Entry& entry);
  void forget(Entry& entry);
  void release_unnamed(int32_t slot);

  SchedulerConfig config_;
  EncoderCacheSlots cache_slots_;
  std::deque<Entry> entries_;  // never moved; ended ones too while steps in flight name them
  std::vector<Entry*> free_entries_;
  std::unordered_map<uint64_t, Entry*> by_id_;  // that have not ended
  Queue waiting_, encoding_, ready_;
  std::vector<std::vector<uint64_t>> waiters_;  // a slot: arrivals of requests that wait for its encode
  std::vector<Running> sequence_slots_;
  std::vector<int32_t> free_sequence_slots_, free_pages_;
  std::vector<Group> groups_;
  size_t turn_ = 0;   // the group whose turn it is
  size_t pause_ = 0;  // decode steps until the next part of a prefill
  std::optional<Batch> batch_;
  std::vector<InFlightStep> in_flight_;  // a ring, so that a step allocates nothing for it
  uint64_t arrivals_ = 0, planned_ = 0, finished_ = 0;
};

}  // namespace lapidary
