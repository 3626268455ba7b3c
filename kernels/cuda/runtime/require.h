#pragma once

#include <stdexcept>
#include <string>

#include "kernels/tensor.h"

namespace lapidary::cuda {

/// Throws std::logic_error "<operation>: <rule>" where the rule doesn't hold.
inline void require(bool holds, const char* operation, const char* rule) {
  if (!holds) throw std::logic_error(std::string(operation) + ": " + rule);
}

/// Activations: float32 or bfloat16, in rows that don't overlap.
inline void require_rows(const char* operation, Tensor x) {
  require((x.dtype == DType::f32 || x.dtype == DType::bf16) && (x.rows() <= 1 || x.stride >= x.cols()),
          operation, "rows of float32 or bfloat16 that don't overlap are wanted");
}

inline void require_f32(const char* operation, Tensor x) {
  require_rows(operation, x);
  require(x.dtype == DType::f32, operation, "float32 is wanted");
}

inline void require_same_shape(const char* operation, Tensor x, Tensor y) {
  require_rows(operation, x);
  require_rows(operation, y);
  require(x.shape == y.shape, operation, "both shapes must be equal");
}

}  // namespace lapidary::cuda
