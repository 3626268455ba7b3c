#pragma once

#include "kernels/tensor.h"

namespace lapidary {

/// The end of a block of the residual stream and the beginning of the next one: x += rms_norm(y, post), and h
/// = rms_norm(x, pre) where there is a `pre`. h, x and y are [rows, n], gains [n], stored less one. y is
/// lost.
struct AddNorm {
  Tensor h;  // may be y; not touched without `pre`
  Tensor x;  // float32
  Tensor y;
  const float* post;
  const float* pre;  // null: the stream ends here
  float eps;
};

}  // namespace lapidary
