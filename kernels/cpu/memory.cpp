#include "kernels/cpu/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace lapidary::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kAlignment = 64;

size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

}  // namespace

Buffer allocate(size_t bytes) {
  if (bytes < kHugePage) {
    const size_t size = round_up(bytes < kAlignment ? kAlignment : bytes, kAlignment);
    void* memory = std::aligned_alloc(kAlignment, size);
    if (memory == nullptr) throw std::bad_alloc();
    std::memset(memory, 0, size);
    return {static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); }};
  }
  if (bytes > ~size_t{0} - 2 * kHugePage) throw std::bad_alloc();
  // One huge page more than needed, so that one starts on a boundary; what is over goes back.
  const size_t size = round_up(bytes, kHugePage);
  void* mapped = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  std::byte* begin = static_cast<std::byte*>(mapped);
  std::byte* memory = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<size_t>(begin), kHugePage));
  const size_t before = static_cast<size_t>(memory - begin);
  if (before > 0) munmap(begin, before);
  if (before < kHugePage) munmap(memory + size, kHugePage - before);
  madvise(memory, size, MADV_HUGEPAGE);  // a wish: without it all works, slower
  return {memory, [size](std::byte* p) { munmap(p, size); }};
}

}  // namespace lapidary::cpu
