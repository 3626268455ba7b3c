#include "coordinator/fleet/session.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace lapidary {
namespace {

/// "4711 (name) S parent group session …"; the name may hold anything, brackets too.
bool is_live_member(const std::filesystem::path& process, pid_t leader) {
  std::ifstream file(process / "stat");
  std::string text;
  std::getline(file, text, '\0');
  const size_t name_end = text.rfind(')');
  if (name_end == text.npos) return false;  // it has just ended
  std::istringstream fields(text.substr(name_end + 1));
  char state = 'Z';
  pid_t parent = 0, group = 0, session = 0;
  fields >> state >> parent >> group >> session;
  return session == leader && state != 'Z' && state != 'X';
}

}  // namespace

std::vector<pid_t> session_members(pid_t leader) {
  std::vector<pid_t> members;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    const pid_t pid = static_cast<pid_t>(std::stol(name));
    if (pid != leader && is_live_member(entry.path(), leader)) members.push_back(pid);
  }
  return members;
}

size_t kill_session(pid_t leader) {
  ::kill(leader, SIGKILL);
  const std::vector<pid_t> members = session_members(leader);
  for (const pid_t pid : members) ::kill(pid, SIGKILL);
  return members.size();
}

}  // namespace lapidary
