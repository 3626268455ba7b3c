#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "coordinator/telemetry/messages.h"

namespace lapidary {

/// How far a job is.
struct Counts {
  int64_t total = 0;   // 0: not known
  int64_t before = 0;  // records of earlier runs of the same job
  int64_t done = 0;    // by this run, failures among them
  int64_t failed = 0;
  int64_t tokens = 0;             // generated
  int64_t orientations_left = 0;  // items of this run whose pictures ask for a turn that was not made
};

/// "1.5 GB", "312 MB", in powers of 1000.
std::string bytes_text(double bytes);
/// "42 s", "3 min 05 s", "2 h 10 min".
std::string duration_text(double seconds);
/// "[=====>    ]", `width` characters.
std::string bar_text(double fraction, int width);
/// "[===>    ] 31/100 images, 4.2 images/s, 130 tokens/s, ETA 16 s, 2 failed", the bar only where there is
/// one.
std::string counts_text(const Counts& counts, double seconds, bool bar);
/// "31 images in 7 s (4.2 images/s, 130 tokens/s); 2 of them failed".
std::string summary_text(const Counts& counts, double seconds);

/// Says on standard error how far something is: one line that is drawn over and over on a terminal, a line
/// every ten seconds elsewhere, nothing when quiet. Never waits for a terminal that takes nothing (Messages).
class Progress {
 public:
  using Clock = std::chrono::steady_clock;
  explicit Progress(bool quiet);
  /// Ends the line if one is being drawn.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void counts(const Counts& counts);
  /// "loading weights [==>  ] 3.1 of 6.0 GB".
  void bytes(const std::string& what, int64_t loaded, int64_t total);
  /// Takes the drawn line away, before something else is written.
  void clear();
  /// A line of its own; also when quiet.
  void say(const std::string& line);
  /// Until what was said is written, or so many seconds have passed.
  void flush(double seconds) { messages_.flush(seconds); }

  /// Time counts from now on: what came before was preparation.
  void restart();
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  bool due(bool last);
  void show(const std::string& text);

  const bool quiet_;
  const bool terminal_;
  std::mutex mutex_;
  Messages messages_;
  bool drawn_ = false;
  Clock::time_point start_;
  Clock::time_point shown_;
};

}  // namespace lapidary
