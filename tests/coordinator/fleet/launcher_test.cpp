#include "coordinator/fleet/launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>

#include "configs/error.h"
#include "coordinator/fleet/mpirun_command.h"
#include "coordinator/fleet/session.h"
#include "tests/support/io_thread.h"
#include "tests/support/journal.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

/// A launcher whose replicas run a shell script each; it notes what it is told.
class LauncherRig {
 public:
  explicit LauncherRig(const std::string& script, int replicas = 1)
      : LauncherRig(std::vector<std::string>{"sh", "-c", script}, replicas) {}
  LauncherRig(const std::vector<std::string>& command, int replicas) {
    LauncherOptions options;
    options.replicas = replicas;
    options.command = [command](int) { return command; };
    options.environment = {{"LAPIDARY_TOKEN", "secret"}};
    options.grace_seconds = 0.05;
    options.restarts = {
        .first_seconds = 0.01, .longest_seconds = 0.02, .settled_seconds = 60, .fruitless_starts = 3};
    LauncherEvents events;
    events.started = [this](int replica) { journal.add(cat("started ", replica)); };
    events.ended = [this](int replica, const std::string& how, double seconds) {
      journal.add(cat("ended ", replica, " by ", how, seconds < 0 ? ", for good" : ", to start again"));
    };
    events.line = [this](const std::string& line) { journal.add("line: " + line); };
    events.failed = [this](const std::string& why) { journal.add("failed: " + why); };
    thread_.run([&] {
      launcher_ = std::make_unique<Launcher>(thread_.io(), options, events);
      launcher_->start();
    });
  }
  ~LauncherRig() {
    thread_.run([this] { launcher_.reset(); });
  }

  template <class Task>
  void run(Task task) {
    thread_.run([&] { task(*launcher_); });
  }
  void stop(double patience) {
    run([&](Launcher& launcher) { launcher.stop(patience, [this] { journal.add("stopped"); }); });
    journal.await("stopped");
  }
  /// The number that the n-th line with `word` before it says.
  pid_t number(const std::string& word, size_t n = 1) {
    const std::string line = journal.await(": " + word + " ", n);
    return std::stoi(line.substr(line.rfind(' ')));
  }

  Journal journal;

 private:
  IoThread thread_;
  std::unique_ptr<Launcher> launcher_;
};

void expect_nothing_left(pid_t leader) {
  EXPECT_TRUE(session_members(leader).empty());
  EXPECT_EQ(::kill(leader, 0), -1);
}

TEST(Launcher, LinesOfAllReplicasArePassedOnWithTheirNumber) {
  LauncherRig rig("echo hello; echo error >&2; printf unfinished", 2);
  for (const char* line : {"hello", "error", "unfinished"})
    for (int replica = 0; replica < 2; ++replica) {
      const std::string expected = cat("line: replica ", replica, ": ", line);
      EXPECT_EQ(rig.journal.await(expected), expected);
    }
}

TEST(Launcher, AReplicaThatDiesAtOnceIsGivenUpAndWithTheLastTheJob) {
  LauncherRig rig("echo no model here; exit 3", 2);
  EXPECT_THAT(
      rig.journal.await("failed"),
      HasSubstr(
          "was given up: it ended 3 times in a row before it was ready, the last time by exit code 3; its "
          "last line: no model here"));
  EXPECT_EQ(rig.journal.holding("started").size(), 6u);
  EXPECT_EQ(rig.journal.holding("ended 0 by exit code 3, to start again").size(), 2u);
  EXPECT_EQ(rig.journal.holding("failed").size(), 1u);
}

TEST(Launcher, AProgramThatIsNotThereIsNotTriedAgain) {
  LauncherRig rig(std::vector<std::string>{"/no/such/mpirun"}, 1);
  EXPECT_EQ(rig.journal.await("failed"),
            "failed: replica 0 was given up: cannot start /no/such/mpirun: No such file or directory");
  EXPECT_TRUE(rig.journal.holding("started").empty());
}

TEST(Launcher, AStartThatBecameReadyIsFollowedByOthers) {
  LauncherRig rig("echo up $$; exec sleep 600");
  for (size_t start = 1; start <= 6; ++start) {
    rig.number("up", start);
    rig.run([](Launcher& launcher) {
      launcher.ready(0);
      launcher.kill(0);
    });
    EXPECT_THAT(rig.journal.await("ended 0", start), HasSubstr("by signal 15 (Terminated), to start again"));
  }
  EXPECT_TRUE(rig.journal.holding("failed").empty());
}

TEST(Launcher, WhoIgnoresSigtermIsKilled) {
  LauncherRig rig("trap '' TERM; echo up $$; while :; do sleep 600; done");
  const pid_t leader = rig.number("up");
  rig.run([](Launcher& launcher) { launcher.kill(0); });
  EXPECT_THAT(rig.journal.await("ended 0"), HasSubstr("signal 9 (Killed), to start again"));
  EXPECT_TRUE(session_members(leader).empty());
}

TEST(Launcher, ChildrenInGroupsOfTheirOwnEndWithTheFirstProcess) {
  // As mpirun's do: `set -m` gives each a group. They ignore what asks them to end.
  LauncherRig rig(
      "set -m; (trap '' TERM; sleep 600; sleep 600) & (trap '' TERM; exec sleep 600) & echo up $$; wait");
  const pid_t leader = rig.number("up");
  EXPECT_GE(session_members(leader).size(), 2u);
  ::kill(leader, SIGKILL);
  EXPECT_THAT(rig.journal.await("ended 0"), HasSubstr("signal 9 (Killed), to start again"));
  EXPECT_TRUE(session_members(leader).empty());
  const pid_t next = rig.number("up", 2);
  rig.stop(0);
  expect_nothing_left(next);
}

TEST(Launcher, StopGivesTimeToEndWell) {
  const TempFolder folder;
  const std::string end = (folder / "end").string();
  LauncherRig rig("echo up $$; while [ ! -e " + end + " ]; do sleep 0.01; done; echo well");
  rig.number("up");
  // The patience is longer than a test may take: the replica ends by itself.
  rig.run([&](Launcher& launcher) { launcher.stop(600, [&rig] { rig.journal.add("stopped"); }); });
  folder.write("end", "");
  rig.journal.await("stopped");
  EXPECT_EQ(rig.journal.await("ended 0"), "ended 0 by exit code 0, for good");
  EXPECT_EQ(rig.journal.holding("line: replica 0: well").size(), 1u);
}

TEST(Launcher, NothingStartsAfterStop) {
  LauncherRig rig("exit 1");
  rig.journal.await("ended 0");
  rig.stop(0);
  const size_t starts = rig.journal.holding("started").size();
  rig.run([](Launcher& launcher) { launcher.kill(0); });
  EXPECT_EQ(rig.journal.holding("started").size(), starts);
}

TEST(Launcher, ADestroyedLauncherLeavesNothing) {
  pid_t leader = 0;
  {
    LauncherRig rig(
        "set -m; (trap '' TERM; exec sleep 600) & trap '' TERM; echo up $$; sleep 600; sleep 600");
    leader = rig.number("up");
  }
  expect_nothing_left(leader);
}

TEST(Launcher, TheTokenIsInTheEnvironment) {
  LauncherRig rig("echo token $LAPIDARY_TOKEN; exec sleep 600");
  EXPECT_THAT(rig.journal.await("token"), StartsWith("line: replica 0: token secret"));
}

TEST(Launcher, RanksOfARealMpirunEndWithIt) {
  if (std::system("command -v mpirun > /dev/null") != 0) GTEST_SKIP() << "no mpirun";
  MpirunOptions options;
  options.root = geteuid() == 0;
  options.variables = {"LAPIDARY_TOKEN"};
  LauncherRig rig(
      mpirun_command(options, 3, {"sh", "-c", "trap '' TERM; echo rank of $PPID $LAPIDARY_TOKEN; sleep 600"}),
      1);
  const std::string line = rig.journal.await("rank of", 3);
  EXPECT_THAT(line, testing::EndsWith(" secret"));
  const pid_t leader = std::stoi(line.substr(line.find("rank of") + 8));
  EXPECT_GE(session_members(leader).size(), 3u);
  ::kill(leader, SIGKILL);
  rig.journal.await("ended 0");
  EXPECT_TRUE(session_members(leader).empty());
}

}  // namespace
}  // namespace lapidary
