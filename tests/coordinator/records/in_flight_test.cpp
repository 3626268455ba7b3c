#include "coordinator/records/in_flight.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <optional>

#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

class InFlightTest : public testing::Test {
 protected:
  const TempFolder folder_;
  const std::filesystem::path file_ = in_flight_file(folder_.path());
  std::optional<InFlight> run_;

  InFlight& begin_run(bool forgive = false) {
    run_.reset();
    return run_.emplace(file_, forgive);
  }
};

TEST_F(InFlightTest, NothingIsHeldAgainstWhatARunThatWasKilledWorkedOn) {
  begin_run().begin(7, false);
  EXPECT_EQ(begin_run().of(7), Suspicion::none);
}

TEST_F(InFlightTest, ACrashMakesSuspectsAndOneAloneMakesOneGuilty) {
  InFlight& first = begin_run();
  for (const uint64_t hash : {7, 8, 9}) first.begin(hash, false);
  first.end(8);
  first.crashed();

  InFlight& second = begin_run();
  EXPECT_EQ(second.of(7), Suspicion::suspect);
  EXPECT_EQ(second.of(8), Suspicion::none) << "it had its record";
  EXPECT_EQ(second.of(9), Suspicion::suspect);
  EXPECT_EQ(second.of(10), Suspicion::none);
  second.begin(7, true);
  second.end(7);
  second.begin(9, true);
  second.crashed();

  InFlight& third = begin_run();
  EXPECT_EQ(third.of(7), Suspicion::none);
  EXPECT_EQ(third.of(9), Suspicion::guilty);
  EXPECT_EQ(begin_run().of(9), Suspicion::guilty) << "until it has its record";
  run_->end(9);
  EXPECT_EQ(begin_run().of(9), Suspicion::none);
}

TEST_F(InFlightTest, SuspectsStaySoWhereARunIsKilledOrCrashesAtOthers) {
  begin_run().begin(7, false);
  run_->crashed();
  begin_run().begin(7, true);
  EXPECT_EQ(begin_run().of(7), Suspicion::suspect) << "that run was killed";
  run_->begin(8, false);
  run_->crashed();
  EXPECT_EQ(begin_run().of(7), Suspicion::suspect);
  EXPECT_EQ(run_->of(8), Suspicion::suspect);
  EXPECT_EQ(begin_run(true).of(7), Suspicion::none) << "forgiven";
}

TEST_F(InFlightTest, MoreThanItHoldsAreNotNotedAndFreedPlacesAreTakenAgain) {
  InFlight& run = begin_run();
  for (uint64_t hash = 1; hash <= InFlight::kMost + 10; ++hash) run.begin(hash, false);
  run.end(1);
  run.begin(1'000'000, false);
  run.crashed();
  EXPECT_EQ(begin_run().of(InFlight::kMost), Suspicion::suspect);
  EXPECT_EQ(run_->of(InFlight::kMost + 1), Suspicion::none);
  EXPECT_EQ(run_->of(1'000'000), Suspicion::suspect);
}

TEST_F(InFlightTest, AFileThatIsNoneOfOursOrTornHoldsNothingAgainstAnybody) {
  std::ofstream(file_) << "something else, longer than a header and an entry of it";
  begin_run().begin(7, false);
  run_->crashed();
  std::filesystem::resize_file(file_, 24 + 16 * 3 + 5);
  EXPECT_NO_THROW(begin_run());
  run_->remove();
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(InFlightTest, ASignalOfItsOwnFaultIsNotedAndThenEndsTheProcess) {
  for (const int signal : {SIGSEGV, SIGABRT, SIGFPE}) {
    begin_run().begin(7, false);
    const pid_t child = ::fork();
    if (child == 0) {
      note_crashes_in(file_);
      ::raise(signal);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), signal);
    EXPECT_EQ(begin_run().of(7), Suspicion::suspect) << signal;
    begin_run(true);
  }
}

}  // namespace
}  // namespace lapidary
