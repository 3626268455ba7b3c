#include "kernels/cuda/blas.h"

#include <stdexcept>
#include <string>

namespace lapidary::cuda {
namespace {

void require(bool holds, const char* rule) {
  if (!holds) throw std::logic_error(std::string("gemm: ") + rule);
}

}  // namespace

void check_gemm(Tensor y, Tensor x, const Matrix& w, const float* bias) {
  require(w.dtype == DType::bf16 && x.dtype == DType::bf16, "x and the weight are bfloat16");
  require(y.dtype == DType::f32 || y.dtype == DType::bf16, "y is float32 or bfloat16");
  require(w.sums.outputs() == 1, "the weight has one output");
  require(x.cols() == w.in && y.cols() == w.out && y.rows() == x.rows(), "shapes do not fit each other");
  require(reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.stride % 8 == 0,
          "rows of x begin at multiples of 16 bytes");
  require(bias == nullptr || y.dtype == DType::f32 || w.out <= Blas::kMostBias,
          "the bias is longer than the room for it");
}

}  // namespace lapidary::cuda
