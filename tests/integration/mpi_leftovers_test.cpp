#include "coordinator/cli/mpi_leftovers.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "configs/error.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

/// The number of a process that has been.
pid_t dead_process() {
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  waitpid(pid, nullptr, 0);
  return pid;
}

class MpiLeftovers : public testing::Test {
 protected:
  fs::path session_of(pid_t pid) {
    const fs::path session = folder_.path() / "ompi.host.0" / cat("pid.", pid);
    fs::create_directories(session / "0");
    return session;
  }
  fs::path segment(const std::string& job) {
    const fs::path file = folder_.path() / cat("vader_segment.host.", geteuid(), ".", job, ".0");
    std::ofstream(file) << "x";
    return file;
  }
  void remove_after(const fs::path& session) {
    remember_mpi_place(folder_.path(), session.string(), "155123713");  // 0x93f0001
    remove_mpi_leftovers(folder_.path(), folder_.path());
  }

  TempFolder folder_;
};

TEST_F(MpiLeftovers, OfAKilledMpirunAreRemoved) {
  const fs::path session = session_of(dead_process()), mine = segment("93f0001"), others = segment("93f0002");
  remove_after(session);
  EXPECT_FALSE(fs::exists(session));
  EXPECT_FALSE(fs::exists(mine));
  EXPECT_TRUE(fs::exists(others));
}

TEST_F(MpiLeftovers, OfALivingOneStay) {
  const fs::path session = session_of(getpid()), mine = segment("93f0001");
  remove_after(session);
  EXPECT_TRUE(fs::exists(session));
  EXPECT_TRUE(fs::exists(mine));
}

TEST_F(MpiLeftovers, NoOtherFolderIsEverRemoved) {
  const fs::path other = folder_.path() / "photos" / cat("pid.", dead_process());
  fs::create_directories(other);
  remove_after(other);
  EXPECT_TRUE(fs::exists(other));
  remove_after(folder_.path() / "ompi.host.0");
  remove_mpi_leftovers("/no/such/folder");
}

}  // namespace
}  // namespace lapidary
