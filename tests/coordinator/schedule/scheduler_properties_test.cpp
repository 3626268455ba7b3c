#include <gtest/gtest.h>

#include <iostream>
#include <optional>

#include "configs/error.h"
#include "coordinator/schedule/dispatcher.h"
#include "tests/coordinator/schedule/model_replica.h"

namespace lapidary {
namespace {

/// The last two pictures of all cannot be encoded.
bool is_broken(uint64_t picture, int64_t pictures) { return picture + 2 > static_cast<uint64_t>(pictures); }

bool could_run(const SchedulerConfig& config, const Request& request) {
  try {
    check_request(config, request);
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// One scheduler, workers and clients at random; who is ready is known, so that order and waiting are
/// checked.
class SchedulerPlay {
 public:
  explicit SchedulerPlay(uint64_t seed)
      : dice_(seed),
        config_(dice_.config()),
        pictures_(dice_.number(3, 40)),
        scheduler_(config_),
        replica_(config_, client_.requests) {}

  int64_t play(int64_t events) {
    for (int64_t i = 0; i < events; ++i) event();
    int64_t ended = events;
    for (; replica_.steps() + replica_.encodes() > 0; ++ended) {
      if (replica_.steps() > 0) step_done();
      if (replica_.encodes() > 0) encoded();
      plan();
    }
    require(client_.unfinished.empty(), "a request is never served");
    check_all_free();
    return ended;
  }

 private:
  void event() {
    const int64_t dice = dice_.number(0, 99);
    if (dice < 25)
      submit();
    else if (dice < 28)
      cancel();
    else if (dice < 60 && replica_.encodes() > 0)
      encoded();
    else if (replica_.steps() > 0)
      step_done();
    plan();
  }

  void submit() {
    Request request = dice_.request(++submitted_, pictures_);
    const bool fits = could_run(config_, request);
    client_.requests[request.id] = request;
    try {
      scheduler_.submit(request);
      require(fits, "accepted what could never run");
      client_.unfinished.insert(request.id);
      if (request.images.empty()) is_ready(request.id);
    } catch (const Error&) {
      require(!fits, "refused what could run");
    }
  }

  void cancel() {
    if (client_.unfinished.empty()) return;
    const auto first = *client_.unfinished.begin(), last = *client_.unfinished.rbegin();
    const auto it = client_.unfinished.lower_bound(
        static_cast<uint64_t>(dice_.number(static_cast<int64_t>(first), static_cast<int64_t>(last))));
    const uint64_t id = *it;
    client_.unfinished.erase(it);
    scheduler_.cancel(id);
    over(id);
  }

  void encoded() {
    const auto which = static_cast<size_t>(dice_.number(0, static_cast<int64_t>(replica_.encodes()) - 1));
    const bool fails = is_broken(replica_.picture(which), pictures_);
    take(scheduler_.encoded(replica_.encoded(which, fails)), fails);
  }

  void step_done() { take(scheduler_.finish(replica_.step_done()), false); }

  void take(const std::vector<RequestOutput>& events, bool error_allowed) {
    for (const RequestOutput& event : events) {
      client_.take(event, error_allowed);
      if (event.finish != FinishReason::no) over(event.request);
    }
  }

  void over(uint64_t id) {
    replica_.over(id);
    ready_until_.erase(id);
  }

  void plan() {
    for (const LaneEncode& encode : scheduler_.next_encodes()) replica_.issue(encode);
    const SchedulerCounts counts = scheduler_.counts();
    if (counts.waiting + counts.encoding == 0)
      for (const uint64_t id : client_.unfinished) is_ready(id);
    // Not always as far ahead as may be: workers answer while the coordinator plans.
    for (int64_t steps = dice_.number(0, 9); steps > 0 || replica_.steps() == 0; --steps) {
      const auto step = scheduler_.next();
      if (!step) break;
      check_order(*step);
      replica_.issue(*step);
      for (const auto& [id, until] : ready_until_)
        require(replica_.issued() <= until, "a request that is ready waits for too many steps");
    }
  }

  /// Every step from now on advances one of those that run or came earlier.
  void is_ready(uint64_t id) {
    if (ready_until_.contains(id) || replica_.admitted(id)) return;
    uint64_t until = replica_.issued();
    for (const uint64_t other : client_.unfinished)
      if (other <= id || replica_.admitted(other))
        until += static_cast<uint64_t>(replica_.work_left(client_.requests.at(other)));
    ready_until_[id] = until;
  }

  void check_order(const wire::Step& step) {
    for (const wire::Prefill& prefill : step.prefills()) {
      ready_until_.erase(prefill.request());
      require(ready_until_.empty() || ready_until_.begin()->first > prefill.request(), "overtaken");
    }
  }

  void check_all_free() {
    const SchedulerCounts counts = scheduler_.counts();
    require(counts.running + counts.steps + counts.waiting + counts.encoding + counts.ready == 0,
            "left over");
    require(counts.free_pages == static_cast<size_t>(config_.capacity.num_kv_pages()), "pages leak");
    require(counts.idle_slots == static_cast<size_t>(config_.all_slots()), "slots leak");
    require(scheduler_.unfinished() == 0, "requests leak");
  }

  Dice dice_;
  SchedulerConfig config_;
  int64_t pictures_;
  Scheduler scheduler_;
  ModelClient client_;
  ModelReplica replica_;
  std::map<uint64_t, uint64_t> ready_until_;  // not admitted, but ready: the step by which they must be
  uint64_t submitted_ = 0;
};

/// Several replicas that come and go, and one queue.
class FleetPlay {
 public:
  explicit FleetPlay(uint64_t seed)
      : dice_(seed),
        config_(dice_.config()),
        pictures_(dice_.number(3, 40)),
        dispatcher_({.queue = 20, .deaths = 3}),
        replicas_(static_cast<size_t>(dice_.number(1, 4))) {}

  int64_t play(int64_t events) {
    for (int64_t i = 0; i < events; ++i) {
      event();
      act();
    }
    return events + drain();
  }

 private:
  void event() {
    const int64_t dice = dice_.number(0, 999);
    const auto who = static_cast<size_t>(dice_.number(0, static_cast<int64_t>(replicas_.size()) - 1));
    if (dice < 300) {
      submit();
    } else if (dice < 320) {
      cancel();
    } else if (dice < 325) {
      leave(who);
    } else if (!replicas_[who]) {
      if (dice < 400) join(who);
    } else if (dice < 650) {
      encoded(who);
    } else {
      step_done(who);
    }
  }

  int64_t drain() {
    int64_t events = 0;
    for (size_t who = 0; who < replicas_.size(); ++who)
      if (!replicas_[who]) join(who);
    act();
    for (bool any = true; any;) {
      any = false;
      for (size_t who = 0; who < replicas_.size(); ++who) {
        any = any || replicas_[who]->steps() + replicas_[who]->encodes() > 0;
        encoded(who);
        step_done(who);
        act();
        events += 2;
      }
    }
    require(client_.unfinished.empty() && dispatcher_.unfinished() == 0, "a request is never served");
    require(dispatcher_.room() == 20, "the queue leaks");
    for (size_t who = 0; who < replicas_.size(); ++who) {
      const SchedulerCounts counts = dispatcher_.scheduler(static_cast<int>(who))->counts();
      require(counts.free_pages == static_cast<size_t>(config_.capacity.num_kv_pages()), "pages leak");
      require(counts.idle_slots == static_cast<size_t>(config_.all_slots()), "slots leak");
      require(counts.running + counts.steps == 0, "left over");
    }
    return events;
  }

  void submit() {
    if (dispatcher_.room() == 0) return;
    Request request = dice_.request(++submitted_, pictures_);
    client_.requests[request.id] = request;
    try {
      dispatcher_.submit(request);
      client_.unfinished.insert(request.id);
      deaths_at_submit_[request.id] = deaths_;
    } catch (const Error&) {
      require(!could_run(config_, request), "refused what could run");
    }
  }

  void cancel() {
    if (client_.unfinished.empty()) return;
    const uint64_t id = *std::next(client_.unfinished.begin(),
                                   dice_.number(0, static_cast<int64_t>(client_.unfinished.size()) - 1));
    client_.unfinished.erase(id);
    dispatcher_.cancel(id);
    for (auto& replica : replicas_)
      if (replica) replica->over(id);
  }

  void join(size_t who) {
    replicas_[who].emplace(config_, client_.requests);
    dispatcher_.join(static_cast<int>(who), config_);
  }

  void leave(size_t who) {
    deaths_ += replicas_[who] ? 1 : 0;
    replicas_[who].reset();
    for (const RequestOutput& event : dispatcher_.leave(static_cast<int>(who))) {
      const bool often_enough = deaths_ - deaths_at_submit_.at(event.request) >= 3;
      require(event.restarted || event.finish == FinishReason::error, "a dead replica answers");
      client_.take(event, often_enough);
    }
  }

  void encoded(size_t who) {
    if (replicas_[who]->encodes() == 0) return;
    const auto which =
        static_cast<size_t>(dice_.number(0, static_cast<int64_t>(replicas_[who]->encodes()) - 1));
    const bool fails = is_broken(replicas_[who]->picture(which), pictures_) || dice_.one_in(20);
    const wire::Encoded done = replicas_[who]->encoded(which, fails);
    take(who, dispatcher_.encoded(static_cast<int>(who), done), fails);
  }

  void step_done(size_t who) {
    if (replicas_[who]->steps() > 0)
      take(who, dispatcher_.finish(static_cast<int>(who), replicas_[who]->step_done()), false);
  }

  void take(size_t who, const std::vector<RequestOutput>& events, bool error_allowed) {
    for (const RequestOutput& event : events) {
      client_.take(event, error_allowed);
      if (event.finish != FinishReason::no) replicas_[who]->over(event.request);
    }
  }

  void act() {
    while (const auto actions = dispatcher_.poll()) {
      auto& replica = replicas_[static_cast<size_t>(actions->replica)];
      require(replica.has_value(), "actions for a replica that is not there");
      for (const LaneEncode& encode : actions->encodes) replica->issue(encode);
      for (const wire::Step& step : actions->steps) replica->issue(step);
      for (const RequestOutput& event : actions->events)
        client_.take(event, !could_run(config_, client_.requests.at(event.request)));
    }
    require(client_.unfinished.size() == dispatcher_.unfinished(), "lost or doubled");
    check_nobody_idles();
  }

  /// Who has nothing at all to do has left nothing in the queue.
  void check_nobody_idles() {
    if (dispatcher_.queued() == 0) return;
    for (size_t who = 0; who < replicas_.size(); ++who)
      require(!replicas_[who] || dispatcher_.scheduler(static_cast<int>(who))->unfinished() > 0,
              "a replica idles while requests wait");
  }

  Dice dice_;
  SchedulerConfig config_;
  int64_t pictures_;
  Dispatcher dispatcher_;
  ModelClient client_;
  std::vector<std::optional<ModelReplica>> replicas_;
  std::map<uint64_t, int64_t> deaths_at_submit_;
  uint64_t submitted_ = 0;
  int64_t deaths_ = 0;
};

/// Plays until so many events have happened; says which seed went wrong.
template <class Play>
void play(int64_t events, int64_t events_a_play) {
  int64_t played = 0;
  for (uint64_t seed = 1; played < events; ++seed) {
    try {
      played += Play(seed).play(events_a_play);
    } catch (const std::exception& e) {
      FAIL() << "seed " << seed << " after " << played << " events: " << e.what();
    }
  }
}

TEST(SchedulerProperties, RandomEventsLeakShareDoubleAndStarveNothing) {
  play<SchedulerPlay>(1'500'000, 1500);
}

TEST(SchedulerProperties, ReplicasComeAndGoAndEveryRequestEndsOnce) { play<FleetPlay>(1'500'000, 1500); }

}  // namespace
}  // namespace lapidary
