#include "tests/cuda_emulation/block.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <deque>
#include <thread>

#include "tests/cuda_emulation/kernel_count.h"

#include "tests/cuda_emulation/products.h"

namespace lapidary::emulation {
namespace {

namespace context = boost::context;

constexpr size_t kStack = size_t{64} << 10;
thread_local Block* current_block = nullptr;
std::atomic<int64_t> kernels = 0;

context::pooled_fixedsize_stack& stacks() {
  thread_local context::pooled_fixedsize_stack pool(kStack);
  return pool;
}

size_t page() {
  static const auto size = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

size_t guarded_bytes(size_t bytes) { return rounded(rounded(bytes, 16), page()); }

std::byte* first_page(std::byte* data, size_t bytes) {
  return data + rounded(bytes, 16) - guarded_bytes(bytes);
}

std::byte* allocate_guarded(size_t bytes) {
  const size_t usable = guarded_bytes(bytes);
  void* base = ::mmap(nullptr, usable + page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  auto* first = static_cast<std::byte*>(base);
  ::mprotect(first + usable, page(), PROT_NONE);
  return first + usable - rounded(bytes, 16);
}

void release_guarded(std::byte* data, size_t bytes) {
  ::munmap(first_page(data, bytes), guarded_bytes(bytes) + page());
}

struct Block::Thread {
  enum class State { ready, exchanging, pausing, at_barrier, waiting, ended };
  struct Copy {
    void* to;
    const void* from;
    size_t bytes;
  };

  context::fiber self, scheduler;
  State state = State::ready;
  int waits = 0;            // for the kernel in front
  uint64_t generation = 0;  // of the exchange it waits in
  std::vector<Copy> open;   // copies of no group yet
  std::deque<std::vector<Copy>> groups;
};

Block::Block(Index grid, Index index, int threads, size_t shared_bytes, bool early)
    : grid_(grid),
      index_(index),
      count_(threads),
      early_(early),
      threads_(static_cast<size_t>(threads)),
      warps_((static_cast<size_t>(threads) + 31) / 32),
      products_(std::make_unique<Products>(threads)),
      shared_bytes_(shared_bytes) {
  shared_ = allocate_guarded(shared_bytes);
  std::memset(shared_, 0xff, shared_bytes);
  if (index.x + index.y + index.z == 0) ++kernels;
}

int64_t kernels_run() { return kernels; }

Block::~Block() { release_guarded(shared_, shared_bytes_); }

Block& Block::current() {
  if (current_block == nullptr) throw std::logic_error("device code outside a kernel");
  return *current_block;
}

void Block::run(const std::function<void()>& body) {
  body_ = body;
  make_threads();
  finish();
}

void Block::begin(const std::function<void()>& body) {
  body_ = body;
  make_threads();
  ahead_ = true;
  Block* const outer = std::exchange(current_block, this);
  run_warps(true);  // a barrier in front of the wait holds its threads until finish()
  current_block = outer;
}

void Block::make_threads() {
  for (Thread& thread : threads_)
    thread.self = context::fiber(std::allocator_arg, stacks(), [&](context::fiber&& scheduler) {
      thread.scheduler = std::move(scheduler);
      try {
        body_();
      } catch (const context::detail::forced_unwind&) {
        throw;
      } catch (...) {
        if (!failure_) failure_ = std::current_exception();
      }
      thread.state = Thread::State::ended;
      return std::move(thread.scheduler);
    });
}

bool Block::run_warps(bool forward) {
  bool left = false;
  for (size_t i = 0; i < warps_.size() && !failure_; ++i)
    left = run_warp(forward ? i : warps_.size() - 1 - i) || left;
  return left;
}

void Block::finish() {
  ahead_ = false;
  for (Thread& thread : threads_)
    if (thread.state == Thread::State::waiting) thread.state = Thread::State::ready;
  Block* const outer = std::exchange(current_block, this);
  for (bool forward = true; run_warps(forward) && !failure_; forward = !forward) {
    if (end_pauses()) continue;
    for (Thread& thread : threads_)
      if (thread.state == Thread::State::at_barrier) thread.state = Thread::State::ready;
  }
  for (const Thread& thread : threads_)
    if (!failure_ && thread.waits != (early_ ? 1 : 0))
      failure_ = std::make_exception_ptr(
          std::logic_error("each thread waits once for the kernel in front, in kernels that start early"));
  try {
    if (!failure_) products_->end();
  } catch (...) {
    failure_ = std::current_exception();
  }
  threads_.clear();  // unwinds those that wait for ever
  current_block = outer;
  if (failure_) std::rethrow_exception(failure_);
}

/// Runs the warp's lanes until each has ended, pauses or is at the barrier. Returns whether any is left.
bool Block::run_warp(size_t warp) {
  const size_t first = warp * 32, last = std::min(first + 32, threads_.size());
  for (bool moved = true; moved && !failure_;) {
    moved = false;
    for (size_t t = first; t < last && !failure_; ++t) {
      Thread& thread = threads_[t];
      const bool met =
          thread.state == Thread::State::exchanging && warps_[warp].generation != thread.generation;
      if (thread.state != Thread::State::ready && !met) continue;
      thread.state = Thread::State::ready;
      running_ = static_cast<int>(t);
      thread.self = std::move(thread.self).resume();
      moved = true;
    }
  }
  bool left = false, paused = false;
  for (size_t t = first; t < last; ++t) paused = paused || threads_[t].state == Thread::State::pausing;
  for (size_t t = first; t < last; ++t) {
    if (threads_[t].state == Thread::State::exchanging && !paused && !failure_)
      failure_ = std::make_exception_ptr(std::logic_error(
          std::string("lanes wait in ") + warps_[warp].operation + " for others that do not come"));
    left = left || threads_[t].state == Thread::State::at_barrier;
  }
  return left || paused;
}

void Block::yield() {
  Thread& thread = threads_[static_cast<size_t>(running_)];
  thread.scheduler = std::move(thread.scheduler).resume();
}

void Block::barrier() {
  threads_[static_cast<size_t>(running_)].state = Thread::State::at_barrier;
  yield();
}

void Block::pause() {
  threads_[static_cast<size_t>(running_)].state = Thread::State::pausing;
  yield();
}

bool Block::end_pauses() {
  bool any = false;
  for (Thread& thread : threads_)
    if (thread.state == Thread::State::pausing) thread.state = Thread::State::ready, any = true;
  if (any) std::this_thread::yield();  // who waits leaves the core to those it waits for
  return any;
}

void Block::wait_for_previous() {
  Thread& thread = threads_[static_cast<size_t>(running_)];
  ++thread.waits;
  if (!ahead_) return;
  thread.state = Thread::State::waiting;
  yield();
}

const std::byte* Block::exchange_bytes(const char* operation, uint32_t mask, const void* mine, size_t bytes) {
  const auto lane = static_cast<size_t>(running_) % 32;
  Warp& warp = warps_[static_cast<size_t>(running_) / 32];
  if ((mask >> lane & 1) == 0) throw std::logic_error(std::string(operation) + " by a lane outside its mask");
  if (warp.arrived == 0) {
    warp.operation = operation;
    warp.mask = mask;
  } else if (std::strcmp(warp.operation, operation) != 0 || warp.mask != mask) {
    throw std::logic_error(std::string("a warp's lanes meet in ") + warp.operation + " and in " + operation);
  }
  std::byte* slots = warp.slots[warp.generation % 2].data();
  std::memcpy(slots + lane * bytes, mine, bytes);
  if (++warp.arrived == std::popcount(mask)) {
    warp.arrived = 0;
    ++warp.generation;
  } else {
    Thread& thread = threads_[static_cast<size_t>(running_)];
    thread.generation = warp.generation;
    thread.state = Thread::State::exchanging;
    yield();
  }
  return slots;
}

void Block::copy_async(void* to, const void* from, size_t bytes) {
  threads_[static_cast<size_t>(running_)].open.push_back({to, from, bytes});
}

void Block::commit_copies() {
  Thread& thread = threads_[static_cast<size_t>(running_)];
  thread.groups.push_back(std::move(thread.open));
  thread.open.clear();
}

void Block::wait_copies(size_t left) {
  Thread& thread = threads_[static_cast<size_t>(running_)];
  for (; thread.groups.size() > left; thread.groups.pop_front())
    for (const Thread::Copy& copy : thread.groups.front()) {
      products_->wrote_shared(running_);
      if (copy.from != nullptr)
        std::memcpy(copy.to, copy.from, copy.bytes);
      else
        std::memset(copy.to, 0, copy.bytes);
    }
}

}  // namespace lapidary::emulation
