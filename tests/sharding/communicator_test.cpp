#include "sharding/communicator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <stdexcept>
#include <string>

#include "sharding/plan.h"
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

INSTANTIATE_TEST_SUITE_P(Ranks, Threads, ::testing::Values(1, 2, 3, 4, 5, 8, 16));

}  // namespace
}  // namespace lapidary
