#include "kernels/cpu/probe.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

namespace lapidary::cpu {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

constexpr size_t kLine = 64;
constexpr size_t kStreams = 4;                 // read side by side, as panels are
constexpr size_t kStream = 64 * 1024;          // bytes of each before the next four
constexpr size_t kBlock = kStreams * kStream;  // read as a whole

/// One block; a word of each line brings the line. Of the ways tried, reading a few streams and asking for
/// each a little ahead came fastest.
uint64_t read_block(const std::byte* data) {
  constexpr size_t kAhead = 1024;
  uint64_t mixed = 0;
  for (size_t at = 0; at < kStream; at += kLine) {
    for (size_t stream = 0; stream < kStreams; ++stream) {
      const std::byte* from = data + stream * kStream + at;
      __builtin_prefetch(from + kAhead);
      uint64_t word;
      std::memcpy(&word, from, sizeof word);
      mixed ^= word;
    }
  }
  return mixed;
}

}  // namespace

double peak_tile_rate(ThreadPool& threads, const Isa& isa, DType dtype) {
  const auto burn = dtype == DType::bf16 ? isa.burn_bf16 : isa.burn_f32;
  constexpr int64_t kRounds = 1000;  // some microseconds between looks at the clock
  constexpr double kSeconds = 0.005;
  constexpr int kRuns = 5;
  std::array<double, kRuns> rates{};
  std::vector<double> of_thread(static_cast<size_t>(threads.size()));
  for (double& rate : rates) {
    threads.run([&](int thread) {
      isa.enter();
      double flop = 0, seconds = 0;
      for (const auto start = std::chrono::steady_clock::now(); seconds < kSeconds;) {
        flop += static_cast<double>(burn(kRounds));
        seconds = seconds_since(start);
      }
      isa.leave();
      of_thread[static_cast<size_t>(thread)] = flop / seconds;
    });
    rate = std::accumulate(of_thread.begin(), of_thread.end(), 0.0);
  }
  std::sort(rates.begin(), rates.end());
  return rates[kRuns / 2];
}

double peak_tile_rate(const Isa& isa, DType dtype) {
  ThreadPool alone(1);
  return peak_tile_rate(alone, isa, dtype);
}

double read_bandwidth(ThreadPool& threads, const void* data, size_t bytes) {
  std::atomic<uint64_t> sink{0};  // so that the reads are not left out
  const size_t blocks = bytes / kBlock;
  const auto start = std::chrono::steady_clock::now();
  threads.parallel_for(static_cast<int64_t>(blocks), 1, [&](int64_t begin, int64_t end) {
    uint64_t mixed = 0;
    for (int64_t b = begin; b < end; ++b) {
      mixed ^= read_block(static_cast<const std::byte*>(data) + static_cast<size_t>(b) * kBlock);
    }
    sink ^= mixed;
  });
  return static_cast<double>(blocks * kBlock) / seconds_since(start);
}

}  // namespace lapidary::cpu
