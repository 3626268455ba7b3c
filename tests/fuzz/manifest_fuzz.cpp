#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "configs/error.h"
#include "coordinator/dataset/brace.h"
#include "coordinator/dataset/input_manifest.h"

namespace {

using namespace lapidary;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

/// What the reader gives is a whole item, or says why not, and it comes to an end.
void read_manifest(const std::string& text) {
  const int descriptor = memfd_create("fuzz", 0);
  require(write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  ManifestReader reader("/proc/self/fd/" + std::to_string(descriptor));
  size_t items = 0;
  while (const auto found = reader.next()) {
    require(found->error.has_value() == found->images.empty());
    for (const auto& image : found->images) require(image->path().front() == '/');
    require(++items <= text.size());
  }
  require(!reader.next());
  close(descriptor);
}

void expand(const std::string& pattern) {
  try {
    const auto words = expand_braces(pattern);
    require(!words.empty() && words.size() <= static_cast<size_t>(kMaxBraceWords));
  } catch (const Error&) {
  }
}

}  // namespace

/// A first byte of '{' makes the whole a pattern of braces, any other begins a manifest. Short patterns only:
/// a million long words take long.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == '{' && size < 48)
    expand(text);
  else
    read_manifest(text);
  return 0;
}
