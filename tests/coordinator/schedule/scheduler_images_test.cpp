// Encodes, and the slots of the encoder cache.
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

TEST(Scheduler, OnlyThoseWhosePicturesAreReadyAreAdmittedInOrder) {
  Scheduler scheduler(roomy());
  scheduler.submit(ask(1, 4, 3, {11}));
  scheduler.submit(ask(2, 4, 3, {12}));
  scheduler.submit(ask(3, 4, 3));
  const auto encodes = scheduler.next_encodes();
  scheduler.encoded(encoded(encodes[1]));
  EXPECT_THAT(prefilled(*scheduler.next()), ElementsAre(2, 3));
  scheduler.encoded(encoded(encodes[0]));
  EXPECT_THAT(prefilled(*scheduler.next()), ElementsAre(1));
}

TEST(Scheduler, AStepTakesNoMoreImagesThanItsWorkersCanHold) {
  SchedulerConfig config = roomy();
  config.capacity.set_max_step_images(2);
  Scheduler scheduler(config);
  for (uint64_t id = 1; id <= 3; ++id) scheduler.submit(ask(id, 4, 1, {id}));
  for (const LaneEncode& encode : scheduler.next_encodes()) scheduler.encoded(encoded(encode));
  EXPECT_THAT(prefilled(*scheduler.next()), ElementsAre(1, 2));
  EXPECT_THAT(prefilled(*scheduler.next()), ElementsAre(3));
}

TEST(Scheduler, EncodesAreSpreadOverTheLanes) {
  SchedulerConfig config = roomy();
  config.vision_lanes = {3, 4, 7};
  config.capacity.set_encoder_cache_slots(2);
  Scheduler scheduler(config);
  for (uint64_t id = 1; id <= 7; ++id) scheduler.submit(ask(id, 4, 1, {id}));
  std::map<int32_t, int> lanes;
  for (const LaneEncode& encode : scheduler.next_encodes()) ++lanes[encode.rank];
  EXPECT_THAT(lanes, ElementsAre(std::pair(3, 2), std::pair(4, 2), std::pair(7, 2)));
  EXPECT_EQ(scheduler.counts().waiting, 1u) << "all slots are taken";
}

TEST(Scheduler, SlotsAreTakenAllAtOnceAndFreeWhenThePrefillIsDone) {
  SchedulerConfig config = roomy();
  config.capacity.set_encoder_cache_slots(2);
  Scheduler scheduler(config);
  scheduler.submit(ask(1, 4, 9, {1}));
  scheduler.submit(ask(2, 4, 9, {2, 3}));
  scheduler.submit(ask(3, 4, 9, {4}));
  auto encodes = scheduler.next_encodes();
  ASSERT_EQ(encodes.size(), 1u) << "2 needs both slots, and 3 does not overtake it";
  scheduler.encoded(encoded(encodes[0]));
  scheduler.next();
  EXPECT_THAT(scheduler.next_encodes(), IsEmpty()) << "the step in flight reads the slot";
  scheduler.finish(done(1, {5}));
  EXPECT_EQ(scheduler.next_encodes().size(), 2u) << "though 1 goes on";
}

TEST(Scheduler, OnePictureIsEncodedOnceForAllThatShowIt) {
  Scheduler scheduler(roomy());
  scheduler.submit(ask(1, 4, 1, {5}));
  scheduler.submit(ask(2, 4, 1, {5, 5}));
  const auto encodes = scheduler.next_encodes();
  ASSERT_EQ(encodes.size(), 1u);
  scheduler.submit(ask(3, 4, 1, {5}));
  EXPECT_THAT(scheduler.next_encodes(), IsEmpty()) << "it is on its way";
  scheduler.encoded(encoded(encodes[0]));
  EXPECT_THAT(prefilled(*scheduler.next()), ElementsAre(1, 2, 3));
  scheduler.finish(done(1, {8, 8, 8}));
  scheduler.submit(ask(4, 4, 1, {5}));
  EXPECT_THAT(prefilled(*scheduler.next()), ElementsAre(4)) << "it is still there";
  EXPECT_EQ(scheduler.counts().encodes, 1u);
  EXPECT_EQ(scheduler.counts().shared, 4u);
}

TEST(Scheduler, ThePictureThatWasNotUsedForLongestMakesRoom) {
  SchedulerConfig config = roomy();
  config.capacity.set_encoder_cache_slots(3);
  Scheduler scheduler(config);
  uint64_t id = 0;
  const auto run = [&](std::vector<uint64_t> pictures) {
    scheduler.submit(ask(++id, 4, 1, std::move(pictures)));
    std::vector<std::string> made;
    for (const LaneEncode& encode : scheduler.next_encodes()) {
      made.push_back(encode.image->path());
      scheduler.encoded(encoded(encode));
    }
    scheduler.next();
    scheduler.finish(done(scheduler.last_step(), {8}));
    return made;
  };
  EXPECT_THAT(run({1}), ElementsAre("1"));
  EXPECT_THAT(run({2}), ElementsAre("2"));
  EXPECT_THAT(run({3}), ElementsAre("3"));
  EXPECT_THAT(run({1}), IsEmpty());
  EXPECT_THAT(run({4}), ElementsAre("4")) << "in the place of 2";
  EXPECT_THAT(run({1}), IsEmpty());
  EXPECT_THAT(run({5, 3}), ElementsAre("5")) << "3 is the oldest, but what is needed now is not evicted";
  EXPECT_THAT(run({2}), ElementsAre("2"));
}

TEST(Scheduler, APictureThatCannotBeEncodedEndsItsRequestsAndIsTriedAnew) {
  Scheduler scheduler(roomy());
  scheduler.submit(ask(1, 4, 1, {5, 6}));
  scheduler.submit(ask(2, 4, 1, {5}));
  scheduler.submit(ask(3, 4, 1, {6}));
  const auto encodes = scheduler.next_encodes();
  ASSERT_EQ(encodes.size(), 2u);
  wire::Encoded failed = encoded(encodes[0]);
  failed.set_error("a.jpg is no picture");
  const auto events = scheduler.encoded(failed);
  ASSERT_EQ(events.size(), 2u);
  for (const RequestOutput& event : events) {
    EXPECT_EQ(event.finish, FinishReason::error);
    EXPECT_EQ(event.error, "a.jpg is no picture");
  }
  scheduler.encoded(encoded(encodes[1]));
  EXPECT_THAT(prefilled(*scheduler.next()), ElementsAre(3));
  scheduler.submit(ask(4, 4, 1, {5}));
  EXPECT_EQ(scheduler.next_encodes().size(), 1u);
}

TEST(SchedulerImages, ARequestSaysHowManyOfItsPicturesWereThere) {
  Scheduler scheduler(roomy());
  scheduler.submit(ask(1, 4, 1, {5, 6}));
  scheduler.submit(ask(2, 4, 1, {6, 7, 6}));  // one is on its way, and comes twice
  for (const LaneEncode& encode : scheduler.next_encodes()) scheduler.encoded(encoded(encode));
  std::map<uint64_t, int32_t> reused;
  while (const auto step = scheduler.next())
    for (const RequestOutput& output : scheduler.finish(
             done(step->number(), std::vector<int32_t>(static_cast<size_t>(step->prefills_size()), 9))))
      reused[output.request] = output.reused_images;
  EXPECT_EQ(reused, (std::map<uint64_t, int32_t>{{1, 0}, {2, 2}}));
}

}  // namespace
}  // namespace lapidary
