#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "coordinator/schedule/scheduler.h"

namespace lapidary {

struct DispatchOptions {
  size_t queue = 4096;  // requests that wait for a replica before room() is 0
  int replicas = 0;     // that are to come: what they will take is left for them
  int deaths = 5;       // of replicas, until a request that was aboard each time is given up
};

/// What to send to a replica's ranks now, in this order: each encode to its rank, each step to all of them.
struct Actions {
  int replica = 0;
  std::vector<LaneEncode> encodes;
  std::vector<wire::Step> steps;
  std::vector<RequestOutput> events;  // requests that this replica can never run
};

/// One queue, in order of priority and then of arrival, for several replicas, each of which takes requests as
/// it has room: none is dealt out before it can be begun, and while the queue is short all replicas get equal
/// shares, those that are still to come among them. Replicas may come and go: what a dead one had not
/// finished returns to the front of the queue, in order. A request that was aboard too many deaths is given
/// up; before, suspects are spread over fewer and fewer neighbours, so that one picture that kills workers is
/// found out and takes no others with it. Replicas are alike: what one can never run none can.
///
/// Decides, and does nothing else. After any call: while (auto actions = poll()) send what it says.
class Dispatcher {
 public:
  explicit Dispatcher(const DispatchOptions& options = {});

  /// Throws a sentence with both numbers for a request that could never run (known once a replica has
  /// joined).
  void submit(Request request);
  /// How many more the queue takes. submit() itself refuses nothing for want of room.
  size_t room() const;
  /// Forgets a request, wherever it is; no event follows. Unknown or finished ids are ignored.
  void cancel(uint64_t request);

  /// A replica is ready: a new one, or one that had left.
  void join(int replica, const SchedulerConfig& config);
  /// A replica will not come, as far as anybody knows: others take what was left for it.
  void give_up(int replica);
  /// A replica has died. A replica that is not there is ignored. Its requests begin anew
  /// (RequestOutput::restarted) or are given up.
  std::vector<RequestOutput> leave(int replica);

  /// What a replica's workers say. Throw Error where that is not what they were asked: the replica is then to
  /// be ended, as one that died.
  std::vector<RequestOutput> finish(int replica, const wire::StepDone& done);
  std::vector<RequestOutput> encoded(int replica, const wire::Encoded& done);

  /// What there is to do for one of the replicas. None: nothing, until something else happens.
  std::optional<Actions> poll();

  size_t replicas() const { return live_; }
  size_t queued() const { return returned_.size() + fresh_.size(); }
  size_t unfinished() const { return known_.size(); }
  /// Of a replica that is there, else nullptr.
  const Scheduler* scheduler(int replica) const;

 private:
  using QueueKey = std::pair<int32_t, uint64_t>;  // priority, arrival
  struct Known {
    QueueKey key{};
    int replica = -1;  // -1: queued
    int deaths = 0;
  };
  struct Replica {
    std::optional<Scheduler> scheduler;
    size_t suspects = 0;       // aboard
    size_t suspect_limit = 0;  // while there are any
    bool due = false;
    std::optional<size_t> idle;  // its load, as idle_replicas_ has it
  };
  using Queue = std::map<QueueKey, Request>;

  Replica& joined(int replica);
  std::vector<RequestOutput> settle(int replica, std::vector<RequestOutput> events);
  void end(uint64_t request);
  void mark_due(int replica);
  void wake_idle();
  void set_idle(int replica, std::optional<size_t> load);
  void ask(int replica, Actions& actions);
  static bool has_room(const Scheduler& scheduler);
  void top_up(int replica, Actions& actions);
  Queue* queue_for(const Replica& replica);
  size_t limit_with(const Replica& replica, int deaths) const;
  void take(int replica, Queue& queue, Actions& actions);

  DispatchOptions options_;
  std::set<int> awaited_;  // replicas that have never been here
  std::vector<Replica> replicas_;
  size_t live_ = 0, aboard_ = 0;
  Queue returned_, fresh_;                          // returned_ comes first
  std::unordered_map<uint64_t, Known> known_;       // all that have not ended
  std::deque<int> due_;                             // to be polled
  std::set<std::pair<size_t, int>> idle_replicas_;  // (load, replica): could take more, but there was none
  uint64_t arrivals_ = 0;
};

}  // namespace lapidary
