#include "sharding/comm/communicator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <stdexcept>
#include <string>

#include "sharding/plan/plan.h"
#include "tests/support/communicator_suite.h"

namespace lapidary {
namespace {

TEST(Solo, CollectivesAreTheIdentity) {
  auto solo = make_solo();
  EXPECT_EQ(solo->size(), 1);
  check_communicator(*solo);
}

class Threads : public ::testing::TestWithParam<int> {};

TEST_P(Threads, CollectivesAreExact) {
  run_threads(GetParam(), [](Communicator& comm) { check_communicator(comm); });
}

TEST_P(Threads, AFailedRankEndsTheOthersAndItsErrorIsSeen) {
  std::atomic<int> left{0};
  try {
    run_threads(GetParam(), [&](Communicator& comm) {
      struct Leave {
        std::atomic<int>& count;
        ~Leave() { ++count; }
      } leave{left};
      comm.barrier();
      if (comm.rank() == comm.size() - 1) throw std::runtime_error("rank is gone");
      for (;;) comm.barrier();
    });
    FAIL();
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "rank is gone");
  }
  EXPECT_EQ(left, GetParam());
}

TEST(Messages, AFailedRankEndsThoseWhoWaitForItsMessage) {
  for (const bool in_part : {false, true}) {
    try {
      run_threads(3, [&](Communicator& comm) {
        const auto part = comm.split(0);
        Communicator& group = in_part ? *part : comm;
        if (group.rank() == 2) throw std::runtime_error("rank is gone");
        std::vector<std::byte> data(8);
        group.receive(data, 2, Channel::activations);
      });
      FAIL();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "rank is gone");
    }
  }
}

TEST(Messages, AnotherSizeThanExpectedIsAMistake) {
  EXPECT_THROW(run_threads(2,
                           [](Communicator& comm) {
                             std::vector<std::byte> data(8);
                             if (comm.rank() == 0) comm.send(data, 1, Channel::tokens);
                             if (comm.rank() == 1) comm.receive(std::span(data).first(7), 0, Channel::tokens);
                           }),
               std::logic_error);
}

TEST(Messages, NobodySendsToItselfOrToNobody) {
  run_threads(2, [](Communicator& comm) {
    EXPECT_THROW(comm.send({}, comm.rank(), Channel::tokens), std::logic_error);
    EXPECT_THROW(comm.send({}, 2, Channel::tokens), std::logic_error);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, Threads, ::testing::Values(1, 2, 3, 4, 5, 8, 16));

}  // namespace
}  // namespace lapidary
