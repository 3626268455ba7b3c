#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace lapidary::emulation {

/// An operand in shared memory of a warpgroup's product, from its descriptor, as the PTX ISA defines it:
/// where it begins, the distances between its parts, how addresses are swizzled. Elements have two bytes.
class SharedOperand {
 public:
  /// k_major: words of 16 bytes hold eight neighbours along the inner dimension, else along the outer one.
  SharedOperand(uint64_t descriptor, bool k_major);

  /// Address of the element `outer` (row of the left, column of the right operand), `inner` (0…15).
  uint32_t address(uint32_t outer, uint32_t inner) const;

 private:
  uint32_t start_, leading_, stride_;
  uint32_t words_;  // of 16 bytes, in a row of the swizzle's pattern: 1 (no swizzle), 2, 4, 8
  bool k_major_;
};

/// The products of a block's threads that are under way. They end when they are waited for, no earlier; until
/// then their sums are NaNs for the thread, and their operands in shared memory must not change. What a
/// device would leave undefined is a std::logic_error.
class Products {
 public:
  explicit Products(int threads) : threads_(static_cast<size_t>(threads)) {}

  struct Product {
    float* d;
    bool add;
    std::vector<float> sums;
    std::vector<uint32_t> read;  // addresses of this thread's share of the words that are read
    uint64_t words = 0;          // what they held
  };
  /// `d` is the thread's, of sums.size() numbers. operation: the same for all warps of a warpgroup.
  void begin(int thread, const std::string& operation, Product product);
  void fence(int thread);
  void commit(int thread);
  void wait(int thread, size_t left);
  void settle(int thread, const float* d) const;
  /// Copies came to the thread, or it wrote; products see them behind a fence.
  void wrote_shared(int thread);
  void fence_shared(int thread);
  /// When all threads have ended.
  void end() const;

 private:
  struct Held {
    std::vector<float> sums;
    int under_way = 0;
  };
  struct Thread {
    bool fenced = false, wrote = false;
    std::vector<Product> open;
    std::deque<std::vector<Product>> groups;
    std::map<const float*, Held> held;
    std::vector<std::string> log;  // of a warp's first lane
  };

  void log(int thread, const std::string& operation);
  static void finish(Thread& thread, const Product& product);

  std::vector<Thread> threads_;
  int writers_ = 0;  // threads whose writes no fence has followed
};

/// Of a block's shared memory: addresses as kernels see them, and what lies there.
uint32_t shared_address(const void* shared);
uint16_t read_shared(uint32_t address);
uint64_t hash_of_words(const std::vector<uint32_t>& addresses);

}  // namespace lapidary::emulation
