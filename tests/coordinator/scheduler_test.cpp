#include "coordinator/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "configs/error.h"

namespace lapidary {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Request request(uint64_t id, int64_t prefix, int64_t max_new_tokens, std::vector<int32_t> eos = {1}) {
  Request r;
  r.id = id;
  r.prefix.assign(static_cast<size_t>(prefix), 7);
  r.max_new_tokens = max_new_tokens;
  r.eos = std::move(eos);
  return r;
}

wire::StepDone tokens(std::vector<int32_t> all) {
  wire::StepDone done;
  done.mutable_tokens()->Add(all.begin(), all.end());
  return done;
}

std::vector<uint64_t> requests_of(const Plan& plan) {
  std::vector<uint64_t> ids;
  for (const wire::Rows& rows : plan.step.rows()) ids.push_back(rows.request());
  return ids;
}

std::string refusal(const Limits& limits, Request r) {
  Scheduler scheduler(limits);
  try {
    scheduler.submit(std::move(r));
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

constexpr Limits kRoomy{
    .sequences = 4, .rows = 100, .pages = 100, .page_tokens = 4, .slots = 4, .length = 50};

TEST(Scheduler, PrefillThenOneTokenAStep) {
  Scheduler scheduler(kRoomy);
  Request asked = request(9, 6, 3);
  asked.sampling.set_seed(5);
  scheduler.submit(asked);

  auto plan = scheduler.next();
  ASSERT_TRUE(plan);
  const wire::Rows& prefill = plan->step.rows(0);
  EXPECT_EQ(prefill.request(), 9u);
  EXPECT_EQ(prefill.position(), 0);
  EXPECT_EQ(prefill.prefix(), 6);
  EXPECT_EQ(prefill.ids_size(), 6);
  EXPECT_EQ(prefill.sampling().seed(), 5u);
  EXPECT_EQ(prefill.pages_size(), 2) << "6 + 3 - 1 tokens, 4 a page";
  ASSERT_EQ(plan->step.encodes_size(), 1);
  EXPECT_THAT(prefill.slots(), ElementsAre(plan->step.encodes(0).slot()));
  EXPECT_EQ(plan->images[0].request, 9u);

  auto events = scheduler.finish(tokens({42}));
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].token, 42);
  EXPECT_EQ(events[0].finish, Finish::no);
  EXPECT_EQ(scheduler.free_slots(), 4u) << "the prefill has used the image";

  plan = scheduler.next();
  const wire::Rows& decode = plan->step.rows(0);
  EXPECT_THAT(decode.ids(), ElementsAre(42));
  EXPECT_EQ(decode.position(), 6);
  EXPECT_EQ(decode.prefix(), 6);
  EXPECT_EQ(decode.slots_size(), 0);
  EXPECT_EQ(plan->step.encodes_size(), 0);

  EXPECT_EQ(scheduler.finish(tokens({43}))[0].finish, Finish::no);
  EXPECT_EQ(scheduler.next()->step.rows(0).position(), 7);
  const Event last = scheduler.finish(tokens({44}))[0];
  EXPECT_EQ(last.token, 44);
  EXPECT_EQ(last.finish, Finish::length);
  EXPECT_FALSE(scheduler.next());
  EXPECT_EQ(scheduler.free_pages(), 100u);
}

TEST(Scheduler, TheEndTokenIsNotPartOfTheText) {
  Scheduler scheduler(kRoomy);
  scheduler.submit(request(1, 4, 9, {1, 107}));
  scheduler.next();
  const Event event = scheduler.finish(tokens({107}))[0];
  EXPECT_FALSE(event.token);
  EXPECT_EQ(event.finish, Finish::eos);
  EXPECT_FALSE(scheduler.next());
}

TEST(Scheduler, WithoutEndTokensOnlyLengthEnds) {
  Scheduler scheduler(kRoomy);
  scheduler.submit(request(1, 4, 2, {}));
  scheduler.next();
  EXPECT_EQ(scheduler.finish(tokens({1}))[0].finish, Finish::no);
  scheduler.next();
  EXPECT_EQ(scheduler.finish(tokens({1}))[0].finish, Finish::length);
}

TEST(Scheduler, NewPrefixesJoinRunningSequences) {
  Scheduler scheduler(kRoomy);
  scheduler.submit(request(1, 10, 5));
  EXPECT_THAT(requests_of(*scheduler.next()), ElementsAre(1));
  scheduler.finish(tokens({50}));
  scheduler.submit(request(2, 10, 5));
  const auto plan = scheduler.next();
  EXPECT_THAT(requests_of(*plan), ElementsAre(1, 2));
  EXPECT_EQ(plan->step.rows(0).ids_size(), 1);
  EXPECT_EQ(plan->step.rows(1).ids_size(), 10);
}

TEST(Scheduler, EachResourceHoldsBackTheNextOneAndAllBehindIt) {
  const auto admitted = [](Limits limits) {
    Scheduler scheduler(limits);
    scheduler.submit(request(1, 10, 3));
    scheduler.submit(request(2, 20, 3));
    scheduler.submit(request(3, 1, 1));
    return requests_of(*scheduler.next());
  };
  EXPECT_THAT(admitted(kRoomy), ElementsAre(1, 2, 3));
  Limits limits = kRoomy;
  limits.sequences = 2;
  EXPECT_THAT(admitted(limits), ElementsAre(1, 2));
  limits = kRoomy;
  limits.rows = 29;
  EXPECT_THAT(admitted(limits), ElementsAre(1)) << "3 would fit, but does not overtake";
  limits = kRoomy;
  limits.pages = 3 + 6 - 1;
  EXPECT_THAT(admitted(limits), ElementsAre(1));
  limits = kRoomy;
  limits.slots = 1;
  EXPECT_THAT(admitted(limits), ElementsAre(1));
}

TEST(Scheduler, RefusesWhatCouldNeverRun) {
  EXPECT_EQ(refusal(kRoomy, request(1, 40, 10)), "");
  EXPECT_THAT(refusal(kRoomy, request(1, 41, 10)), testing::AllOf(HasSubstr("51"), HasSubstr("50")));
  Limits limits = kRoomy;
  limits.rows = 30;
  EXPECT_THAT(refusal(limits, request(1, 31, 1)), testing::AllOf(HasSubstr("31"), HasSubstr("30")));
  limits = kRoomy;
  limits.pages = 10;
  EXPECT_THAT(refusal(limits, request(1, 39, 3)), testing::AllOf(HasSubstr("11"), HasSubstr("10")));
  Request many = request(1, 10, 3);
  many.images = 5;
  EXPECT_THAT(refusal(kRoomy, many), testing::AllOf(HasSubstr("5 images"), HasSubstr("4")));
  EXPECT_NE(refusal(kRoomy, request(1, 0, 3)), "");
  EXPECT_NE(refusal(kRoomy, request(1, 3, 0)), "");
  EXPECT_THROW(Scheduler({.sequences = 4, .rows = 3}), Error);
}

TEST(Scheduler, CancelWaitingRunningAndInFlight) {
  Scheduler scheduler(kRoomy);
  for (uint64_t id = 1; id <= 3; ++id) scheduler.submit(request(id, 10, 5));
  scheduler.cancel(2);
  scheduler.cancel(77);
  EXPECT_THAT(requests_of(*scheduler.next()), ElementsAre(1, 3));
  scheduler.cancel(3);
  EXPECT_LT(scheduler.free_pages(), 100u - 4) << "its pages are still written to";
  EXPECT_EQ(scheduler.finish(tokens({5, 5})).size(), 1u);
  scheduler.cancel(1);
  EXPECT_EQ(scheduler.free_pages(), 100u);
  EXPECT_EQ(scheduler.free_slots(), 4u);
  EXPECT_FALSE(scheduler.next());
}

TEST(Scheduler, StepsAlternateWithTheirEnds) {
  Scheduler scheduler(kRoomy);
  scheduler.submit(request(1, 10, 5));
  EXPECT_THROW(scheduler.finish(tokens({})), std::logic_error);
  scheduler.next();
  EXPECT_THROW(scheduler.next(), std::logic_error);
  EXPECT_THROW(scheduler.finish(tokens({1, 2})), std::logic_error);
}

/// Plays workers and clients at random, and holds every step against what it knows of all requests.
class RandomPlay {
 public:
  explicit RandomPlay(uint32_t seed) : random_(seed) {
    limits_.sequences = number(1, 6);
    limits_.rows = number(std::max<int64_t>(8, limits_.sequences), 40);
    limits_.length = number(8, limits_.rows + 10);
    limits_.page_tokens = number(1, 6);
    limits_.pages = number(8, 60);
    limits_.slots = number(1, 5);
    scheduler_.emplace(limits_);
  }

  void play() {
    for (int step = 0; step < 60; ++step) {
      for (int64_t n = number(0, 3); n > 0; --n) submit();
      if (number(0, 5) == 0) cancel();
      run_step();
      if (testing::Test::HasFatalFailure()) return;
    }
    for (int64_t left = tokens_asked_ + 1; run_step(); --left) {
      if (testing::Test::HasFatalFailure()) return;
      ASSERT_GT(left, 0) << "requests are not served in the steps that all of them could need one by one";
    }
    EXPECT_TRUE(live_.empty()) << live_.size() << " requests never ended";
    EXPECT_EQ(scheduler_->free_pages(), static_cast<size_t>(limits_.pages));
    EXPECT_EQ(scheduler_->free_slots(), static_cast<size_t>(limits_.slots));
  }

 private:
  struct Known {
    Request request;
    int64_t tokens = 0;  // sampled so far
    int32_t last = 0;
    bool admitted = false;
    std::set<int32_t> pages;
  };

  int64_t number(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }

  void submit() {
    Request r = request(++submitted_, number(1, limits_.length), number(1, 9));
    r.images = number(0, limits_.slots);
    try {
      scheduler_->submit(r);
      live_[r.id].request = r;
      tokens_asked_ += r.max_new_tokens;
    } catch (const Error&) {
    }
  }

  void cancel() {
    if (live_.empty()) return;
    auto it = std::next(live_.begin(), number(0, static_cast<int64_t>(live_.size()) - 1));
    scheduler_->cancel(it->first);
    live_.erase(it);
  }

  bool run_step() {
    const auto plan = scheduler_->next();
    if (!plan) {
      EXPECT_TRUE(live_.empty()) << "nothing to do, but requests wait";
      return false;
    }
    check(*plan);
    const bool cancels = number(0, 9) == 0;
    if (cancels) cancel();
    wire::StepDone done;
    std::vector<Event> expected;
    for (const wire::Rows& rows : plan->step.rows()) {
      const auto token = static_cast<int32_t>(number(1, 6));  // 1 ends the text
      done.add_tokens(token);
      const auto found = live_.find(rows.request());
      if (found == live_.end()) continue;
      Known& known = found->second;
      known.last = token;
      ++known.tokens;
      const bool full = known.tokens == known.request.max_new_tokens;
      const Finish finish = token == 1 ? Finish::eos : full ? Finish::length : Finish::no;
      expected.push_back({rows.request(), token == 1 ? std::nullopt : std::optional(token), finish});
      if (finish != Finish::no) live_.erase(found);
    }
    compare(scheduler_->finish(done), expected);
    return true;
  }

  void compare(const std::vector<Event>& events, const std::vector<Event>& expected) {
    ASSERT_EQ(events.size(), expected.size());
    for (size_t i = 0; i < events.size(); ++i) {
      EXPECT_EQ(events[i].request, expected[i].request);
      EXPECT_EQ(events[i].token, expected[i].token);
      EXPECT_EQ(events[i].finish, expected[i].finish);
    }
  }

  void check(const Plan& plan) {
    int64_t total = 0, encodes = 0;
    std::set<int32_t> pages, slots;
    std::set<uint64_t> seen;
    for (const wire::Rows& rows : plan.step.rows()) {
      total += rows.ids_size();
      ASSERT_TRUE(live_.count(rows.request())) << "a request that has ended";
      ASSERT_TRUE(seen.insert(rows.request()).second) << "twice in one step";
      Known& known = live_[rows.request()];
      if (!known.admitted) {
        check_prefill(rows, known, plan, encodes);
      } else {
        ASSERT_THAT(rows.ids(), ElementsAre(known.last));
      }
      const auto prefix = static_cast<int64_t>(known.request.prefix.size());
      ASSERT_EQ(rows.position(), known.tokens == 0 ? 0 : prefix + known.tokens - 1);
      ASSERT_EQ(rows.prefix(), prefix);
      ASSERT_GE(rows.pages_size() * limits_.page_tokens, rows.position() + rows.ids_size());
      ASSERT_EQ(known.pages, std::set<int32_t>(rows.pages().begin(), rows.pages().end()))
          << "its pages changed";
      for (int32_t page : rows.pages()) {
        ASSERT_TRUE(pages.insert(page).second) << "a page with two owners";
        ASSERT_TRUE(page >= 0 && page < limits_.pages);
      }
      for (int32_t slot : rows.slots()) {
        ASSERT_TRUE(slots.insert(slot).second) << "a slot with two owners";
        ASSERT_TRUE(slot >= 0 && slot < limits_.slots);
      }
    }
    ASSERT_LE(total, limits_.rows);
    ASSERT_LE(plan.step.rows_size(), limits_.sequences);
    ASSERT_EQ(encodes, plan.step.encodes_size());
  }

  void check_prefill(const wire::Rows& rows, Known& known, const Plan& plan, int64_t& encodes) {
    ASSERT_GT(rows.request(), last_admitted_) << "overtaken";
    for (const auto& [id, other] : live_)
      ASSERT_TRUE(other.admitted || id >= rows.request()) << "an earlier request still waits";
    last_admitted_ = rows.request();
    known.admitted = true;
    known.pages = {rows.pages().begin(), rows.pages().end()};
    ASSERT_EQ(rows.ids_size(), static_cast<int>(known.request.prefix.size()));
    ASSERT_EQ(rows.slots_size(), known.request.images);
    for (int64_t i = 0; i < known.request.images; ++i, ++encodes) {
      ASSERT_EQ(plan.images.at(static_cast<size_t>(encodes)).request, rows.request());
      ASSERT_EQ(plan.images.at(static_cast<size_t>(encodes)).index, i);
      ASSERT_EQ(plan.step.encodes(static_cast<int>(encodes)).slot(), rows.slots(static_cast<int>(i)));
    }
  }

  std::mt19937 random_;
  Limits limits_;
  std::optional<Scheduler> scheduler_;
  std::map<uint64_t, Known> live_;
  uint64_t submitted_ = 0, last_admitted_ = 0;
  int64_t tokens_asked_ = 0;
};

TEST(Scheduler, RandomEventsLeakShareAndStarveNothing) {
  for (uint32_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    RandomPlay(seed).play();
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace lapidary
