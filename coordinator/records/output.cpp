#include "coordinator/records/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "configs/error.h"
#include "coordinator/records/file_lock.h"

namespace lapidary {

LineOutput::LineOutput(const std::filesystem::path& file, double patience)
    : name_(file.empty() ? "standard output" : file.string()), fd_(STDOUT_FILENO) {
  if (!file.empty()) fd_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("cannot write to ", name_, ": ", std::strerror(errno));
  struct stat info {};
  regular_ = !file.empty() && ::fstat(fd_, &info) == 0 && S_ISREG(info.st_mode);
  if (regular_) lock(patience);
}

LineOutput::~LineOutput() {
  if (fd_ != STDOUT_FILENO && fd_ >= 0) ::close(fd_);
}

/// A file system without locks is no reason to write nothing.
void LineOutput::lock(double patience) {
  if (lock_within(fd_, patience) || errno != EWOULDBLOCK) return;
  ::close(fd_);
  fail(name_, ": another run writes to it, and has not ended within ", patience, " s; ", kOneOfSeveral);
}

void LineOutput::begin() {
  begun_ = true;
  if (regular_ && ::ftruncate(fd_, 0) != 0) fail("cannot write to ", name_, ": ", std::strerror(errno));
}

void LineOutput::write(std::string_view line) {
  if (!begun_) begin();
  std::string bytes(line);
  bytes += '\n';
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::write(fd_, bytes.data() + at, bytes.size() - at);
    if (n > 0) {
      at += static_cast<size_t>(n);
    } else if (n == 0 || errno != EINTR) {
      give_up(n == 0 ? ENOSPC : errno);
    }
  }
  bytes_ += static_cast<int64_t>(bytes.size());
  ++lines_;
}

void LineOutput::give_up(int error) {
  const bool whole = !regular_ || ::ftruncate(fd_, bytes_) == 0;
  fail("cannot write to ", name_, ": ", std::strerror(error), "; ", lines_,
       lines_ == 1 ? " record is" : " records are", whole ? " written" : " written, and part of one more");
}

void LineOutput::finish() {
  if (!begun_) begin();
  if (regular_ && (::fsync(fd_) != 0)) give_up(errno);
}

}  // namespace lapidary
