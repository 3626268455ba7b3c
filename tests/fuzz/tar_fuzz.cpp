#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "configs/error.h"
#include "coordinator/dataset/tar_reader.h"
#include "worker/images/image_source.h"

namespace {

using namespace lapidary;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

/// The worker reads what the walk has found, or says why not.
void read_back(const std::string& path, const TarEntry& entry) {
  wire::ImageSource source;
  source.set_path(path);
  source.set_in_tar(true);
  source.set_offset(entry.offset);
  try {
    read_source(source, {.max_bytes = 1 << 20});
  } catch (const Error&) {
  }
}

void walk(const std::string& path, size_t size) {
  TarReader tar(path);
  size_t entries = 0;
  while (const auto entry = tar.next()) {
    require(!entry->name.empty() && ++entries <= 1000 + size);
    if (entry->error) continue;
    if (tar.compressed())
      require(!entry->data.empty());
    else
      read_back(path, *entry);
  }
}

}  // namespace

/// Any bytes: a tar, plain or compressed, whose entries can be walked to an end, or an Error.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int descriptor = memfd_create("fuzz", 0);
  require(write(descriptor, data, size) == static_cast<ssize_t>(size));
  try {
    walk("/proc/self/fd/" + std::to_string(descriptor), size);
  } catch (const Error&) {
  }
  close(descriptor);
  return 0;
}
