#include "sharding/comm/timed_comm.h"

#include <gtest/gtest.h>

#include <array>
#include <mutex>

#include "configs/steady_time.h"
#include "tests/support/communicator_suite.h"

namespace lapidary {
namespace {

struct Heard {
  CommWork work;
  int64_t begin, end;
};

TEST(TimedComm, IsACommunicatorLikeTheOneThatItMeasures) {
  for (const int ranks : {1, 2, 3})
    run_threads(ranks, [](Communicator& comm) {
      check_communicator(*make_timed(comm, [](CommWork, int64_t, int64_t) {}));
    });
}

TEST(TimedComm, CollectivesAndWaitsAreTold) {
  run_threads(2, [](Communicator& comm) {
    std::vector<Heard> heard;
    const auto timed = make_timed(comm, [&](CommWork work, int64_t begin, int64_t end) {
      heard.push_back({work, begin, end});
    });
    const int64_t before = steady_time();
    std::array<std::byte, 8> bytes{};
    timed->broadcast(bytes.data(), bytes.size(), 0);
    timed->barrier();
    if (timed->rank() == 0) {
      timed->send(bytes, 1, Channel::tokens);
    } else {
      timed->receive(bytes, 0, Channel::tokens);
    }
    const auto both = timed->split(0);  // what is split off is measured too
    both->broadcast(bytes.data(), bytes.size(), 1);
    const auto alone = timed->split(timed->rank());
    alone->broadcast(bytes.data(), bytes.size(), 0);  // of one: nothing
    const int64_t after = steady_time();

    std::vector<CommWork> expected{CommWork::collective, CommWork::collective};
    if (timed->rank() == 1) expected.insert(expected.begin() + 1, CommWork::receive);
    std::vector<CommWork> works;
    int64_t last = before;
    for (const Heard& h : heard) {
      works.push_back(h.work);
      EXPECT_LE(last, h.begin);
      EXPECT_LE(h.begin, h.end);
      last = h.end;
    }
    EXPECT_LE(last, after);
    EXPECT_EQ(works, expected);
  });
}

}  // namespace
}  // namespace lapidary
