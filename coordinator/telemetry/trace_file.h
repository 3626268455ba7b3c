#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace lapidary {

/// A trace in the JSON form that Perfetto (ui.perfetto.dev) and chrome://tracing open. Events are written as
/// they come, and the file is whole after every flush: a job that is killed leaves a trace that can be read.
class TraceFile {
 public:
  /// Throws Error where the file cannot be made.
  explicit TraceFile(const std::filesystem::path& path);
  ~TraceFile() { flush(); }

  /// Names have no characters that JSON escapes.
  void name_process(int process, const std::string& name);
  void name_thread(int process, int thread, const std::string& name);
  /// Times in nanoseconds. `number` is shown as `what` beside the event.
  void add(int process, int thread, const char* name, int64_t begin, int64_t end, const char* what,
           uint64_t number);
  void flush();
  /// Throws Error where not all of it could be written.
  void finish();

 private:
  void write(const std::string& event);
  void name(int process, int thread, const char* kind, const std::string& name);

  std::filesystem::path path_;
  std::ofstream out_;
  std::string waiting_;  // events since the last flush
  bool empty_ = true;
};

}  // namespace lapidary
