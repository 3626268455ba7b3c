#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "configs/error.h"
#include "sharding/checkpoint/convert.h"
#include "sharding/checkpoint/safetensors.h"

namespace {

using namespace lapidary;

/// Reads every weight to its last element: a tensor that reaches outside the file is a fault of the address
/// sanitizer or of the system.
void read_all(const SafetensorsFile& file) {
  std::vector<float> floats;
  std::vector<uint16_t> halves;
  for (const StoredTensor& tensor : file.tensors()) {
    if (!is_weight_type(tensor.dtype)) continue;
    const int64_t n = tensor.size * 8 / bits_of(tensor.dtype);
    floats.resize(static_cast<size_t>(n) + 1);
    halves.resize(static_cast<size_t>(n) + 1);
    convert(tensor.dtype, tensor.data, n, floats.data());
    convert(tensor.dtype, tensor.data, n, halves.data());
    if (file.find(tensor.name) != &tensor) __builtin_trap();
    file.drop_pages({tensor.data, static_cast<size_t>(tensor.size)});
  }
}

void open_bytes(const std::string& bytes) {
  const int descriptor = memfd_create("fuzz", 0);
  if (write(descriptor, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) __builtin_trap();
  try {
    read_all(SafetensorsFile(cat("/proc/self/fd/", descriptor)));
  } catch (const Error&) {
  }
  close(descriptor);
}

}  // namespace

/// First byte 255: the rest is a file. Otherwise the rest is a header, and so many bytes of data follow it;
/// guessing the header's length would only hold the fuzzer up.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 255) {
    open_bytes(rest);
    return 0;
  }
  const uint64_t length = rest.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  open_bytes(bytes + rest + std::string(data[0], '\x7f'));
  return 0;
}
