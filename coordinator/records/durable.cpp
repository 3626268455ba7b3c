#include "coordinator/records/durable.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace fs = std::filesystem;

DurableFile::DurableFile(const fs::path& file, Open how) : path_(file) {
  const int flags = O_RDWR | O_CREAT | O_CLOEXEC | (how == Open::truncated ? O_TRUNC : 0);
  fd_ = ::open(file.c_str(), flags, 0666);
  if (fd_ < 0) give_up(errno);
  struct stat info {};
  if (::fstat(fd_, &info) == 0) size_ = info.st_size;
}

DurableFile::~DurableFile() { close(); }

DurableFile::DurableFile(DurableFile&& other) noexcept { *this = std::move(other); }

DurableFile& DurableFile::operator=(DurableFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

void DurableFile::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void DurableFile::give_up(int error) const {
  fail("cannot write to ", path_.string(), ": ", std::strerror(error));
}

void DurableFile::append(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::pwrite(fd_, bytes.data() + at, bytes.size() - at,
                               static_cast<off_t>(size_ + static_cast<int64_t>(at)));
    if (n > 0) {
      at += static_cast<size_t>(n);
    } else if (n == 0 || errno != EINTR) {
      const int error = n == 0 ? ENOSPC : errno;
      // Where even this fails, the next run cuts the torn tail off.
      [[maybe_unused]] const int kept = ::ftruncate(fd_, static_cast<off_t>(size_));
      give_up(error);
    }
  }
  size_ += static_cast<int64_t>(bytes.size());
}

void DurableFile::truncate(int64_t size) {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) give_up(errno);
  size_ = size;
}

void DurableFile::sync() {
  if (::fsync(fd_) != 0) give_up(errno);
}

void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  // Some file systems cannot sync a folder and say so by EINVAL; they have nothing more to offer.
  const bool synced = fd >= 0 && (::fsync(fd) == 0 || errno == EINVAL);
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!synced) fail("cannot write to ", folder.string(), ": ", std::strerror(error));
}

void rename_durably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    fail("cannot rename ", from.string(), " to ", to.filename().string(), ": ", std::strerror(errno));
  sync_folder(to.parent_path());
}

fs::path temporary_beside(const fs::path& file) {
  return file.parent_path() / ("." + file.filename().string() + ".tmp");
}

namespace {

/// A device, a pipe: a file that were renamed over it would take its place.
void write_into(const fs::path& device, std::string_view bytes) {
  const int fd = ::open(device.c_str(), O_WRONLY | O_CLOEXEC);
  ssize_t written = fd < 0 ? -1 : 0;
  for (; written >= 0 && !bytes.empty(); bytes.remove_prefix(static_cast<size_t>(written))) do
      written = ::write(fd, bytes.data(), bytes.size());
    while (written < 0 && errno == EINTR);
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (written < 0) fail("cannot write to ", device.string(), ": ", std::strerror(error));
}

}  // namespace

void write_durably(const fs::path& named, std::string_view bytes) {
  std::error_code ignored;
  const auto kind = fs::status(named, ignored).type();
  if (kind != fs::file_type::not_found && kind != fs::file_type::regular && kind != fs::file_type::directory)
    return write_into(named, bytes);
  const fs::path file = fs::is_symlink(named, ignored) && fs::exists(named) ? fs::canonical(named) : named;
  const fs::path temporary = temporary_beside(file);
  DurableFile out(temporary, DurableFile::Open::truncated);
  try {
    out.append(bytes);
    out.sync();
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  rename_durably(temporary, file);
}

}  // namespace lapidary
