#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace lapidary {

/// The lines of a file, or of standard input, each as soon as it is there. What is held is one line.
class LineReader {
 public:
  /// Throws where the file cannot be opened or is no regular file. `path` "-" is standard input, whose next
  /// line may be long in coming: once `cancelled`, if given, is true there is none.
  explicit LineReader(const std::string& path, const std::atomic<bool>* cancelled = nullptr);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// The next line that is not blank, without its end, valid until the next call. False at the end. Throws
  /// where a line is longer than 16 MiB, which is then passed over, where the file is UTF-16 or compressed,
  /// and where it cannot be read: there is no line after that.
  bool next(std::string_view& line);
  /// Of the line given last, from 1.
  int64_t number() const { return number_; }

 private:
  bool next_any(std::string_view& line);
  bool wait_for_more() const;
  void read_more();
  void check_first(std::string_view& line);
  [[noreturn]] void pass_over();

  const std::string path_;
  const std::atomic<bool>* const cancelled_;
  int fd_;
  std::string buffer_;
  size_t begin_ = 0;  // of what was not given yet
  bool ended_ = false;
  int64_t number_ = 0;
};

}  // namespace lapidary
