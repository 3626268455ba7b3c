#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/matmul/blas.h"
#include "kernels/cuda/matmul/pack.h"
#include "kernels/cuda/probe/best_seconds.h"
#include "kernels/cuda/probe/probe.h"
#include "kernels/device_probe.h"

namespace lapidary {
namespace cuda {
namespace {

uint32_t fetch(Stream stream, const uint32_t* from) {
  uint32_t value = 0;
  copy(stream, &value, from, sizeof value);
  synchronize(stream);
  return value;
}

/// Reads and copies a beginning of the memory and compares with what the host computes.
void check_kernels(Stream stream, uint32_t* memory, uint32_t* other, uint32_t* sum, int64_t words,
                   int processors) {
  const int64_t some = std::min<int64_t>(words, int64_t{1} << 22);
  uint32_t want = 0;
  for (int64_t i = 0; i < some; ++i) want ^= probe_word(static_cast<uint32_t>(i));
  zero(stream, sum, sizeof *sum);
  read_all(stream, sum, memory, some, processors);
  if (const uint32_t got = fetch(stream, sum); got != want)
    throw std::runtime_error("the check failed: the reading kernel sums " + std::to_string(got) + ", not " +
                             std::to_string(want));
  copy_all(stream, other, memory, some, processors);
  std::vector<uint32_t> copied(static_cast<size_t>(some));
  copy(stream, copied.data(), other, copied.size() * sizeof(uint32_t));
  synchronize(stream);
  for (int64_t i = 0; i < some; ++i)
    if (copied[static_cast<size_t>(i)] != probe_word(static_cast<uint32_t>(i)))
      throw std::runtime_error("the check failed: the copying kernel changes word " + std::to_string(i));
}

/// Seconds from one tiny kernel of a graph to the next, which waits for what it wrote.
double graph_boundary(bool early_start) {
  constexpr int kNodes = 256, kBursts = 1 + 2 * kTries;  // of best_seconds()
  const int processors = device_info().multiprocessors;
  Stream stream = make_stream(false);
  stream.early_start = early_start;
  const auto size = static_cast<size_t>(processors * kCountedEach);
  const Buffer memory = cuda::allocate(size * sizeof(uint32_t));
  auto* words = reinterpret_cast<uint32_t*>(memory.get());
  begin_capture(stream);
  for (int i = 0; i < kNodes; ++i) count(stream, words, processors);
  const Graph graph = end_capture(stream);
  const double seconds = best_seconds(stream, 2, [&] { run_graph(graph, stream); }) / kNodes;
  std::vector<uint32_t> seen(size);
  copy(stream, seen.data(), words, size * sizeof(uint32_t));
  synchronize(stream);
  destroy(graph);
  destroy(stream);
  for (const uint32_t value : seen)
    if (value != kNodes * kBursts)
      throw std::runtime_error("the check failed: kernels of a graph did not wait for each other");
  return seconds;
}

}  // namespace
}  // namespace cuda

DeviceRates measure_device(Backend& backend, size_t bytes) {
  using namespace cuda;
  if (backend.on_host()) throw std::logic_error("a backend of host memory has no device to measure");
  const Stream stream{backend.native_stream()};  // which also makes its device the thread's
  const int processors = device_info().multiprocessors;
  const size_t half = std::max<size_t>(bytes / 2 / 64 * 64, 64);
  const auto words = static_cast<int64_t>(half / sizeof(uint32_t));
  const Buffer a = cuda::allocate(half), b = cuda::allocate(half), sum = cuda::allocate(sizeof(uint32_t));
  auto* first = reinterpret_cast<uint32_t*>(a.get());
  auto* second = reinterpret_cast<uint32_t*>(b.get());
  auto* total = reinterpret_cast<uint32_t*>(sum.get());
  fill_with_hashes(stream, first, words);
  fill_with_hashes(stream, second, words);
  check_kernels(stream, first, second, total, words, processors);

  DeviceRates rates;
  const auto size = static_cast<double>(half);
  rates.read = 2 * size / best_seconds(stream, 4, [&] {
                 read_all(stream, total, first, words, processors);
                 read_all(stream, total, second, words, processors);
               });
  const double ours = best_seconds(stream, 4, [&] { copy_all(stream, second, first, words, processors); });
  const double driver = best_seconds(stream, 4, [&] { copy(stream, second, first, half); });
  rates.copy = 2 * size / std::min(ours, driver);

  const size_t moved = std::min<size_t>(half, size_t{256} << 20);
  const Buffer pinned = allocate_pinned(moved);
  std::memset(pinned.get(), 0x5a, moved);
  const auto over_bus = static_cast<double>(moved);
  rates.upload = over_bus / best_seconds(stream, 4, [&] { copy(stream, second, pinned.get(), moved); });
  rates.download = over_bus / best_seconds(stream, 4, [&] { copy(stream, pinned.get(), second, moved); });
  rates.boundary = graph_boundary(false);
  if (device_info().major >= 9) rates.dependent_boundary = graph_boundary(true);
  return rates;
}

double library_product_seconds(Backend& backend, int64_t rows, int64_t out, int64_t in) {
  using namespace cuda;
  if (backend.on_host()) throw std::logic_error("a backend of host memory has no library of a device");
  const Stream stream{backend.native_stream()};
  Matrix w = cuda::make_matrix(out, in, DType::bf16, SumPlan::whole(in), {.deterministic = false});
  // Random numbers in [-0.5, 0.5): a chip that multiplies zeros runs faster. A block of rows serves for all.
  const int64_t block = std::min<int64_t>(std::max(out, rows), 1024);
  std::vector<float> numbers(static_cast<size_t>(block * in));
  for (size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = static_cast<float>(probe_word(static_cast<uint32_t>(i)) >> 8) * 0x1p-24f - 0.5f;
  PackBuffers buffers(1);
  const auto fill = [&](Matrix& matrix) {
    for (int64_t row = 0; row < matrix.out; row += block)
      pack(buffers, matrix, row, view(numbers.data(), DType::f32, std::min(block, matrix.out - row), in));
  };
  fill(w);
  Matrix x = cuda::make_matrix(rows, in, DType::bf16, SumPlan::whole(in), {.deterministic = false});
  fill(x);
  const Buffer y_data = cuda::allocate(static_cast<size_t>(rows * out) * sizeof(uint16_t));
  Tensor operand = view(x.data.get(), DType::bf16, rows, in);
  operand.stride = row_bytes(x) / 2;
  const Tensor y = view(y_data.get(), DType::bf16, rows, out);
  Blas blas;
  blas.tune(stream, y, operand, w);
  // About 20 ms a burst at half a petaflop a second.
  const double operations =
      2.0 * static_cast<double>(rows) * static_cast<double>(out) * static_cast<double>(in);
  const int burst = static_cast<int>(std::clamp(1e13 / operations, 3.0, 200.0));
  return best_seconds(stream, burst, [&] { blas.gemm(stream, y, operand, w); });
}

}  // namespace lapidary
