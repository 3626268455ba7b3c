#include "coordinator/fleet/stop_signal.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>

namespace lapidary {
namespace {

/// Signals are the process's, so each case has a process. Gives its exit code, or minus the signal that ended
/// it.
int in_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);  // a case that hangs ends as one that failed
    ::_exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void wait_until(const std::function<bool()>& condition) {
  while (!condition()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

int forever() {
  wait_until([] { return false; });
  return 99;
}

TEST(StopSignal, EndsAtOnceBeforeThereIsWorkToLose) {
  for (int signal : {SIGINT, SIGTERM})
    EXPECT_EQ(in_child([&] {
                StopSignal stop;
                kill(getpid(), signal);
                return forever();
              }),
              128 + signal);
}

TEST(StopSignal, IsRememberedOnceWorkHasBegun) {
  for (int signal : {SIGINT, SIGTERM})
    EXPECT_EQ(in_child([&] {
                StopSignal stop;
                stop.defer();
                if (stop.caught() != 0) return 98;
                kill(getpid(), signal);
                wait_until([&] { return stop.caught() != 0; });
                return stop.caught() == signal ? 7 : 97;
              }),
              7);
}

TEST(StopSignal, TheSecondOneDoesNotWait) {
  for (int first : {SIGINT, SIGTERM})
    for (int second : {SIGINT, SIGTERM})
      EXPECT_EQ(in_child([&] {
                  StopSignal stop;
                  stop.defer();
                  kill(getpid(), first);
                  wait_until([&] { return stop.caught() != 0; });
                  kill(getpid(), second);
                  return forever();
                }),
                128 + second);
}

TEST(StopSignal, LeavesNoTraceBehind) {
  EXPECT_EQ(in_child([] {
              { StopSignal stop; }
              kill(getpid(), SIGTERM);
              return forever();
            }),
            -SIGTERM);
}

TEST(StopSignal, AClosedPipeIsAnErrorOfWrite) {
  EXPECT_EQ(in_child([] {
              StopSignal stop;
              int ends[2];
              if (pipe(ends) != 0) return 98;
              close(ends[0]);
              return write(ends[1], "x", 1) < 0 && errno == EPIPE ? 7 : 97;
            }),
            7);
}

}  // namespace
}  // namespace lapidary
