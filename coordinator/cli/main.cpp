#include <fcntl.h>
#include <unistd.h>

#include <cxxabi.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "configs/failure_text.h"
#include "configs/version.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/config_file.h"
#include "sharding/comm/launch_environment.h"

namespace {

constexpr int kFailed = 1, kUsage = 2;
constexpr std::chrono::seconds kFirstSpeaks{5};

/// Every rank finds the same. A launcher kills the whole job when one rank ends with a code, so that the
/// others leave the first one time to say its sentence; where they are still alive then, the fault was theirs
/// alone.
void let_first_speak() {
  if (lapidary::world_rank() > 0) std::this_thread::sleep_for(kFirstSpeaks);
}

int complain(const std::string& who, const std::string& what) {
  let_first_speak();
  std::fprintf(stderr, "%s: %s\n", who.c_str(), what.c_str());
  return kFailed;
}

int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help and --version come this way too
  let_first_speak();
  app.exit(error);
  return kUsage;
}

/// A closed standard stream's number would go to the next file that is opened: records, or a job's lock, and
/// messages would be written into it.
void open_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) == -1 && errno == EBADF)
      ::open("/dev/null",
             stream == STDIN_FILENO ? O_RDONLY : O_WRONLY);  // the lowest free number is this one
}

/// Memory may end on any thread, also where nobody looks for it: then this is the end, with its sentence. Any
/// other exception that nobody catches is a fault of the program's own, whose place a core file shows.
[[noreturn]] void end_without_memory() {
  try {
    if (const auto thrown = std::current_exception()) std::rethrow_exception(thrown);
  } catch (const std::bad_alloc&) {
    for (const char* part : {"lapidary: ", lapidary::kNoMemory, "\n"})
      std::ignore = ::write(STDERR_FILENO, part, std::strlen(part));
    std::_Exit(kFailed);
  } catch (...) {
    __gnu_cxx::__verbose_terminate_handler();
  }
  std::abort();
}

}  // namespace

int main(int argc, char** argv) {
  open_closed_streams();
  std::set_terminate(end_without_memory);
  if (lapidary::left_by_mpi())
    std::fputs(
        "lapidary: the environment holds a rank, as mpirun gives it, but names no launcher's server: "
        "this runs alone\n",
        stderr);
  CLI::App app(
      "PaliGemma 2, exact, on one rank or many.\n\nlapidary COMMAND --help says all about a command.",
      "lapidary");
  app.set_version_flag("--version", std::string("lapidary ") + lapidary::program_version());
  app.require_subcommand(1);
  app.get_formatter()->column_width(36);
  lapidary::SelectedCommand chosen;
  add_caption_command(app, chosen);
  add_serve_command(app, chosen);
  add_worker_command(app, chosen);
  add_trace_command(app, chosen);
  add_inspect_command(app, chosen);
  add_tokenize_commands(app, chosen);
  add_bench_command(app, chosen);
  lapidary::add_config_options(app);
  std::string who = "lapidary";
  try {
    std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.empty()) arguments.push_back("--help");
    arguments = lapidary::with_config_file(app, std::move(arguments));
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
    app.parse(std::move(arguments));
    who += " " + chosen.name;
    return chosen.run();
  } catch (const CLI::ParseError& e) {
    return usage_error(app, e);
  } catch (const std::exception& e) {
    return complain(who, lapidary::failure_text(e));
  }
}
