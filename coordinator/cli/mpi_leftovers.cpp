#include "coordinator/cli/mpi_leftovers.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

namespace lapidary {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = ".mpirun";

template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && stop == text.data() + text.size();
}

bool is_ours(const fs::path& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && status.st_uid == ::geteuid();
}

/// "/tmp/ompi.HOST.0/pid.4711" of a mpirun that is gone.
bool is_left(const fs::path& session) {
  constexpr std::string_view kPid = "pid.";
  const std::string name = session.filename().string();
  pid_t pid = 0;
  if (!name.starts_with(kPid) || !read_number(std::string_view(name).substr(kPid.size()), pid) || pid <= 0)
    return false;
  if (!session.parent_path().filename().string().starts_with("ompi.") || !is_ours(session)) return false;
  return ::kill(pid, 0) != 0 && errno == ESRCH;
}

/// Open MPI calls them "vader_segment.HOST.USER.JOB.RANK", the job in hexadecimal digits.
void remove_segments(const fs::path& shared_memory, uint32_t job) {
  char middle[32];
  std::snprintf(middle, sizeof(middle), ".%u.%x.", static_cast<unsigned>(::geteuid()), job);
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(shared_memory, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("vader_segment.") && name.find(middle) != name.npos && is_ours(entry.path()))
      fs::remove(entry.path(), ignored);
  }
}

}  // namespace

void remove_mpi_leftovers(const fs::path& job_folder, const fs::path& shared_memory) {
  std::ifstream file(job_folder / kFile);
  std::string session, job;
  if (!std::getline(file, session) || !std::getline(file, job) || !is_left(session)) return;
  if (uint32_t number = 0; read_number(job, number)) remove_segments(shared_memory, number);
  std::error_code ignored;
  fs::remove_all(session, ignored);
}

void remember_mpi_place(const fs::path& job_folder, const std::string& session, const std::string& job) {
  std::ofstream(job_folder / kFile) << session << '\n' << job << '\n';
}

}  // namespace lapidary
