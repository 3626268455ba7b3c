#include "kernels/cuda/matmul/blas.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "kernels/cuda/matmul/matmul_kernels.h"
#include "kernels/cuda/matmul/pack.h"

namespace lapidary::cuda {
namespace {

constexpr int kCandidates = 8, kRepeats = 5;

void require(bool holds, const char* rule) {
  if (!holds) throw std::logic_error(std::string("gemm: ") + rule);
}

std::string shape_of(const GemmCall& call) {
  return std::to_string(call.y.rows()) + " rows with a weight of " + std::to_string(call.out) + " x " +
         std::to_string(call.x.cols());
}

}  // namespace

void check_gemm(Tensor y, Tensor x, const Matrix& w, const Epilogue& end) {
  require(w.dtype == x.dtype && (x.dtype == DType::bf16 || x.dtype == DType::e4m3),
          "x and the weight are bfloat16, or float8");
  require(y.dtype == DType::f32 || y.dtype == DType::bf16, "y is float32 or bfloat16");
  require(w.sums.outputs() == 1, "the weight has one output");
  require(x.cols() == w.in && y.cols() == w.out && y.rows() == x.rows(), "shapes do not fit each other");
  require(reinterpret_cast<uintptr_t>(x.data) % 16 == 0 &&
              static_cast<size_t>(x.stride) * size_of(x.dtype) % 16 == 0,
          "rows of x begin at multiples of 16 bytes");
  require(!end.add || (y.dtype == DType::f32 && !end.gelu), "only a float32 y is added to, without gelu");
  require(end.bias == nullptr || y.dtype == DType::f32 || w.out <= Blas::kMaxBias,
          "the bias is longer than the room for it");
}

Blas::Blas(const std::filesystem::path& cache, int multiprocessors)
    : Blas(load_gemm_library(), cache, device_info().name, multiprocessors) {}

Blas::Blas(std::unique_ptr<GemmLibrary> library, const std::filesystem::path& cache,
           const std::string& device, int multiprocessors)
    : library_(std::move(library)),
      multiprocessors_(multiprocessors),
      choices_(cache, device, library_->version()),
      workspace_(allocate(GemmLibrary::kWorkspace)),
      rounded_bias_(allocate(kMaxBias * sizeof(uint16_t))) {}

GemmCall Blas::call_of(Stream stream, Tensor y, Tensor x, const Matrix& w, const Epilogue& end) {
  check_gemm(y, x, w, end);
  GemmCall call{.y = y, .x = x, .w = w.data.get(), .out = w.out};
  call.w_stride = row_bytes(w) / static_cast<int64_t>(size_of(w.dtype));
  call.bias = end.bias;
  if (end.bias != nullptr && y.dtype == DType::bf16) {  // the library takes a bias of y's dtype
    round_rows(stream, reinterpret_cast<uint16_t*>(rounded_bias_.get()), (w.out + 7) / 8 * 8,
               view(const_cast<float*>(end.bias), DType::f32, 1, w.out));
    call.bias = rounded_bias_.get();
  }
  call.gelu = end.gelu;
  call.add = end.add;
  call.multiprocessors = multiprocessors_;
  return call;
}

GemmCall Blas::call_of(Tensor y, const ScaledRows& x, const Matrix& w) const {
  check_gemm(y, x.rows, w, {});
  GemmCall call{.y = y, .x = x.rows, .w = w.data.get(), .out = w.out, .w_stride = row_bytes(w)};
  call.multiprocessors = multiprocessors_;
  if (takes_scales_) {
    call.x_scales = x.scales;
    call.w_scales = reinterpret_cast<const float*>(w.scales.get());
  }
  return call;
}

/// false: the library has no such product.
bool Blas::run(Stream stream, const GemmCall& call) {
  const GemmKey key = key_of(call);
  const Algorithm* known = choices_.find(key);
  // A choice of its bucket may not do for this very number of rows.
  if (known != nullptr && library_->run(stream, call, *known, workspace_.get())) return true;
  for (const Algorithm& guess : library_->candidates(call, 1)) {
    if (!library_->run(stream, call, guess, workspace_.get())) continue;
    if (known == nullptr) choices_.guess(key, guess);
    return true;
  }
  return false;
}

void Blas::gemm(Stream stream, Tensor y, Tensor x, const Matrix& w, const Epilogue& end) {
  const GemmCall call = call_of(stream, y, x, w, end);
  if (y.rows() == 0 || w.out == 0) return;
  if (!run(stream, call)) throw std::runtime_error("cuBLASLt has no product of " + shape_of(call));
}

bool Blas::gemm(Stream stream, Tensor y, const ScaledRows& x, const Matrix& w) {
  const GemmCall call = call_of(y, x, w);
  if (y.rows() == 0 || w.out == 0) return true;
  const bool scaled = call.x_scales != nullptr;
  if (!run(stream, call)) {
    if (!scaled) return false;
    takes_scales_ = false;
    return gemm(stream, y, x, w);
  }
  // The scales are powers of two: what y holds is rounded the same before and after.
  if (!scaled) scale_rows(stream, y, x.scales, reinterpret_cast<const float*>(w.scales.get()));
  return true;
}

void Blas::tune(Stream stream, Tensor y, Tensor x, const Matrix& w, const Epilogue& end) {
  if (y.rows() > 0 && w.out > 0) tune(stream, call_of(stream, y, x, w, end));
}

void Blas::tune(Stream stream, Tensor y, const ScaledRows& x, const Matrix& w) {
  if (y.rows() == 0 || w.out == 0 || !gemm(stream, y, x, w)) return;  // which finds out about the scales
  tune(stream, call_of(y, x, w));
}

void Blas::tune(Stream stream, const GemmCall& call) {
  const GemmKey key = key_of(call);
  if (choices_.is_measured(key)) return;
  float best = -1;
  for (const Algorithm& candidate : library_->candidates(call, kCandidates)) {
    float least = library_->time(stream, call, candidate, workspace_.get());  // which also warms up
    for (int i = 0; i < kRepeats && least >= 0; ++i) {
      const float time = library_->time(stream, call, candidate, workspace_.get());
      least = time < 0 ? time : std::min(least, time);
    }
    if (least < 0 || (best >= 0 && least >= best)) continue;
    best = least;
    choices_.measure(key, candidate);
  }
}

}  // namespace lapidary::cuda
