#include "worker/images/image_source.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace {

/// An open file.
class File {
 public:
  explicit File(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) fail(errno == ENOENT ? "no such file" : cat("cannot be opened: ", std::strerror(errno)));
    struct stat status {};
    const bool known = fstat(fd_, &status) == 0;
    size_ = status.st_size;
    if (known && S_ISREG(status.st_mode)) return;
    close(fd_);
    fail(S_ISDIR(status.st_mode) ? "a folder, not an image" : "not a regular file");
  }
  ~File() { close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int fd() const { return fd_; }
  int64_t size() const { return size_; }

 private:
  int fd_;
  int64_t size_ = 0;
};

void check_size(int64_t size, const ReadLimits& limits) {
  if (size > limits.max_bytes)
    fail("has ", size, " bytes, more than the limit of ", limits.max_bytes, " for an image file");
  limits.before_reading(size);
}

/// Fills `bytes` from `read_some(into, size)`, which returns how many came, 0 at the end.
template <class ReadSome>
void read_all(std::vector<uint8_t>& bytes, const ReadSome& read_some) {
  for (size_t have = 0; have < bytes.size();) {
    const ssize_t got = read_some(bytes.data() + have, bytes.size() - have);
    if (got <= 0) fail("ended after ", have, " of ", bytes.size(), " bytes");
    have += static_cast<size_t>(got);
  }
}

std::vector<uint8_t> read_file(const std::string& path, const ReadLimits& limits) {
  const File file(path);
  check_size(file.size(), limits);
  std::vector<uint8_t> bytes(static_cast<size_t>(file.size()));
  read_all(bytes, [&](uint8_t* into, size_t size) {
    ssize_t got;
    do {
      got = read(file.fd(), into, size);
    } while (got < 0 && errno == EINTR);
    if (got < 0) fail("cannot be read: ", std::strerror(errno));
    return got;
  });
  return bytes;
}

using Archive = std::unique_ptr<archive, decltype(&archive_read_free)>;

/// As the coordinator has read it: the bytes of the tar, whatever character set they are in.
std::string entry_name(archive_entry* entry) {
  const char* text = archive_entry_pathname_utf8(entry);
  if (text == nullptr) text = archive_entry_pathname(entry);
  return text != nullptr ? text : "";
}

/// A tar that was replaced since the job has read its headers would give another picture under this name.
void check_entry(const wire::ImageSource& source, archive_entry* entry) {
  if (source.entry().empty()) return;
  const std::string name = entry_name(entry);
  if (name != source.entry())
    fail("the tar was changed while it was read: here is ", name, ", no longer ", source.entry());
  if (archive_entry_size(entry) != source.entry_bytes())
    fail("the tar was changed while it was read: ", name, " has ", archive_entry_size(entry),
         " bytes, no longer ", source.entry_bytes());
}

std::vector<uint8_t> read_entry(archive* tar, archive_entry* entry, const ReadLimits& limits) {
  if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != nullptr)
    fail("not a regular file");
  check_size(archive_entry_size(entry), limits);
  std::vector<uint8_t> bytes(static_cast<size_t>(archive_entry_size(entry)));
  read_all(bytes, [&](uint8_t* into, size_t size) {
    const ssize_t got = archive_read_data(tar, into, size);
    if (got < 0) fail("cannot be read: ", archive_error_string(tar));
    return got;
  });
  return bytes;
}

std::vector<uint8_t> read_tar(const wire::ImageSource& source, const ReadLimits& limits) {
  const File file(source.path());
  if (source.offset() < 0 || source.offset() >= file.size())
    fail("the file has only ", file.size(), " bytes");
  // Much smaller reads than the library's habit of a megabyte and more: one entry is wanted, not what follows
  // it.
  constexpr size_t kBlock = 64 << 10;
  const Archive tar(archive_read_new(), archive_read_free);
  archive_read_support_format_tar(tar.get());
  archive_entry* entry = nullptr;
  if (lseek(file.fd(), source.offset(), SEEK_SET) < 0) fail("cannot be read: ", std::strerror(errno));
  int result = archive_read_open_fd(tar.get(), file.fd(), kBlock);
  if (result == ARCHIVE_OK) result = archive_read_next_header(tar.get(), &entry);
  if (result == ARCHIVE_EOF) fail("no entry begins here");
  // A warning is about the name's characters, or a time out of range: nothing that concerns its bytes.
  if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
    fail("no entry of a tar file can be read here: ", archive_error_string(tar.get()));
  check_entry(source, entry);
  try {
    return read_entry(tar.get(), entry, limits);
  } catch (const Error& error) {
    const std::string name = entry_name(entry);
    fail(name.empty() ? "(a nameless entry)" : name, ": ", error.what());
  }
}

}  // namespace

std::vector<uint8_t> read_source(const wire::ImageSource& source, const ReadLimits& limits) {
  try {
    if (const auto given = given_bytes(source); !given.empty()) {
      check_size(static_cast<int64_t>(given.size()), limits);
      return {given.begin(), given.end()};
    }
    return source.in_tar() ? read_tar(source, limits) : read_file(source.path(), limits);
  } catch (const Error& error) {
    fail(name_of(source), ": ", error.what());
  }
}

std::span<const uint8_t> given_bytes(const wire::ImageSource& source) {
  return {reinterpret_cast<const uint8_t*>(source.data().data()), source.data().size()};
}

std::string name_of(const wire::ImageSource& source) {
  if (source.in_tar()) return cat(source.path(), " (entry at byte ", source.offset(), ")");
  return source.path().empty() ? "image" : source.path();
}

ContentHash content_hash(std::span<const uint8_t> bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_blake2b512(), nullptr) != 1)
    fail("BLAKE2b cannot be computed by this machine's OpenSSL");
  ContentHash hash{};
  std::memcpy(hash.data(), digest.data(), sizeof hash);
  return hash;
}

}  // namespace lapidary
