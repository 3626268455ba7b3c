#include "configs/hostfile.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr int kMaxSlots = 1 << 20;
constexpr size_t kMaxBytes = size_t{16} << 20;  // of a file of hosts

int whole_number(const std::string& text, const std::string& where) {
  int value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < 0 || value > kMaxSlots)
    fail(where, ": \"", text, "\" is no number of slots");
  return value;
}

/// "slots = 4" and "slots=4" are the same.
std::string without_blanks_at_equals(const std::string& line) {
  std::string result;
  for (size_t i = 0; i < line.size(); ++i) {
    const bool blank = line[i] == ' ' || line[i] == '\t' || line[i] == '\r';
    const size_t next = line.find_first_not_of(" \t\r", i);
    if (blank && ((next != line.npos && line[next] == '=') || (!result.empty() && result.back() == '=')))
      continue;
    result += line[i];
  }
  return result;
}

HostSlots parse_line(const std::string& line, const std::string& where) {
  std::istringstream words(without_blanks_at_equals(line));
  HostSlots host;
  words >> host.host;
  if (const size_t colon = host.host.find(':'); colon != std::string::npos && colon == host.host.rfind(':'))
    fail(where, ": \"", host.host, "\" has a colon; slots are given as \"", host.host.substr(0, colon),
         " slots=", host.host.substr(colon + 1), "\"");
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    if (equals == word.npos) fail(where, ": \"", word, "\" is not of the form slots=4");
    const int value = whole_number(word.substr(equals + 1), where);
    if (key == "slots")
      host.slots = value;
    else if (key != "max_slots" &&
             key != "max-slots")  // how far mpirun may overload a host, which is not done here
      fail(where, ": \"", key, "\" is not known, only slots and max_slots are");
  }
  return host;
}

}  // namespace

std::vector<HostSlots> parse_hostfile(const std::string& text, const std::string& name) {
  std::vector<HostSlots> hosts;
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";  // of Windows' editors
  std::istringstream lines(text.starts_with(kByteOrderMark) ? text.substr(kByteOrderMark.size()) : text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    line.resize(std::min(line.find('#'), line.size()));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const HostSlots host = parse_line(line, cat(name, ", line ", number));
    const auto known =
        std::find_if(hosts.begin(), hosts.end(), [&](const HostSlots& h) { return h.host == host.host; });
    if (known == hosts.end())
      hosts.push_back(host);
    else
      known->slots = std::min(known->slots + host.slots, kMaxSlots);
  }
  if (hosts.empty()) fail(name, " names no host");
  return hosts;
}

std::vector<HostSlots> read_hostfile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) fail("cannot read the hostfile ", path.string());
  std::string text(kMaxBytes + 1, '\0');  // also of a pipe, which has no length, or a device without end
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) fail("cannot read the hostfile ", path.string());
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMaxBytes)
    fail("the hostfile ", path.string(), " has more than ", kMaxBytes, " bytes: it is none");
  return parse_hostfile(text, path.string());
}

std::vector<std::vector<HostSlots>> deal_hosts(const std::vector<HostSlots>& hosts, int replicas,
                                               int ranks_each) {
  int64_t slots = 0;
  for (const HostSlots& host : hosts) slots += host.slots;
  const int64_t needed = int64_t{replicas} * ranks_each;
  if (slots < needed)
    fail("the hosts have ", slots, slots == 1 ? " slot" : " slots", ", but ", replicas,
         replicas == 1 ? " replica of " : " replicas of ", ranks_each,
         ranks_each == 1 ? " rank need " : " ranks need ", needed);
  std::vector<std::vector<HostSlots>> dealt(static_cast<size_t>(replicas));
  auto host = hosts.begin();
  int taken = 0;  // of *host
  for (auto& share : dealt)
    for (int left = ranks_each; left > 0;) {
      const int count = std::min(left, host->slots - taken);
      if (count > 0) share.push_back({host->host, count});
      left -= count;
      taken += count;
      if (taken == host->slots) {
        ++host;
        taken = 0;
      }
    }
  return dealt;
}

}  // namespace lapidary
