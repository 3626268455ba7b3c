#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "sharding/checkpoint/stored_type.h"

namespace lapidary {

/// A tensor inside a mapped file. The bytes are little-endian, row-major, and may begin at any address.
struct StoredTensor {
  std::string name;
  StoredType dtype;
  Shape shape;
  const std::byte* data;
  int64_t size;  // bytes
};

/// A safetensors file, mapped read-only; its header has been checked whole, so no tensor reaches outside the
/// file or into another. Throws one sentence naming the file, the tensor and both numbers.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(std::filesystem::path path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// In the order of their bytes.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  /// Null where the file has no such tensor.
  const StoredTensor* find(const std::string& name) const;

  /// `size` bytes of the file at `from`, which lies in it as a tensor's data does, to `to`: by the system's
  /// read, which fills memory of a device's without mapping a page. Throws a sentence where the file has
  /// become shorter or cannot be read.
  void read(const std::byte* from, int64_t size, std::byte* to) const;

  /// Gives the memory behind these bytes back to the system; they are read from the file again when touched.
  /// Without it a loaded checkpoint would count twice, once mapped and once packed.
  void drop_pages(std::span<const std::byte> bytes) const;

 private:
  void open_file();
  void close_file();
  void read_header();

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::span<const std::byte> map_;
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

/// What write_safetensors writes: a view of little-endian, row-major data.
struct NamedTensor {
  std::string name;
  StoredType dtype;
  Shape shape;
  const void* data;
};

/// Writes a safetensors file that is there whole or not at all: into a temporary file beside it, to the disk,
/// then renamed. Throws a sentence naming the file and the system's reason (a full disk among them).
void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors);

}  // namespace lapidary
