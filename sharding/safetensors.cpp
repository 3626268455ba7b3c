#include "sharding/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>

#include "configs/error.h"
#include "sharding/safetensors_header.h"

namespace lapidary {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian numbers");

constexpr int64_t kPrefix = 8;  // the header's length, before the header

std::string reason() { return std::strerror(errno); }

std::span<const std::byte> map_file(const std::filesystem::path& path) {
  // Looked at before it is opened: opening a named pipe would wait for a writer.
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) fail(path.string(), ": cannot be opened: ", reason());
  if (!S_ISREG(status.st_mode)) fail(path.string(), ": is not a regular file");
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail(path.string(), ": cannot be opened: ", reason());
  const bool known = fstat(descriptor, &status) == 0;
  const int64_t size = known ? status.st_size : 0;
  if (size < kPrefix) {
    close(descriptor);
    fail(path.string(), ": is ", size, " bytes long; a safetensors file has at least ", kPrefix);
  }
  void* data = mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE, descriptor, 0);
  const std::string why = data == MAP_FAILED ? reason() : "";
  close(descriptor);
  if (data == MAP_FAILED) fail(path.string(), ": cannot be mapped: ", why);
  return {static_cast<const std::byte*>(data), static_cast<size_t>(size)};
}

}  // namespace

SafetensorsFile::SafetensorsFile(std::filesystem::path path) : path_(std::move(path)), map_(map_file(path_)) {
  try {
    read_header();
  } catch (...) {
    munmap(const_cast<std::byte*>(map_.data()), map_.size());
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() { munmap(const_cast<std::byte*>(map_.data()), map_.size()); }

void SafetensorsFile::read_header() {
  const std::string file = path_.string();
  uint64_t length = 0;
  std::memcpy(&length, map_.data(), kPrefix);
  const uint64_t rest = map_.size() - kPrefix;
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
