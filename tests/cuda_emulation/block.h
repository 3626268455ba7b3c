#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace lapidary::emulation {

class Products;

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

/// One block of a kernel on the host: its threads are fibers, one runs at a time, warp by warp. Warps change
/// their order at each barrier, so that what only holds in one order shows. Shared memory begins as NaNs and
/// ends at a page nobody may touch. What a device would leave undefined is a std::logic_error here: lanes
/// that wait for others that do not come, different warp operations that meet; threads that do not wait, as
/// kernels/cuda/runtime/early_start.h wants it, for the kernel in front.
class Block {
 public:
  /// early: a block of a kernel that may start before the kernel in front has ended.
  Block(Index grid, Index index, int threads, size_t shared_bytes, bool early = false);
  ~Block();
  Block(const Block&) = delete;

  /// Runs body() on every thread.
  void run(const std::function<void()>& body);
  /// The same in two parts, of an early block: up to where its threads wait for the kernel in front; the
  /// rest.
  void begin(const std::function<void()>& body);
  void finish();

  /// The block whose thread runs now, on this thread of the host.
  static Block& current();

  Index grid() const { return grid_; }
  Index index() const { return index_; }
  int threads() const { return count_; }
  int thread() const { return running_; }
  std::byte* shared() const { return shared_; }
  size_t shared_bytes() const { return shared_bytes_; }

  /// Returns when all threads that have not ended are here.
  void barrier();
  /// For a thread that waits for another device: the block's other threads go on, and the host's.
  void pause();
  /// Returns when the kernel in front has ended: in finish().
  void wait_for_previous();

  /// Gives `mine` to the lanes of `mask` and returns all 32 slots (those outside the mask are stale), valid
  /// until the warp's next exchange but one. `operation` is the same for all.
  template <class T>
  const T* exchange(const char* operation, uint32_t mask, const T& mine) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kSlotBytes);
    return reinterpret_cast<const T*>(exchange_bytes(operation, mask, &mine, sizeof(T)));
  }

  // Copies behind the thread's back: they happen when they are waited for, no earlier.
  void copy_async(void* to, const void* from, size_t bytes);
  void commit_copies();
  void wait_copies(size_t left);

  /// What its warpgroups multiply.
  Products& products() { return *products_; }

 private:
  static constexpr size_t kSlotBytes = 64;
  struct Thread;
  struct Warp {
    uint64_t generation = 0;
    int arrived = 0;
    const char* operation = nullptr;
    uint32_t mask = 0;
    alignas(16) std::array<std::array<std::byte, 32 * kSlotBytes>, 2> slots;
  };

  const std::byte* exchange_bytes(const char* operation, uint32_t mask, const void* mine, size_t bytes);
  void make_threads();
  bool run_warps(bool forward);
  bool run_warp(size_t warp);
  bool end_pauses();
  void yield();

  Index grid_, index_;
  int count_;
  const bool early_;
  bool ahead_ = false;  // the kernel in front has not ended
  std::function<void()> body_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::unique_ptr<Products> products_;
  size_t shared_bytes_;
  std::byte* shared_ = nullptr;
  int running_ = 0;
  std::exception_ptr failure_;
};

/// Bytes that end where a page begins that nobody may touch: a write or read behind them ends the process.
/// Aligned to 16 bytes.
std::byte* allocate_guarded(size_t bytes);
void release_guarded(std::byte* data, size_t bytes);
/// The page where what allocate_guarded() gave begins, and its whole pages before the guarded one.
std::byte* first_page(std::byte* data, size_t bytes);
size_t guarded_bytes(size_t bytes);

}  // namespace lapidary::emulation
