#include "kernels/cuda/rows/add_norms.h"

#include <cuda_platform.h>

#include "kernels/cuda/rows/add_norm_rows.cuh"
#include "kernels/cuda/rows/norms.h"
#include "kernels/cuda/rows/row_ops.h"
#include "kernels/cuda/runtime/require.h"

namespace lapidary::cuda {
namespace {

template <class H, class Y, int kHeld>
__global__ void __launch_bounds__(kMaxHeldThreads)
    add_rms_norm_rows(EarlyStart, AddNormRows<H> to, RowsOf<const Y> y) {
  const int64_t row = blockIdx.x;
  HeldGains<kHeld> gains;
  Held<kHeld> sum, stream;
  ptx::let_next_start();
  gains.load(to);
  ptx::wait_for_previous();
  sum.load(y.row(row), to.cols, to.aligned);
  stream.load(to.x.row(row), to.cols, to.aligned);
  add_normed(to, gains, sum, stream);
}

}  // namespace

void add_rms_norm(Stream stream, const AddNorm& to) {
  const auto& [h, x, y, post, pre, eps] = to;
  require_f32("add_rms_norm", x);
  require_same_shape("add_rms_norm", x, y);
  require_same_shape("add_rms_norm", x, h);
  if (x.rows() == 0 || x.cols() == 0) return;
  if (!add_norm_fits(x.cols())) {
    rms_norm(stream, y, y, post, eps);
    add(stream, x, y);
    if (pre != nullptr) rms_norm(stream, h, x, pre, eps);
    return;
  }
  with_held(to, y, [&]<class H, int kHeld>(int threads, bool aligned) {
    with_type(to.y, [&]<class Y>(Y) {
      launch(stream, dim3(static_cast<unsigned>(to.x.rows())), threads, kAddNormShared,
             add_rms_norm_rows<H, Y, kHeld>, add_norm_rows<H>(to, aligned), rows_of<const Y>(to.y));
    });
  });
}

}  // namespace lapidary::cuda
