#include "worker/control/parent_death.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace lapidary {
namespace {

TEST(ParentDeath, AKilledParentTakesItsChildAlong) {
  std::array<int, 2> said;
  ASSERT_EQ(pipe(said.data()), 0);
  const pid_t parent = fork();
  if (parent == 0) {
    if (fork() == 0) {
      die_with_parent();
      [[maybe_unused]] const ssize_t written = write(said[1], "1", 1);
    }
    while (true) pause();  // both
  }
  close(said[1]);
  char byte = 0;
  ASSERT_EQ(read(said[0], &byte, 1), 1);
  kill(parent, SIGKILL);
  EXPECT_EQ(read(said[0], &byte, 1), 0) << "the child still holds its end";
  close(said[0]);
  waitpid(parent, nullptr, 0);
}

}  // namespace
}  // namespace lapidary
