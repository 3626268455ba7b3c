#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "configs/error.h"
#include "worker/masks/npy.h"
#include "worker/masks/npz.h"

namespace {

using namespace lapidary;

/// A file in memory, written anew for each input.
int scratch() {
  static const int fd = ::memfd_create("npz", 0);
  return fd;
}

}  // namespace

/// A file of arrays: those that are wanted, of their shapes, or an Error; and the header of one array.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const NpyHeader header = parse_npy_header({data, size});
    if (header.bytes > size) std::abort();
  } catch (const Error&) {
  }
  const std::string file = "/proc/self/fd/" + std::to_string(scratch());
  if (::ftruncate(scratch(), 0) != 0 || ::pwrite(scratch(), data, size, 0) != static_cast<ssize_t>(size))
    return 0;
  try {
    const FloatArrays arrays = read_npz(file, {{"a", {2, 3}}, {"b", {2}}});
    if (arrays.at("a").size() != 6 || arrays.at("b").size() != 2) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
