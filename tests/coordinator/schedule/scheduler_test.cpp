#include "coordinator/schedule/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/error.h"
#include "tests/coordinator/schedule/ask.h"

namespace lapidary {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string refusal(const SchedulerConfig& config, const Request& request) {
  return error_of([&] { Scheduler(config).submit(request); });
}

TEST(Scheduler, PrefillThenOneTokenAStep) {
  Scheduler scheduler(roomy());
  Request asked = ask(9, 6, 3, {5});
  asked.sampling.set_seed(5);
  scheduler.submit(asked);
  EXPECT_FALSE(scheduler.next()) << "its picture is not encoded yet";

  const auto encodes = scheduler.next_encodes();
  ASSERT_EQ(encodes.size(), 1u);
  EXPECT_EQ(encodes[0].rank, 0);
  EXPECT_EQ(encodes[0].image->path(), "5");
  EXPECT_THAT(scheduler.encoded(encoded(encodes[0], 640, 480)), IsEmpty());

  auto step = scheduler.next();
  ASSERT_EQ(step->prefills_size(), 1);
  const wire::Prefill& prefill = step->prefills(0);
  EXPECT_EQ(prefill.request(), 9u);
  EXPECT_EQ(prefill.ids_size(), 6);
  EXPECT_EQ(prefill.pages_size(), 3) << "5 tokens, 4 of the image and 2 that are fed back; 4 a page";
  EXPECT_EQ(prefill.images(0).rank(), 0);
  EXPECT_EQ(prefill.images(0).slot(), encodes[0].encode.slot());
  EXPECT_EQ(prefill.sampling().seed(), 5u);
  EXPECT_EQ(step->end_layer(), 0);

  const int32_t slot = prefill.sequence();
  EXPECT_THAT(scheduler.next()->decodes(), ElementsAre(slot)) << "planned before the first has ended";
  EXPECT_FALSE(scheduler.next()) << "two steps are in flight";
  EXPECT_THAT(scheduler.finish(done(1, {42})), ElementsAre(told(9, 42, FinishReason::no, 640, 480)));
  EXPECT_THAT(scheduler.next()->decodes(), ElementsAre(slot));
  EXPECT_THAT(scheduler.finish(done(2, {43})), ElementsAre(told(9, 43, FinishReason::no, 640, 480)));
  EXPECT_FALSE(scheduler.next()) << "all of its three tokens are planned";
  EXPECT_EQ(scheduler.counts().free_pages, 97u) << "the last step still writes to its pages";
  EXPECT_THAT(scheduler.finish(done(3, {44})), ElementsAre(told(9, 44, FinishReason::length, 640, 480)));
  EXPECT_EQ(scheduler.counts().free_pages, 100u);
}

TEST(Scheduler, WhatRanPastTheEndTokenIsTrimmed) {
  Scheduler scheduler(roomy());
  scheduler.submit(ask(1, 4, 9, {}, {1, 107}));
  scheduler.next();
  scheduler.next();
  EXPECT_THAT(scheduler.finish(done(1, {107})), ElementsAre(told(1, std::nullopt, FinishReason::eos)));
  EXPECT_FALSE(scheduler.next());
  EXPECT_EQ(scheduler.counts().free_pages, 97u);
  EXPECT_EQ(scheduler.unfinished(), 0u);
  EXPECT_THAT(scheduler.finish(done(2, {50})), IsEmpty());
  EXPECT_EQ(scheduler.counts().free_pages, 100u);
}

TEST(Scheduler, CancelledWaitingRunningAndInFlight) {
  Scheduler scheduler(roomy());
  scheduler.submit(ask(1, 4, 9));
  scheduler.submit(ask(2, 4, 9));
  scheduler.submit(ask(3, 4, 9));
  scheduler.cancel(2);
  scheduler.cancel(77);
  EXPECT_EQ(scheduler.next()->prefills_size(), 2);
  scheduler.cancel(3);
  EXPECT_EQ(scheduler.counts().running, 2u);
  EXPECT_THAT(scheduler.finish(done(1, {8, 9})), ElementsAre(told(1, 8)));
  EXPECT_EQ(scheduler.counts().running, 1u);
  scheduler.cancel(1);
  EXPECT_EQ(scheduler.counts().free_pages, 100u) << "no step in flight names it";
  EXPECT_FALSE(scheduler.next());
}

TEST(Scheduler, EachResourceHoldsBackTheFirstThatDoesNotFitAndAllBehindIt) {
  const auto admitted = [](SchedulerConfig config) {
    Scheduler scheduler(config);
    scheduler.submit(ask(1, 10, 3));
    scheduler.submit(ask(2, 20, 3));
    scheduler.submit(ask(3, 1, 1));
    return prefilled(*scheduler.next());
  };
  EXPECT_THAT(admitted(roomy()), ElementsAre(1, 2, 3));
  SchedulerConfig config = roomy();
  config.capacity.set_max_num_seqs(2);
  EXPECT_THAT(admitted(config), ElementsAre(1, 2));
  config = roomy();
  config.capacity.set_max_num_batched_tokens(29);
  EXPECT_THAT(admitted(config), ElementsAre(1)) << "3 would fit, but does not overtake";
  config = roomy();
  config.capacity.set_num_kv_pages(3 + 6 - 1);
  EXPECT_THAT(admitted(config), ElementsAre(1));
}

TEST(Scheduler, StagesOfAPipelineHaveAGroupOfSequencesEach) {
  SchedulerConfig config = roomy();
  config.pp = 2;
  Scheduler scheduler(config);
  for (uint64_t id = 1; id <= 4; ++id) scheduler.submit(ask(id, 4, 9));
  const auto first = scheduler.next(), second = scheduler.next();
  EXPECT_THAT(prefilled(*first), ElementsAre(1, 2)) << "half of all that are ready";
  EXPECT_THAT(prefilled(*second), ElementsAre(3, 4));
  EXPECT_EQ(second->decodes_size(), 0);
  EXPECT_THAT(scheduler.next()->decodes(), ElementsAre(slot(*first, 0), slot(*first, 1)));
  EXPECT_THAT(scheduler.next()->decodes(), ElementsAre(slot(*second, 0), slot(*second, 1)));
  EXPECT_FALSE(scheduler.next()) << "2 * pp steps are in flight";
}

TEST(Scheduler, WhereMemoryIsShortTheGroupsStayEvenToo) {
  SchedulerConfig config = roomy();
  config.pp = 2;
  config.capacity.set_num_kv_pages(2 * 3);
  Scheduler scheduler(config);
  for (uint64_t id = 1; id <= 4; ++id) scheduler.submit(ask(id, 4, 9));
  EXPECT_THAT(prefilled(*scheduler.next()), ElementsAre(1));
  EXPECT_THAT(prefilled(*scheduler.next()), ElementsAre(2));
}

TEST(Scheduler, AGroupWithoutSequencesIsSkipped) {
  SchedulerConfig config = roomy();
  config.pp = 3;
  Scheduler scheduler(config);
  scheduler.submit(ask(1, 4, 9));
  EXPECT_EQ(scheduler.next()->prefills_size(), 1);
  EXPECT_EQ(scheduler.next()->decodes_size(), 1);
  EXPECT_EQ(scheduler.next()->decodes_size(), 1);
}

TEST(Scheduler, StagesKeepFreeForThePrefillsOfPicturesToCome) {
  SchedulerConfig config = roomy();
  config.pp = 2;
  Scheduler scheduler(config);
  scheduler.submit(ask(1, 4, 9));
  scheduler.submit(ask(2, 4, 9, {5}));
  const auto encodes = scheduler.next_encodes();
  const auto first = scheduler.next();
  EXPECT_THAT(prefilled(*first), ElementsAre(1));
  EXPECT_FALSE(scheduler.next())
      << "a decode step would hold up the other's prefill until the first has ended";
  scheduler.encoded(encoded(encodes[0]));
  const auto second = scheduler.next();
  EXPECT_THAT(prefilled(*second), ElementsAre(2));
  EXPECT_EQ(second->decodes_size(), 0);
  EXPECT_THAT(scheduler.next()->decodes(), ElementsAre(slot(*first, 0))) << "nobody else is to come";
}

TEST(Scheduler, WhilePicturesAreEncodedAGroupsDecodesFollowItsPrefillOnceThatHasEnded) {
  SchedulerConfig config = roomy();
  config.pp = 2;
  Scheduler scheduler(config);
  scheduler.submit(ask(1, 4, 9));
  scheduler.submit(ask(2, 4, 9, {5}));
  scheduler.next_encodes();
  const auto first = scheduler.next();
  EXPECT_FALSE(scheduler.next());
  scheduler.finish(done(1, {8}));
  for (int step = 0; step < 3; ++step)
    EXPECT_THAT(scheduler.next()->decodes(), ElementsAre(slot(*first, 0))) << "no prefill is in flight";
}

TEST(Scheduler, DecodesRideWithPrefills) {
  Scheduler scheduler(roomy());
  scheduler.submit(ask(1, 4, 9));
  scheduler.next();
  scheduler.submit(ask(2, 4, 9));
  const auto step = scheduler.next();
  EXPECT_EQ(step->decodes_size(), 1);
  EXPECT_EQ(step->prefills_size(), 1);
  scheduler.finish(done(1, {7}));
  EXPECT_THAT(scheduler.finish(done(2, {8, 9})), ElementsAre(told(1, 8), told(2, 9)));
}

TEST(Scheduler, APrefillThatFillsAStepTakesTurnsWithDecodes) {
  SchedulerConfig config = roomy();
  config.capacity.set_max_num_batched_tokens(20);
  Scheduler scheduler(config);
  scheduler.submit(ask(1, 4, 9));
  scheduler.next();
  scheduler.submit(ask(2, 20, 1));
  scheduler.submit(ask(3, 20, 1));
  scheduler.finish(done(1, {9}));
  const auto shape = [&] {
    const auto step = scheduler.next();
    scheduler.finish(done(step->number(), {9}));
    return std::pair(step->decodes_size(), step->prefills_size());
  };
  EXPECT_EQ(shape(), std::pair(0, 1));
  EXPECT_EQ(shape(), std::pair(1, 0));
  EXPECT_EQ(shape(), std::pair(0, 1));
  EXPECT_EQ(shape(), std::pair(1, 0));
}

TEST(Scheduler, ForLowLatencyAPrefillIsCutIntoLayersWithDecodesBetween) {
  SchedulerConfig config = roomy();
  config.mode = Mode::latency;
  config.capacity.set_num_layers(5);
  config.layer_group = 2;
  config.max_steps_in_flight = 20;
  Scheduler scheduler(config);
  scheduler.submit(ask(1, 4, 9));
  EXPECT_EQ(layers(*scheduler.next()), std::pair(0, 0)) << "nobody waits: all layers at once";
  scheduler.next();
  scheduler.submit(ask(2, 4, 9));
  scheduler.submit(ask(3, 4, 9));
  const auto part = scheduler.next();
  EXPECT_EQ(layers(*part), std::pair(0, 2));
  EXPECT_THAT(prefilled(*part), ElementsAre(2, 3));
  EXPECT_EQ(part->decodes_size(), 0);
  scheduler.submit(ask(4, 4, 9));
  EXPECT_EQ(scheduler.next()->decodes_size(), 1);
  EXPECT_EQ(layers(*scheduler.next()), std::pair(2, 4));
  EXPECT_EQ(scheduler.next()->decodes_size(), 1);
  EXPECT_EQ(layers(*scheduler.next()), std::pair(4, 5));
  EXPECT_EQ(scheduler.next()->decodes_size(), 3);
  EXPECT_THAT(prefilled(*scheduler.next()), ElementsAre(4)) << "one batch at a time";
  uint64_t number = 0;
  for (const std::vector<int32_t>& tokens :
       {std::vector<int32_t>{7}, {7}, {}, {7}, {}, {7}, {8, 9}, {7, 7, 7}})
    scheduler.finish(done(++number, tokens));
}

TEST(Scheduler, ACancelledPrefillRunsThroughItsLayers) {
  SchedulerConfig config = roomy();
  config.mode = Mode::latency;
  config.capacity.set_num_layers(4);
  config.layer_group = 1;
  Scheduler scheduler(config);
  scheduler.submit(ask(1, 4, 9));
  scheduler.next();
  scheduler.submit(ask(2, 4, 9));
  EXPECT_EQ(scheduler.next()->decodes_size(), 1);
  scheduler.finish(done(1, {7}));
  EXPECT_EQ(layers(*scheduler.next()), std::pair(0, 1));
  scheduler.finish(done(2, {7}));
  scheduler.finish(done(3, {}));
  scheduler.cancel(2);
  scheduler.cancel(1);
  EXPECT_EQ(scheduler.counts().free_pages, 97u) << "1 has gone, 2 is still in the workers' hands";
  EXPECT_EQ(layers(*scheduler.next()), std::pair(1, 4)) << "nobody else waits";
  EXPECT_THAT(scheduler.finish(done(4, {7})), IsEmpty());
  EXPECT_EQ(scheduler.counts().free_pages, 100u);
}

TEST(Scheduler, RefusesWhatCouldNeverRun) {
  EXPECT_EQ(refusal(roomy(), ask(1, 40, 10)), "");
  EXPECT_THAT(refusal(roomy(), ask(1, 41, 10)), AllOf(HasSubstr("41"), HasSubstr("50")));
  EXPECT_THAT(refusal(roomy(), ask(1, 38, 10, {1})), AllOf(HasSubstr("41"), HasSubstr("50")));
  SchedulerConfig config = roomy();
  config.capacity.set_max_num_batched_tokens(30);
  EXPECT_THAT(refusal(config, ask(1, 31, 1)), AllOf(HasSubstr("31"), HasSubstr("30")));
  config = roomy();
  config.capacity.set_num_kv_pages(10);
  EXPECT_THAT(refusal(config, ask(1, 39, 3)), AllOf(HasSubstr("11"), HasSubstr("10")));
  config = roomy();
  config.capacity.set_encoder_cache_slots(2);
  EXPECT_THAT(refusal(config, ask(1, 6, 3, {1, 2, 3})), AllOf(HasSubstr("3 images"), HasSubstr("2")));
  config = roomy();
  config.capacity.set_max_step_images(1);
  EXPECT_THAT(refusal(config, ask(1, 6, 3, {1, 2})), AllOf(HasSubstr("2 images"), HasSubstr("1")));
  EXPECT_THAT(refusal(roomy(), ask(1, 1, 3, {1, 2})), AllOf(HasSubstr("2 images"), HasSubstr("1 tokens")));
  EXPECT_NE(refusal(roomy(), ask(1, 0, 3)), "");
  EXPECT_NE(refusal(roomy(), ask(1, 3, 0)), "");
  config = roomy();
  config.capacity.set_max_num_batched_tokens(3);
  EXPECT_THAT(error_of([&] { Scheduler{config}; }), AllOf(HasSubstr("3"), HasSubstr("4")));
}

TEST(Scheduler, WorkersThatAnswerWhatTheyWereNotAskedAreFoundOut) {
  Scheduler scheduler(roomy());
  EXPECT_THAT(error_of([&] { scheduler.finish(done(1, {})); }), HasSubstr("none is in flight"));
  EXPECT_THAT(error_of([&] { scheduler.encoded(wire::Encoded()); }), HasSubstr("not under way"));
  scheduler.submit(ask(1, 4, 3));
  scheduler.next();
  scheduler.next();
  EXPECT_THAT(error_of([&] { scheduler.finish(done(2, {5})); }), HasSubstr("step 1"));
  EXPECT_THAT(error_of([&] { scheduler.finish(done(1, {5, 6})); }), HasSubstr("2 tokens"));
  EXPECT_THAT(error_of([&] { scheduler.finish(done(1, {-5})); }), HasSubstr("-5"));
  EXPECT_THAT(scheduler.finish(done(1, {5})), ElementsAre(told(1, 5))) << "nothing has changed";
}

TEST(Scheduler, WhatADeadReplicaHadIsGivenBackInOrder) {
  SchedulerConfig config = roomy();
  config.capacity.set_max_num_seqs(1);
  config.capacity.set_encoder_cache_slots(1);
  Scheduler scheduler(config);
  scheduler.submit(ask(1, 4, 3, {5}));
  scheduler.submit(ask(2, 4, 3));
  scheduler.submit(ask(3, 4, 1, {6}));
  scheduler.submit(ask(4, 4, 1));
  const auto encodes = scheduler.next_encodes();
  EXPECT_THAT(prefilled(*scheduler.next()), ElementsAre(2));
  std::vector<std::pair<uint64_t, bool>> all;
  for (const auto& [request, begun] : scheduler.take_all()) all.emplace_back(request.id, begun);
  EXPECT_THAT(all,
              ElementsAre(std::pair(1, true), std::pair(2, true), std::pair(3, false), std::pair(4, false)));
  EXPECT_EQ(scheduler.unfinished(), 0u);
  scheduler.submit(ask(2, 4, 1));
  EXPECT_EQ(scheduler.next()->number(), 1u) << "as new";
  EXPECT_EQ(scheduler.finish(done(1, {5})).size(), 1u);
}

}  // namespace
}  // namespace lapidary
