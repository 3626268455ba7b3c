#include "coordinator/serve/local_media.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "coordinator/serve/openai/api_error.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

/// Where the open file really is, whatever links led to it.
fs::path place_of(const Descriptor& file) {
  std::error_code error;
  return fs::read_symlink("/proc/self/fd/" + std::to_string(file.get()), error);
}

bool is_below(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

}  // namespace

void read_local_image(ImageReference& reference, const fs::path& folder, size_t max_bytes) {
  const auto no_such = [&] {
    refuse(reference.param, "invalid_image_url", "there is no such file below --allowed-local-media-path");
  };
  if (folder.empty())
    refuse(reference.param, "invalid_image_url", "no file is read here (--allowed-local-media-path)");
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  if (error) no_such();
  // Opened first, and then looked at where it is: nothing can be exchanged between the look and the reading.
  const Descriptor file(::open(reference.value.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (file.get() < 0 || !is_below(place_of(file), root) || ::fstat(file.get(), &status) != 0 ||
      !S_ISREG(status.st_mode))
    no_such();
  if (static_cast<size_t>(status.st_size) > max_bytes)
    refuse(reference.param, "image_too_large", "the file has ", status.st_size, " bytes, an image at most ",
           max_bytes);
  std::string bytes(static_cast<size_t>(status.st_size), '\0');
  for (size_t have = 0; have < bytes.size();) {
    const ssize_t got = ::read(file.get(), bytes.data() + have, bytes.size() - have);
    if (got <= 0) no_such();
    have += static_cast<size_t>(got);
  }
  reference.kind = ImageReference::Kind::bytes;
  reference.value = std::move(bytes);
}

}  // namespace lapidary
