#include "coordinator/fleet/spawn.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "configs/error.h"
#include "tests/support/error_text.h"

namespace lapidary {
namespace {

/// What the command writes, to its end; `status` is how it ended.
std::string output_of(const std::vector<std::string>& command, int& status,
                      const std::vector<std::pair<std::string, std::string>>& environment = {}) {
  const Spawned child = spawn(command, environment);
  std::string text;
  std::array<char, 256> bytes;
  for (ssize_t size = 0; (size = read(child.output, bytes.data(), bytes.size())) > 0;)
    text.append(bytes.data(), static_cast<size_t>(size));
  close(child.output);
  waitpid(child.pid, &status, 0);
  return text;
}

TEST(Spawn, OutputsOfBothKindsComeBackAndNothingIsToBeRead) {
  int status = 0;
  EXPECT_EQ(output_of({"sh", "-c", "cat; echo one; echo two >&2; exit 3"}, status), "one\ntwo\n");
  EXPECT_EQ(WEXITSTATUS(status), 3);
}

TEST(Spawn, TheEnvironmentIsThisOneAndWhatIsAdded) {
  setenv("LAPIDARY_TEST_KEPT", "kept", 1);
  setenv("LAPIDARY_TOKEN", "old", 1);
  int status = 0;
  EXPECT_EQ(output_of({"sh", "-c", "echo $LAPIDARY_TEST_KEPT $LAPIDARY_TOKEN"}, status,
                      {{"LAPIDARY_TOKEN", "secret"}}),
            "kept secret\n");
  unsetenv("LAPIDARY_TEST_KEPT");
  unsetenv("LAPIDARY_TOKEN");
}

TEST(Spawn, NoDescriptorIsPassedOn) {
  const int open_one = open("/dev/null", O_RDONLY);
  int status = 0;
  const std::string name = cat("/proc/self/fd/", open_one);
  EXPECT_EQ(output_of({"sh", "-c", "readlink " + name + " || echo none"}, status), "none\n");
  close(open_one);
}

TEST(Spawn, SignalsThatAreBlockedHereReachIt) {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  int status = 0;
  EXPECT_EQ(output_of({"sh", "-c", "kill -TERM $$; echo alive"}, status), "");
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST(Spawn, AProgramThatIsNotThereIsNamed) {
  EXPECT_EQ(error_of([] { spawn({"/no/such/mpirun"}, {}); }),
            "cannot start /no/such/mpirun: No such file or directory");
}

TEST(Spawn, ItEndsWhenThisProcessIsKilled) {
  std::array<int, 2> said;
  ASSERT_EQ(pipe(said.data()), 0);
  const pid_t coordinator = fork();
  if (coordinator == 0) {
    const Spawned child = spawn({"sleep", "600"}, {});
    [[maybe_unused]] const ssize_t written = write(said[1], &child.pid, sizeof child.pid);
    while (true) pause();
  }
  pid_t child = 0;
  ASSERT_EQ(read(said[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
  pollfd end{static_cast<int>(syscall(SYS_pidfd_open, child, 0)), POLLIN, 0};
  kill(coordinator, SIGKILL);
  EXPECT_EQ(poll(&end, 1, 120'000), 1);
  waitpid(coordinator, nullptr, 0);
  for (const int descriptor : {end.fd, said[0], said[1]}) close(descriptor);
}

}  // namespace
}  // namespace lapidary
