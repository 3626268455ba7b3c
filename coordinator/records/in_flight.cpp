#include "coordinator/records/in_flight.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <unordered_map>
#include <vector>

#include "configs/error.h"
#include "coordinator/records/durable.h"

namespace lapidary {
namespace fs = std::filesystem;
namespace {

// Numbers are in this machine's byte order: a file from another is no file of ours, and nothing is lost by
// it.
constexpr std::array<char, 16> kMagic{"lapidary items1"};
enum class State : uint32_t { idle, together, alone };

struct Header {
  std::array<char, 16> magic = kMagic;
  uint32_t crashed = 0;
  uint32_t zero = 0;
};

struct Entry {
  uint64_t hash = 0;  // 0: free
  Suspicion suspicion = Suspicion::none;
  State state = State::idle;
};
static_assert(sizeof(Header) == 24 && sizeof(Entry) == 16);

/// What the file of the last run holds against its items.
std::vector<Entry> suspects_in(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  Header header;
  std::vector<Entry> suspects;
  if (!in.read(reinterpret_cast<char*>(&header), sizeof(header)) || header.magic != kMagic) return suspects;
  for (Entry entry; in.read(reinterpret_cast<char*>(&entry), sizeof(entry));) {
    if (entry.hash == 0 || entry.suspicion > Suspicion::guilty) continue;
    if (header.crashed != 0 && entry.state == State::alone) entry.suspicion = Suspicion::guilty;
    if (header.crashed != 0 && entry.state == State::together)
      entry.suspicion = std::max(entry.suspicion, Suspicion::suspect);
    entry.state = State::idle;
    if (entry.suspicion != Suspicion::none) suspects.push_back(entry);
  }
  return suspects;
}

std::string bytes_of(const Header& header, const std::vector<Entry>& entries) {
  std::string bytes(sizeof(header) + entries.size() * sizeof(Entry), '\0');
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + sizeof(header), entries.data(), entries.size() * sizeof(Entry));
  return bytes;
}

}  // namespace

struct InFlight::Impl {
  Impl(const fs::path& path, bool forgive);
  ~Impl() { ::munmap(memory, bytes); }

  Header& header() { return *static_cast<Header*>(memory); }
  Entry& entry(size_t i) {
    return *reinterpret_cast<Entry*>(static_cast<char*>(memory) + sizeof(Header) + i * sizeof(Entry));
  }

  const fs::path file;
  std::vector<Entry> suspects;  // of the runs before, by hash
  void* memory = nullptr;
  size_t bytes = 0;
  std::unordered_map<uint64_t, size_t> at;  // noted items, and suspects: their entries
  std::vector<size_t> free;
};

InFlight::Impl::Impl(const fs::path& path, bool forgive) : file(path) {
  if (!forgive) suspects = suspects_in(path);
  std::sort(suspects.begin(), suspects.end(), [](const Entry& a, const Entry& b) { return a.hash < b.hash; });
  std::vector<Entry> entries = suspects;
  entries.resize(suspects.size() + kMost);
  // All bytes are written, not left out: a disk that is full is found here, and not by a signal later.
  write_durably(file, bytes_of({}, entries));
  bytes = sizeof(Header) + entries.size() * sizeof(Entry);
  const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  memory = fd < 0 ? MAP_FAILED : ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (memory == MAP_FAILED) fail("cannot keep ", file.string(), " in memory: ", std::strerror(error));
  for (size_t i = 0; i < suspects.size(); ++i) at.emplace(suspects[i].hash, i);
  for (size_t i = entries.size(); i-- > suspects.size();) free.push_back(i);
}

InFlight::InFlight(const fs::path& file, bool forgive) : impl_(std::make_unique<Impl>(file, forgive)) {}

InFlight::~InFlight() = default;

Suspicion InFlight::of(uint64_t hash) const {
  const auto found = std::lower_bound(impl_->suspects.begin(), impl_->suspects.end(), hash,
                                      [](const Entry& entry, uint64_t h) { return entry.hash < h; });
  return found != impl_->suspects.end() && found->hash == hash ? found->suspicion : Suspicion::none;
}

void InFlight::begin(uint64_t hash, bool alone) {
  auto known = impl_->at.find(hash);
  if (known == impl_->at.end()) {
    if (impl_->free.empty() || hash == 0) return;
    known = impl_->at.emplace(hash, impl_->free.back()).first;
    impl_->free.pop_back();
  }
  Entry& entry = impl_->entry(known->second);
  entry.hash = hash;
  std::atomic_signal_fence(std::memory_order_seq_cst);  // a crash finds the one before the other
  entry.state = alone ? State::alone : State::together;
}

void InFlight::end(uint64_t hash) {
  const auto known = impl_->at.find(hash);
  if (known == impl_->at.end()) return;
  impl_->entry(known->second) = {};
  impl_->free.push_back(known->second);
  impl_->at.erase(known);
}

void InFlight::crashed() { impl_->header().crashed = 1; }

void InFlight::remove() {
  std::error_code ignored;
  fs::remove(impl_->file, ignored);
}

fs::path in_flight_file(const fs::path& folder) { return folder / ".in-flight"; }

// ---- crashes

namespace {

constexpr std::array kCrashes{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// What a signal's handler has to find: there is one a process, and it is given nothing.
std::array<char, 4096> crash_file{};
std::array<struct sigaction, kCrashes.size()> handlers_before{};

/// Then the signal does what it did before (MPI prints the stack).
void note_crash(int signal) {
  if (const int fd = ::open(crash_file.data(), O_WRONLY | O_CLOEXEC); fd >= 0) {
    const uint32_t crashed = 1;
    const ssize_t ignored = ::pwrite(fd, &crashed, sizeof(crashed), offsetof(Header, crashed));
    static_cast<void>(ignored);
    ::close(fd);
  }
  for (size_t i = 0; i < kCrashes.size(); ++i)
    if (kCrashes[i] == signal) ::sigaction(signal, &handlers_before[i], nullptr);
  ::raise(signal);
}

}  // namespace

void note_crashes_in(const fs::path& file) {
  const std::string path = fs::absolute(file).string();
  if (path.size() >= crash_file.size()) return;
  std::copy(path.begin(), path.end(), crash_file.begin());
  struct sigaction action {};
  action.sa_handler = note_crash;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kCrashes.size(); ++i) ::sigaction(kCrashes[i], &action, &handlers_before[i]);
}

}  // namespace lapidary
