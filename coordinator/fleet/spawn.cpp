#include "coordinator/fleet/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>

#include "configs/error.h"

namespace lapidary {
namespace {

struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() {
    std::array<int, 2> ends;
    if (pipe2(ends.data(), O_CLOEXEC) != 0) fail("no pipe for a new process: ", std::strerror(errno));
    read_end = ends[0];
    write_end = ends[1];
  }
  ~Pipe() {
    if (read_end >= 0) close(read_end);
    close_write_end();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_write_end() {
    if (write_end >= 0) close(std::exchange(write_end, -1));
  }
};

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& more) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto is_replaced = [&](const auto& one) { return text.starts_with(one.first + "="); };
    if (std::none_of(more.begin(), more.end(), is_replaced)) all.emplace_back(text);
  }
  for (const auto& [name, value] : more) all.push_back(name + "=" + value);
  return all;
}

/// Between fork and exec: nothing here may allocate or lock, for other threads' locks are held for ever.
[[noreturn]] void become(char* const* command, char* const* environment, pid_t parent, int output,
                         int failure) {
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);  // it ended before it could be noticed
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  execvpe(command[0], command, environment);
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(failure, &error, sizeof error);
  _exit(127);
}

}  // namespace

Spawned spawn(const std::vector<std::string>& command,
              const std::vector<std::pair<std::string, std::string>>& environment) {
  if (command.empty()) throw std::logic_error("no command to start");
  const std::vector<std::string> variables = environment_with(environment);
  const std::vector<char*> arguments = pointers(command), settings = pointers(variables);
  Pipe output, failure;
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) fail("cannot start ", command[0], ": ", std::strerror(errno));
  if (pid == 0) become(arguments.data(), settings.data(), parent, output.write_end, failure.write_end);
  failure.close_write_end();
  int error = 0;
  ssize_t size = 0;
  while ((size = read(failure.read_end, &error, sizeof error)) < 0 && errno == EINTR) {
  }
  if (size == 0) return {pid, std::exchange(output.read_end, -1)};  // exec has closed the other end
  waitpid(pid, nullptr, 0);
  fail("cannot start ", command[0], ": ", std::strerror(error));
}

}  // namespace lapidary
