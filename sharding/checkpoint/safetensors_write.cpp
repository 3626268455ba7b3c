#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <unordered_set>

#include "configs/error.h"
#include "sharding/checkpoint/safetensors.h"
#include "sharding/checkpoint/safetensors_header.h"

namespace lapidary {
namespace {

/// The file that is to be replaced. Throws where it is none: the new one would take a device's place.
std::filesystem::path behind_link(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  if (!fs::exists(path)) return path;
  if (!fs::is_regular_file(path))
    fail(path.string(), ": cannot be written: it is there and is no regular file");
  return fs::is_symlink(path) ? fs::canonical(path) : path;
}

/// A file under a temporary name; gone unless it was published.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& final_path)
      : final_(behind_link(final_path)), path_(cat(final_.string(), ".tmp.", getpid())) {
    descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor_ < 0) give_up("created");
  }
  ~TemporaryFile() {
    if (descriptor_ >= 0) close(descriptor_);
    if (!published_) unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(const void* data, size_t size) {
    const char* at = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = ::write(descriptor_, at, size);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) give_up("written");
      at += written;
      size -= static_cast<size_t>(written);
    }
  }

  void publish() {
    if (fsync(descriptor_) != 0) give_up("written");
    if (rename(path_.c_str(), final_.c_str()) != 0) give_up("renamed");
    published_ = true;
    sync_folder();
  }

 private:
  [[noreturn]] void give_up(const char* what) const {
    fail(final_.string(), ": cannot be ", what, ": ", std::strerror(errno));
  }
  /// The new name must survive a power cut too, and it lives in the folder.
  void sync_folder() const {
    const std::filesystem::path folder = final_.has_parent_path() ? final_.parent_path() : ".";
    const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    fsync(descriptor);
    close(descriptor);
  }

  std::filesystem::path final_;
  std::filesystem::path path_;
  int descriptor_ = -1;
  bool published_ = false;
};

std::string json_string(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x20)
      throw std::logic_error("a tensor's name holds a control character");
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

int64_t bytes_of(const NamedTensor& tensor) {
  const auto count = element_count(tensor.shape);
  if (!count) throw std::logic_error("shape of tensor " + tensor.name + " is too large");
  return *count * bits_of(tensor.dtype) / 8;
}

std::string header_of(const std::vector<NamedTensor>& tensors, const std::vector<size_t>& order) {
  std::string header = "{";
  int64_t offset = 0;
  for (size_t i : order) {
    const NamedTensor& tensor = tensors[i];
    const int64_t end = offset + bytes_of(tensor);
    header +=
        cat(header.size() > 1 ? "," : "", json_string(tensor.name), ":{\"dtype\":\"", name_of(tensor.dtype),
            "\",\"shape\":", to_string(tensor.shape), ",\"data_offsets\":[", offset, ",", end, "]}");
    offset = end;
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');  // so that the data begins at a multiple of 8
  return header;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors) {
  std::unordered_set<std::string> names;
  for (const NamedTensor& tensor : tensors) {
    if (!names.insert(tensor.name).second)
      throw std::logic_error("tensor " + tensor.name + " is written twice");
  }
  // Wide elements first, so that each tensor lies at a multiple of its element's size.
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return bits_of(tensors[a].dtype) > bits_of(tensors[b].dtype); });
  const std::string header = header_of(tensors, order);
  const uint64_t length = header.size();
  TemporaryFile file(path);
  file.write(&length, sizeof length);
  file.write(header.data(), header.size());
  for (size_t i : order) file.write(tensors[i].data, static_cast<size_t>(bytes_of(tensors[i])));
  file.publish();
}

}  // namespace lapidary
