#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace lapidary {

/// Lines for a file or for standard output. Each line is handed to the system whole before `write` returns,
/// so it stays whatever happens to this process afterwards. Where a line does not fit any more (disk full),
/// the part that did is taken back, so that a file always ends with a whole line. A file is locked: two
/// programs that write to one would mix their lines.
///
/// Every method throws a sentence that names the file and the system's reason.
class LineOutput {
 public:
  /// Empty: standard output. The file is opened (and made) at once, so that a bad path ends the command
  /// before any work; what it held is kept until the first line comes. `patience`: seconds in which another
  /// program that writes to it has to end.
  explicit LineOutput(const std::filesystem::path& file = {}, double patience = 5);
  ~LineOutput();
  LineOutput(const LineOutput&) = delete;
  LineOutput& operator=(const LineOutput&) = delete;

  /// `line` without its end.
  void write(std::string_view line);
  /// Waits for the disk; the place where some file systems first admit that they are full.
  void finish();

  int64_t lines() const { return lines_; }

 private:
  void lock(double patience);
  void begin();
  [[noreturn]] void give_up(int error);

  std::string name_;
  int fd_;
  bool regular_ = false;  // a file that has a length
  bool begun_ = false;
  int64_t lines_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace lapidary
