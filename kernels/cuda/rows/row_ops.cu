#include "kernels/cuda/rows/row_ops.h"

#include <cuda_platform.h>

#include "kernels/cuda/rows/gelu.cuh"
#include "kernels/cuda/rows/row_access.cuh"
#include "kernels/cuda/runtime/require.h"

namespace lapidary::cuda {
namespace {

struct Same {
  __device__ float operator()(float x) const { return x; }
};
struct Scale {
  float factor;
  __device__ float operator()(float x) const { return 0.0f + x * factor; }  // never leaves a -0
};
struct Gelu {
  __device__ float operator()(float x) const { return gelu_tanh(x); }
};
struct Softcap {
  float cap;
  __device__ float operator()(float x) const { return cap * tanhf(x / cap); }
};
struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct GeluMul {
  __device__ float operator()(float gate, float up) const { return gelu_tanh(gate) * up; }
};

/// y [rows, cols] = f(x [rows, cols])
template <class Y, class X, class F>
__global__ void map_rows(EarlyStart, RowsOf<Y> y, RowsOf<const X> x, int64_t cols, bool aligned, F f) {
  ptx::follow_previous();
  constexpr int kN = kChunk<Y, X>;
  const int64_t r = blockIdx.x, c = first_column(kN);
  if (c >= cols) return;
  float v[kN];
  load_chunk(v, x.row(r) + c, cols - c, aligned);
  for (int i = 0; i < kN; ++i) v[i] = f(v[i]);
  store_chunk(y.row(r) + c, v, cols - c, aligned);
}

/// y [rows, cols] = f(a [rows, cols], b [rows, cols])
template <class Y, class A, class B, class F>
__global__ void combine_rows(EarlyStart, RowsOf<Y> y, RowsOf<const A> a, RowsOf<const B> b, int64_t cols,
                             bool aligned, F f) {
  ptx::follow_previous();
  constexpr int kN = kChunk<Y, A, B>;
  const int64_t r = blockIdx.x, c = first_column(kN);
  if (c >= cols) return;
  float left[kN], right[kN];
  load_chunk(left, a.row(r) + c, cols - c, aligned);
  load_chunk(right, b.row(r) + c, cols - c, aligned);
  for (int i = 0; i < kN; ++i) left[i] = f(left[i], right[i]);
  store_chunk(y.row(r) + c, left, cols - c, aligned);
}

/// y [rows, cols] = gelu of gate times up, which lie in runs of kGateRun columns, gate first. A thread makes
/// one run.
template <class Y, class X>
__global__ void geglu_runs(EarlyStart, RowsOf<Y> y, RowsOf<const X> gate_up, int64_t cols, bool aligned) {
  ptx::follow_previous();
  const int64_t r = blockIdx.x, c = first_column(kGateRun);
  if (c >= cols) return;
  float gate[kGateRun], up[kGateRun];
  load_chunk(gate, gate_up.row(r) + 2 * c, kGateRun, aligned);
  load_chunk(up, gate_up.row(r) + 2 * c + kGateRun, kGateRun, aligned);
  for (int i = 0; i < kGateRun; ++i) gate[i] = gelu_tanh(gate[i]) * up[i];
  store_chunk(y.row(r) + c, gate, cols - c, aligned);
}

template <class F>
void map(Stream stream, Tensor y, Tensor x, F f) {
  if (y.rows() == 0 || y.cols() == 0) return;
  with_type(y, [&]<class Y>(Y) {
    with_type(x, [&]<class X>(X) {
      constexpr int kN = kChunk<Y, X>;
      const RowGrid grid(y.rows(), chunks_of(y.cols(), kN));
      launch(stream, grid.blocks, grid.threads, 0, map_rows<Y, X, F>, rows_of<Y>(y), rows_of<const X>(x),
             y.cols(), chunk_aligned(y, kN) && chunk_aligned(x, kN), f);
    });
  });
}

template <class A, class B, class F>
void combine(Stream stream, Tensor y, RowsOf<const A> a, RowsOf<const B> b, bool aligned, F f) {
  if (y.rows() == 0 || y.cols() == 0) return;
  with_type(y, [&]<class Y>(Y) {
    constexpr int kN = kChunk<Y, A, B>;
    const RowGrid grid(y.rows(), chunks_of(y.cols(), kN));
    launch(stream, grid.blocks, grid.threads, 0, combine_rows<Y, A, B, F>, rows_of<Y>(y), a, b, y.cols(),
           aligned && chunk_aligned(y, kN), f);
  });
}

/// One Word a thread, of rows of `words`; pitches in bytes.
template <class Word>
__global__ void move_rows(EarlyStart, std::byte* to, int64_t to_pitch, const std::byte* from,
                          int64_t from_pitch, int64_t words) {
  ptx::follow_previous();
  const int64_t r = blockIdx.x, w = first_column(1);
  if (w >= words) return;
  reinterpret_cast<Word*>(to + r * to_pitch)[w] = reinterpret_cast<const Word*>(from + r * from_pitch)[w];
}

/// Whether rows of x are whole words of `bytes`.
bool whole_words(Tensor x, size_t bytes) {
  return reinterpret_cast<uintptr_t>(x.data) % bytes == 0 &&
         (x.rows() <= 1 || static_cast<size_t>(x.stride) * size_of(x.dtype) % bytes == 0) &&
         static_cast<size_t>(x.cols()) * size_of(x.dtype) % bytes == 0;
}

template <class Word>
bool move_as(Stream stream, Tensor dst, Tensor src) {
  if (!whole_words(dst, sizeof(Word)) || !whole_words(src, sizeof(Word))) return false;
  const auto size = static_cast<int64_t>(size_of(src.dtype));
  const int64_t words = src.cols() * size / static_cast<int64_t>(sizeof(Word));
  const RowGrid grid(src.rows(), words);
  launch(stream, grid.blocks, grid.threads, 0, move_rows<Word>, static_cast<std::byte*>(dst.data),
         dst.stride * size, static_cast<const std::byte*>(src.data), src.stride * size, words);
  return true;
}

}  // namespace

void add(Stream stream, Tensor x, Tensor y) {
  require_same_shape("add", x, y);
  with_type(x, [&]<class X>(X) {
    with_type(y, [&]<class Y>(Y) {
      constexpr int kN = kChunk<X, Y>;
      combine(stream, x, rows_of<const X>(x), rows_of<const Y>(y), chunk_aligned(y, kN), Add{});
    });
  });
}

void add_bias(Stream stream, Tensor x, const float* bias) {
  require_rows("add_bias", x);
  with_type(x, [&]<class X>(X) {
    const bool aligned = chunk_aligned(bias, DType::f32, kChunk<X, float>);
    combine(stream, x, rows_of<const X>(x), same_row(bias), aligned, Add{});
  });
}

void scale(Stream stream, Tensor x, float factor) {
  require_rows("scale", x);
  map(stream, x, x, Scale{factor});
}

void gelu(Stream stream, Tensor x) {
  require_rows("gelu", x);
  map(stream, x, x, Gelu{});
}

void gelu_mul(Stream stream, Tensor y, Tensor gate_up) {
  require_rows("gelu_mul", y);
  require_rows("gelu_mul", gate_up);
  require(y.rows() == gate_up.rows() && gate_up.cols() == 2 * y.cols(), "gelu_mul",
          "gate_up must be [rows, 2 n] for y [rows, n]");
  const Tensor gate = gate_up.col_range(0, y.cols()), up = gate_up.col_range(y.cols(), 2 * y.cols());
  with_type(gate, [&]<class X>(X) {
    // With a y of float32 chunks are smaller, and what is aligned for eight is for four.
    const bool aligned = chunk_aligned(gate, kChunk<X>) && chunk_aligned(up, kChunk<X>);
    combine(stream, y, rows_of<const X>(gate), rows_of<const X>(up), aligned, GeluMul{});
  });
}

void gelu_mul_runs(Stream stream, Tensor y, Tensor gate_up) {
  require_rows("gelu_mul_runs", y);
  require_rows("gelu_mul_runs", gate_up);
  require(y.rows() == gate_up.rows() && gate_up.cols() == gated_columns(y.cols()), "gelu_mul_runs",
          "gate_up must be runs of gate and up for the columns of y");
  if (y.rows() == 0 || y.cols() == 0) return;
  with_type(y, [&]<class Y>(Y) {
    with_type(gate_up, [&]<class X>(X) {
      const bool aligned = chunk_aligned(y, kGateRun) && chunk_aligned(gate_up, kGateRun);
      const RowGrid grid(y.rows(), chunks_of(y.cols(), kGateRun));
      launch(stream, grid.blocks, grid.threads, 0, geglu_runs<Y, X>, rows_of<Y>(y), rows_of<const X>(gate_up),
             y.cols(), aligned);
    });
  });
}

void softcap(Stream stream, Tensor x, float cap) {
  require_rows("softcap", x);
  require(cap > 0, "softcap", "the cap must be above 0");
  map(stream, x, x, Softcap{cap});
}

void copy_tensor(Stream stream, Tensor dst, Tensor src) {
  require(dst.shape == src.shape, "copy", "both shapes must be equal");
  if (src.rows() == 0 || src.cols() == 0) return;
  if (dst.dtype != src.dtype) {
    require_rows("copy", dst);
    require_rows("copy", src);
    return map(stream, dst, src, Same{});
  }
  const auto is_whole = [](Tensor x) { return x.rows() == 1 || x.stride == x.cols(); };
  if (is_whole(dst) && is_whole(src))
    return copy(stream, dst.data, src.data,
                static_cast<size_t>(src.rows() * src.cols()) * size_of(src.dtype));
  if (move_as<uint4>(stream, dst, src) || move_as<uint32_t>(stream, dst, src) ||
      move_as<uint16_t>(stream, dst, src))
    return;
  move_as<uint8_t>(stream, dst, src);
}

}  // namespace lapidary::cuda
