#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

namespace lapidary {

/// What is held against an item by the runs before.
enum class Suspicion : uint8_t {
  none,
  suspect,  // it was worked on, with others, when a run crashed
  guilty,   // it was worked on alone when a run crashed, after it had been a suspect
};

/// The items that a job works on, in a file that a crash leaves as it is: else one that ends its process
/// would hold up its job at every run, for ever. A run after a crash works on each suspect alone.
///
/// Only what crashed counts, by a signal of its own or an error that a worker reported: a run that is killed
/// from outside (SIGKILL, Ctrl-C, a power cut) says nothing of its items.
///
/// The file is written through memory: noting an item makes no call of the system and waits for no disk.
class InFlight {
 public:
  /// Items at a time; more are not noted.
  static constexpr size_t kMost = 16384;

  /// Takes in what the last run has left, and begins the file anew. `forgive`: nothing is held against any
  /// item. Throws a sentence that names the file.
  InFlight(const std::filesystem::path& file, bool forgive);
  ~InFlight();
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

  /// By the runs before this one; from any thread.
  Suspicion of(uint64_t hash) const;

  // From one thread.
  void begin(uint64_t hash, bool alone);
  /// It has its record: nothing is held against it any more.
  void end(uint64_t hash);
  /// A worker has said that it cannot go on.
  void crashed();
  /// The job is done.
  void remove();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// In a job's folder.
std::filesystem::path in_flight_file(const std::filesystem::path& folder);

/// From now on a signal that ends this process for a fault of its own (SIGSEGV, SIGBUS, SIGFPE, SIGILL,
/// SIGABRT) is noted in that file first, where it is there. Once a process.
void note_crashes_in(const std::filesystem::path& file);

}  // namespace lapidary
