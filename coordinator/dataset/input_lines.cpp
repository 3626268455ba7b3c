#include "coordinator/dataset/input_lines.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr size_t kLongestLine = size_t{16} << 20;
constexpr size_t kRead = size_t{256} << 10;
constexpr int kLookUpEvery = 50;  // milliseconds, from waiting for a pipe

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == line.npos; }

int open_file(const std::string& path) {
  if (path == "-") return STDIN_FILENO;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe without a writer would hang
  if (fd < 0) fail(path, ": cannot be opened: ", std::strerror(errno));
  struct stat status {};
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) return fd;
  close(fd);
  fail(path, ": not a regular file");
}

}  // namespace

LineReader::LineReader(const std::string& path, const std::atomic<bool>* cancelled)
    : path_(path), cancelled_(cancelled), fd_(open_file(path)) {}

LineReader::~LineReader() {
  if (fd_ != STDIN_FILENO) close(fd_);
}

bool LineReader::next(std::string_view& line) {
  while (next_any(line))
    if (!is_blank(line)) return true;
  return false;
}

bool LineReader::next_any(std::string_view& line) {
  for (size_t searched = begin_;;) {
    const size_t end = buffer_.find('\n', searched);
    if (end == buffer_.npos && !ended_) {
      searched = buffer_.size() - begin_;
      if (searched > kLongestLine) pass_over();
      read_more();  // what was not given yet moves to the front
      continue;
    }
    if (end == buffer_.npos && begin_ == buffer_.size()) return false;
    line = std::string_view(buffer_).substr(begin_, end == buffer_.npos ? end : end - begin_);
    begin_ = end == buffer_.npos ? buffer_.size() : end + 1;
    if (++number_ == 1) check_first(line);
    return true;
  }
}

/// Windows' editors put a byte-order mark before the first line.
void LineReader::check_first(std::string_view& line) {
  if (line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
  const char* other = nullptr;
  if (line.starts_with("\xff\xfe") || line.starts_with("\xfe\xff")) other = "UTF-16; it must be UTF-8";
  if (line.starts_with("\x1f\x8b")) other = "compressed by gzip; unpack it first";
  if (line.starts_with("\x28\xb5\x2f\xfd")) other = "compressed by zstd; unpack it first";
  if (line.starts_with("BZh")) other = "compressed by bzip2; unpack it first";
  if (line.starts_with("\xfd"
                       "7zXZ"))
    other = "compressed by xz; unpack it first";
  if (line.starts_with("PAR1")) other = "a Parquet file; a manifest is JSON Lines";
  if (other == nullptr) return;
  begin_ = buffer_.size();
  ended_ = true;
  fail(path_, ", line 1: the file is ", other);
}

void LineReader::pass_over() {
  ++number_;
  size_t end;
  do {
    begin_ = buffer_.size();
    read_more();
    end = buffer_.find('\n');
  } while (end == buffer_.npos && !ended_);
  begin_ = end == buffer_.npos ? buffer_.size() : end + 1;
  fail(path_, ", line ", number_, ": longer than ", kLongestLine, " bytes");
}

/// Until there is something to read, be it the end or an error; false: it is not wanted any more.
bool LineReader::wait_for_more() const {
  if (fd_ != STDIN_FILENO || cancelled_ == nullptr) return true;
  while (!*cancelled_) {
    pollfd input{fd_, POLLIN, 0};
    if (poll(&input, 1, kLookUpEvery) > 0) return true;
  }
  return false;
}

void LineReader::read_more() {
  buffer_.erase(0, begin_);
  begin_ = 0;
  if (!wait_for_more()) {
    buffer_.clear();
    ended_ = true;
    return;
  }
  const size_t have = buffer_.size();
  buffer_.resize(have + kRead);
  ssize_t got;
  do {
    got = read(fd_, buffer_.data() + have, kRead);
  } while (got < 0 && errno == EINTR);
  const int error = errno;
  buffer_.resize(have + static_cast<size_t>(got > 0 ? got : 0));
  if (got > 0) return;
  ended_ = true;
  if (got == 0) return;
  buffer_.clear();  // half a line is none
  fail(path_, ": cannot be read beyond line ", number_, ": ", std::strerror(error));
}

}  // namespace lapidary
