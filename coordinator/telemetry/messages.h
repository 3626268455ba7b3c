#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace lapidary {

/// Text for whoever reads standard error, without ever waiting for them: a stopped terminal (Ctrl-S, a
/// stalled ssh) would silence the coordinator, and workers would take it for dead. What is not taken waits in
/// memory, up to a bound; what is dropped is counted, and said once somebody reads again. Any thread.
class Messages {
 public:
  explicit Messages(int fd = 2);
  ~Messages();
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;

  /// Waits its turn, and is dropped where too much waits already.
  void say(std::string_view text);
  /// What soon is out of date: dropped where anything waits.
  void show(std::string_view text);
  /// Returns once all is written, or after so many seconds.
  void flush(double seconds);
  /// Texts so far.
  int64_t dropped() const;

 private:
  bool drain();
  int64_t write_some();

  const int fd_;
  int own_ = -1;  // the same terminal or pipe, opened anew: only this description does not wait
  mutable std::mutex mutex_;
  std::string waiting_;
  int64_t dropped_ = 0, told_ = 0;
};

}  // namespace lapidary
