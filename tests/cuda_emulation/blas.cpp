#include "kernels/cuda/blas.h"

#include <cmath>

#include "kernels/cuda/pack.h"
#include "tests/cuda_emulation/protection.h"

// The library's products on the host: plain loops in float32.

namespace lapidary::cuda {

struct Blas::State {};

Blas::Blas(std::string) {}
Blas::~Blas() = default;
size_t Blas::bytes() const { return 0; }
void Blas::keep_bias(Stream, const float*, int64_t) {}

void Blas::tune(Stream stream, Tensor y, Tensor x, const Matrix& w, const float* bias, Epilogue epilogue) {
  gemm(stream, y, x, w, bias, epilogue);
}

void Blas::gemm(Stream stream, Tensor y, Tensor x, const Matrix& w, const float* bias, Epilogue epilogue) {
  check_gemm(y, x, w, bias);
  synchronize(stream);
  const emulation::AsDevice device;
  for (int64_t r = 0; r < y.rows(); ++r) {
    for (int64_t c = 0; c < y.cols(); ++c) {
      const auto* row = reinterpret_cast<const uint16_t*>(row_of(w, c));
      float sum = 0;
      for (int64_t k = 0; k < w.in; ++k) sum += from_bf16(x.row<const uint16_t>(r)[k]) * from_bf16(row[k]);
      if (bias != nullptr) sum += y.dtype == DType::f32 ? bias[c] : from_bf16(to_bf16(bias[c]));
      if (epilogue == Epilogue::gelu)
        sum = 0.5f * sum * (1 + std::tanh(0.7978845608f * (sum + 0.044715f * sum * sum * sum)));
      if (y.dtype == DType::f32) {
        y.row<float>(r)[c] = sum;
      } else {
        y.row<uint16_t>(r)[c] = to_bf16(sum);
      }
    }
  }
}

}  // namespace lapidary::cuda
