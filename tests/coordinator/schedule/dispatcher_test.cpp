#include "coordinator/schedule/dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "tests/coordinator/schedule/ask.h"

namespace lapidary {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// What each replica was given last, until nothing is left to do.
std::map<int, std::vector<uint64_t>> poll_all(Dispatcher& dispatcher) {
  std::map<int, std::vector<uint64_t>> given;
  while (const auto actions = dispatcher.poll())
    for (const wire::Step& step : actions->steps)
      for (const wire::Prefill& prefill : step.prefills())
        given[actions->replica].push_back(prefill.request());
  return given;
}

TEST(Dispatcher, RequestsWaitForAReplicaAndGoInOrder) {
  Dispatcher dispatcher;
  for (uint64_t id = 1; id <= 3; ++id) dispatcher.submit(ask(id, 4, 9));
  EXPECT_FALSE(dispatcher.poll());
  dispatcher.join(0, roomy());
  EXPECT_THAT(poll_all(dispatcher)[0], ElementsAre(1, 2, 3));
  EXPECT_EQ(dispatcher.queued(), 0u);
  EXPECT_EQ(dispatcher.unfinished(), 3u);
}

TEST(Dispatcher, LowerPrioritiesGoFirstAndEqualOnesInOrder) {
  Dispatcher dispatcher;
  for (uint64_t id = 1; id <= 6; ++id) {
    Request request = ask(id, 4, 9);
    request.priority = id % 2 == 0 ? -1 : 5;
    dispatcher.submit(std::move(request));
  }
  dispatcher.cancel(4);
  dispatcher.join(0, roomy());
  EXPECT_THAT(poll_all(dispatcher)[0], ElementsAre(2, 6, 1, 3));
  EXPECT_EQ(dispatcher.leave(0).size(), 5u);  // and so they return
  dispatcher.join(0, roomy());
  EXPECT_THAT(poll_all(dispatcher)[0], ElementsAre(2, 6, 1, 3));
}

TEST(Dispatcher, AShortQueueIsSharedEvenly) {
  Dispatcher dispatcher;
  dispatcher.join(0, roomy());
  dispatcher.join(1, roomy());
  EXPECT_THAT(poll_all(dispatcher), IsEmpty());
  for (uint64_t id = 1; id <= 4; ++id) dispatcher.submit(ask(id, 4, 9));
  const auto given = poll_all(dispatcher);
  EXPECT_THAT(given.at(0), ElementsAre(1, 2));
  EXPECT_THAT(given.at(1), ElementsAre(3, 4));
  dispatcher.leave(1);
  dispatcher.join(2, roomy());
  EXPECT_THAT(poll_all(dispatcher), ElementsAre(std::pair(2, std::vector<uint64_t>{3, 4})));
}

TEST(Dispatcher, AReplicaThatIsStillToComeFindsItsShare) {
  Dispatcher dispatcher({.queue = 50, .replicas = 2});
  dispatcher.join(0, roomy());
  for (uint64_t id = 1; id <= 4; ++id) dispatcher.submit(ask(id, 4, 9));
  EXPECT_THAT(poll_all(dispatcher)[0], ElementsAre(1, 2));
  const auto aboard = [&](int replica) {
    poll_all(dispatcher);
    return dispatcher.scheduler(replica)->unfinished();
  };
  dispatcher.cancel(1);  // who is there never idles: half of what is left, rounded up
  EXPECT_EQ(aboard(0), 2u);
  dispatcher.cancel(2);
  EXPECT_EQ(aboard(0), 1u);
  dispatcher.join(1, roomy());
  EXPECT_EQ(aboard(1), 1u);
  EXPECT_EQ(dispatcher.queued(), 0u);
}

TEST(Dispatcher, WhatWasLeftForAReplicaThatIsGivenUpGoesToTheOthers) {
  Dispatcher dispatcher({.queue = 50, .replicas = 3});
  dispatcher.join(0, roomy());
  for (uint64_t id = 1; id <= 3; ++id) dispatcher.submit(ask(id, 4, 9));
  EXPECT_THAT(poll_all(dispatcher)[0], ElementsAre(1));
  const auto queued_after = [&](int given_up) {
    dispatcher.give_up(given_up);
    poll_all(dispatcher);
    return dispatcher.queued();
  };
  EXPECT_EQ(queued_after(2), 1u);
  EXPECT_EQ(queued_after(2), 1u);
  EXPECT_EQ(queued_after(1), 0u);
}

TEST(Dispatcher, NoReplicaTakesMoreThanItHasRoomFor) {
  Dispatcher dispatcher({.queue = 50, .deaths = 5});
  dispatcher.join(0, roomy());
  for (uint64_t id = 1; id <= 50; ++id) dispatcher.submit(ask(id, 4, 9));
  EXPECT_EQ(dispatcher.room(), 0u);
  EXPECT_THAT(poll_all(dispatcher)[0], ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(dispatcher.scheduler(0)->waiting(), 4u);
  EXPECT_EQ(dispatcher.room(), 8u);
  dispatcher.join(1, roomy());
  EXPECT_THAT(poll_all(dispatcher)[1], ElementsAre(9, 10, 11, 12));
}

TEST(Dispatcher, WhatADeadReplicaHadGoesFirstAndBeginsAnew) {
  Dispatcher dispatcher;
  dispatcher.join(0, roomy());
  for (uint64_t id = 1; id <= 12; ++id) dispatcher.submit(ask(id, 4, 9));
  poll_all(dispatcher);
  dispatcher.cancel(2);
  EXPECT_EQ(dispatcher.finish(0, done(1, {5, 5, 5, 5})).size(), 3u);
  const auto events = dispatcher.leave(0);
  EXPECT_EQ(events.size(), 7u);
  for (const RequestOutput& event : events) EXPECT_TRUE(event.restarted);
  EXPECT_THAT(dispatcher.leave(0), IsEmpty());
  EXPECT_FALSE(dispatcher.poll());
  EXPECT_THAT(error_of([&] { dispatcher.finish(0, done(2, {})); }), HasSubstr("not there"));
  dispatcher.join(0, roomy());
  EXPECT_THAT(poll_all(dispatcher)[0], ElementsAre(1, 3, 4, 5));
}

TEST(Dispatcher, CancelsInTheQueueAndAboard) {
  Dispatcher dispatcher;
  dispatcher.submit(ask(1, 4, 9));
  dispatcher.submit(ask(2, 4, 9));
  dispatcher.cancel(1);
  dispatcher.cancel(1);
  dispatcher.join(0, roomy());
  EXPECT_THAT(poll_all(dispatcher)[0], ElementsAre(2));
  dispatcher.cancel(2);
  EXPECT_EQ(dispatcher.unfinished(), 0u);
  dispatcher.submit(ask(2, 4, 9));
  EXPECT_THAT(poll_all(dispatcher), IsEmpty()) << "two steps with the cancelled one are in flight";
  EXPECT_THAT(dispatcher.finish(0, done(1, {5})), IsEmpty());
  EXPECT_THAT(poll_all(dispatcher)[0], ElementsAre(2));
}

TEST(Dispatcher, ARequestThatCouldNeverRunIsRefusedOrEndsWithAnError) {
  Dispatcher dispatcher;
  dispatcher.submit(ask(1, 400, 9));
  dispatcher.join(0, roomy());
  const auto actions = dispatcher.poll();
  ASSERT_TRUE(actions && actions->events.size() == 1);
  EXPECT_EQ(actions->events[0].finish, FinishReason::error);
  EXPECT_THAT(actions->events[0].error, HasSubstr("400 tokens"));
  EXPECT_EQ(dispatcher.unfinished(), 0u);
  EXPECT_THAT(error_of([&] { dispatcher.submit(ask(2, 400, 9)); }), HasSubstr("400 tokens"));
}

/// Replicas whose workers die of one picture, and are started again.
class Deadly {
 public:
  Deadly(int replicas, std::set<uint64_t> killers, int64_t slots) : killers_(std::move(killers)) {
    config_ = roomy();
    config_.capacity.set_max_num_seqs(64);
    config_.capacity.set_num_kv_pages(6400);
    config_.capacity.set_max_num_batched_tokens(6400);
    config_.capacity.set_max_step_images(64);
    config_.capacity.set_encoder_cache_slots(slots);
    encodes_.resize(static_cast<size_t>(replicas));
    steps_.resize(static_cast<size_t>(replicas));
    for (int i = 0; i < replicas; ++i) dispatcher_.join(i, config_);
  }

  void run(uint64_t requests) {
    for (uint64_t id = 1; id <= requests; ++id) dispatcher_.submit(ask(id, 4, 3, {id}));
    while (true) {
      act();
      bool idle = true;
      for (size_t i = 0; i < steps_.size(); ++i) idle = !advance(i) && idle;
      if (idle) return;
    }
  }

  std::map<uint64_t, int> ended;
  std::map<uint64_t, std::string> failed;
  size_t unfinished() const { return dispatcher_.unfinished(); }

 private:
  void act() {
    while (const auto actions = dispatcher_.poll()) {
      const auto i = static_cast<size_t>(actions->replica);
      for (const LaneEncode& encode : actions->encodes) encodes_[i].push_back(encode);
      for (const wire::Step& step : actions->steps) steps_[i].push_back(step);
    }
  }

  bool advance(size_t i) {
    const int replica = static_cast<int>(i);
    if (!steps_[i].empty()) {
      const wire::Step step = std::move(steps_[i].front());
      steps_[i].pop_front();
      take(dispatcher_.finish(
          replica,
          done(step.number(),
               std::vector<int32_t>(static_cast<size_t>(step.decodes_size() + step.prefills_size()), 9))));
      return true;
    }
    if (encodes_[i].empty()) return false;
    for (const LaneEncode& encode : std::exchange(encodes_[i], {})) {
      if (killers_.contains(std::stoull(encode.image->path()))) {
        encodes_[i].clear();
        take(dispatcher_.leave(replica));
        dispatcher_.join(replica, config_);
        return true;
      }
      take(dispatcher_.encoded(replica, encoded(encode)));
    }
    return true;
  }

  void take(const std::vector<RequestOutput>& events) {
    for (const RequestOutput& event : events) {
      if (event.finish != FinishReason::no) ++ended[event.request];
      if (event.finish == FinishReason::error) failed[event.request] = event.error;
    }
  }

  SchedulerConfig config_;
  std::set<uint64_t> killers_;
  Dispatcher dispatcher_;
  std::vector<std::vector<LaneEncode>> encodes_;
  std::vector<std::deque<wire::Step>> steps_;
};

TEST(Dispatcher, APictureThatKillsWorkersIsFoundOutAndTakesNoOthersWithIt) {
  for (const int replicas : {1, 3}) {
    Deadly play(replicas, {100}, 64);
    play.run(300);
    EXPECT_EQ(play.unfinished(), 0u);
    EXPECT_EQ(play.ended.size(), 300u);
    ASSERT_EQ(play.failed.size(), 1u);
    EXPECT_THAT(play.failed[100], HasSubstr("died 5 times"));
  }
}

TEST(Dispatcher, SeveralPicturesThatKillWorkersEndNoJob) {
  Deadly play(2, {7, 50, 51, 299}, 16);
  play.run(300);
  EXPECT_EQ(play.unfinished(), 0u);
  EXPECT_EQ(play.ended.size(), 300u);
  for (const uint64_t killer : {7, 50, 51, 299}) EXPECT_TRUE(play.failed.contains(killer));
}

}  // namespace
}  // namespace lapidary
