#include "tests/cuda_emulation/host_gemm.h"

#include <cmath>
#include <mutex>
#include <utility>

#include "tests/cuda_emulation/stream.h"

namespace lapidary::cuda {
namespace {

std::mutex filled_mutex;
std::set<int> filled_by_products;

float value(const void* data, DType dtype, int64_t at) {
  switch (dtype) {
    case DType::f32:
      return static_cast<const float*>(data)[at];
    case DType::bf16:
      return from_bf16(static_cast<const uint16_t*>(data)[at]);
    default:
      return from_e4m3(static_cast<const uint8_t*>(data)[at]);
  }
}

float element(const GemmCall& call, int64_t r, int64_t c) {
  float sum = 0;
  for (int64_t k = 0; k < call.x.cols(); ++k)
    sum += value(call.x.data, call.x.dtype, r * call.x.stride + k) *
           value(call.w, call.x.dtype, c * call.w_stride + k);
  if (call.x_scales != nullptr) sum *= call.x_scales[r] * call.w_scales[c];
  if (call.add) sum += call.y.row<float>(r)[c];
  if (call.bias != nullptr) sum += value(call.bias, call.y.dtype, c);
  if (call.gelu) sum = 0.5f * sum * (1 + std::tanh(0.7978845608f * (sum + 0.044715f * sum * sum * sum)));
  return sum;
}

void compute(const GemmCall& call) {
  for (int64_t r = 0; r < call.y.rows(); ++r) {
    for (int64_t c = 0; c < call.out; ++c) {
      const float sum = element(call, r, c);
      if (call.y.dtype == DType::f32) {
        call.y.row<float>(r)[c] = sum;
      } else {
        call.y.row<uint16_t>(r)[c] = to_bf16(sum);
      }
    }
  }
}

}  // namespace

std::vector<Algorithm> HostGemm::candidates(const GemmCall& call, int max_count) {
  ++asked;
  std::vector<Algorithm> all;
  if (call.x_scales != nullptr && !rules.row_scales) return all;
  if (call.x.dtype == DType::e4m3 && (!rules.float8 || call.x.cols() % 16 != 0 || call.out % 16 != 0))
    return all;
  for (uint64_t i = 0; i < kAlgorithms && static_cast<int>(i) < max_count; ++i)
    all.push_back({{i + 1, static_cast<uint64_t>(call.out)}});
  return all;
}

bool HostGemm::run(Stream stream, const GemmCall& call, const Algorithm& algorithm, std::byte* workspace) {
  const uint64_t number = algorithm.words[0];
  if (workspace == nullptr || number < 1 || number > kAlgorithms ||
      algorithm.words[1] != static_cast<uint64_t>(call.out))
    return false;
  if (number == rules.refused && call.y.rows() > rules.refused_above) return false;
  ++runs[number - 1];
  {
    const std::lock_guard lock(filled_mutex);
    filled_by_products.insert(call.multiprocessors);
  }
  emulation::submit(stream, [call] { compute(call); });
  return true;
}

float HostGemm::time(Stream stream, const GemmCall& call, const Algorithm& algorithm, std::byte* workspace) {
  if (!run(stream, call, algorithm, workspace)) return -1;
  synchronize(stream);
  return rules.times[algorithm.words[0] - 1];
}

std::set<int> HostGemm::filled() {
  const std::lock_guard lock(filled_mutex);
  return std::exchange(filled_by_products, {});
}

std::unique_ptr<GemmLibrary> load_gemm_library() { return std::make_unique<HostGemm>(); }

}  // namespace lapidary::cuda
