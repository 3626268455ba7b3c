#include "sharding/checkpoint/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "configs/error.h"
#include "configs/stand_in.h"
#include "sharding/checkpoint/safetensors_header.h"

namespace lapidary {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian numbers");

constexpr int64_t kPrefix = 8;  // the header's length, before the header

std::string reason() { return std::strerror(errno); }

}  // namespace

SafetensorsFile::SafetensorsFile(std::filesystem::path path) : path_(std::move(path)) {
  try {
    open_file();
    read_header();
  } catch (...) {
    close_file();
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() { close_file(); }

void SafetensorsFile::open_file() {
  // Looked at before it is opened: opening a named pipe would wait for a writer.
  struct stat status {};
  if (stat(path_.c_str(), &status) != 0) fail(path_.string(), ": cannot be opened: ", reason());
  if (!S_ISREG(status.st_mode)) fail(path_.string(), ": is not a regular file");
  descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail(path_.string(), ": cannot be opened: ", reason());
  const bool known = fstat(descriptor_, &status) == 0;
  const int64_t size = known ? status.st_size : 0;
  if (size < kPrefix)
    fail(path_.string(), ": is ", size, " bytes long; a safetensors file has at least ", kPrefix);
  void* data = mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE, descriptor_, 0);
  if (data == MAP_FAILED) fail(path_.string(), ": cannot be mapped: ", reason());
  map_ = {static_cast<const std::byte*>(data), static_cast<size_t>(size)};
}

void SafetensorsFile::close_file() {
  if (!map_.empty()) munmap(const_cast<std::byte*>(map_.data()), map_.size());
  if (descriptor_ >= 0) close(descriptor_);
}

void SafetensorsFile::read(const std::byte* from, int64_t size, std::byte* to) const {
  for (int64_t at = from - map_.data(), end = at + size; at < end;) {
    const ssize_t got = pread(descriptor_, to, static_cast<size_t>(end - at), at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path_.string(), ": cannot be read: ", reason());
    if (got == 0) {
      struct stat status {};
      fstat(descriptor_, &status);
      fail(path_.string(), ": is ", status.st_size, " bytes long now; its tensors reach to ", map_.size(),
           " (was it cut while it was read?)");
    }
    at += got;
    to += got;
  }
}

void SafetensorsFile::read_header() {
  const std::string file = path_.string();
  uint64_t length = 0;
  std::memcpy(&length, map_.data(), kPrefix);
  const uint64_t rest = map_.size() - kPrefix;
  if (length > std::min<uint64_t>(rest, kMaxHeaderBytes))
    refuse_stand_in({reinterpret_cast<const char*>(map_.data()), std::min(map_.size(), kStandInBytes)}, file);
  if (length > rest) {
    fail(file, ": the header claims ", length, " bytes, but only ", rest, " follow (is it cut short?)");
  }
  if (length > static_cast<uint64_t>(kMaxHeaderBytes)) {
    fail(file, ": the header claims ", length, " bytes; at most ", kMaxHeaderBytes, " are read");
  }
  const char* text = reinterpret_cast<const char*>(map_.data()) + kPrefix;
  const std::byte* data = map_.data() + kPrefix + length;
  auto header = read_safetensors_header({text, length}, static_cast<int64_t>(rest - length), file);
  tensors_.reserve(header.size());
  for (HeaderTensor& tensor : header) {
    index_.emplace(tensor.name, tensors_.size());
    tensors_.push_back({std::move(tensor.name), tensor.dtype, std::move(tensor.shape), data + tensor.begin,
                        tensor.end - tensor.begin});
  }
}

const StoredTensor* SafetensorsFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

void SafetensorsFile::drop_pages(std::span<const std::byte> bytes) const {
  if (bytes.empty()) return;
  // Whole pages around the bytes: what else lies on them is only read again if it is still needed.
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data()) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size());
  // A refusal costs memory, not correctness.
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace lapidary
