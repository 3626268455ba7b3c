#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/runtime/device.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

/// How a product may be added up.
struct MatmulMode {
  /// true: as the SumPlan says, each row by one order of sums whatever the number of rows. false: products of
  /// many rows may be the library's (blas.h) and a matrix has one output, so that ranks add their parts by a
  /// plain all-reduce.
  bool deterministic = true;
};

/// A matrix of zeros, row-major: [out, in], each row padded with zeros to a multiple of 16 bytes. dtype f32,
/// bf16 or e4m3 (with a scale a row). Not deterministic: `sums` becomes SumPlan::whole. Throws
/// std::logic_error for a plan, dtype or size that can't be, and for more than 64 leaves.
Matrix make_matrix(int64_t out, int64_t in, DType dtype, SumPlan sums, MatmulMode mode = {});

/// The same without its memory, whose bytes are added to `planned`.
Matrix plan_matrix(int64_t out, int64_t in, DType dtype, SumPlan sums, MatmulMode mode, size_t& planned);

/// Bytes from one row of w to the next, and where row r begins (device memory).
int64_t row_bytes(const Matrix& w);
const std::byte* row_of(const Matrix& w, int64_t r);

/// All rows of w, to be written.
WeightRows rows_of(const Matrix& w);

/// Memory that weights go through on their way to the device, each buffer with a stream of its own: one
/// thread's rows are copied while another's are being written.
class PackBuffers {
 public:
  explicit PackBuffers(int buffers = 4, size_t bytes_each = size_t{8} << 20);
  ~PackBuffers();
  PackBuffers(const PackBuffers&) = delete;

  /// Of pinned host memory; as much of the device's.
  size_t bytes() const { return slots_.size() * bytes_each_; }

 private:
  friend void pack(PackBuffers& buffers, Matrix& w, int64_t first_row, Tensor rows, const float* largest);
  struct Slot {
    std::mutex mutex;
    Stream stream;
    Buffer pinned, device;
  };
  const size_t bytes_each_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::atomic<unsigned> next_{0};
};

/// Backend::pack: rows [n, in], f32 or bf16 in host memory, become rows first_row… of w; complete when it
/// returns. Several threads may call it for disjoint rows. The rows of an e4m3 weight are divided by their
/// scale, e4m3_scale() of `largest` or of the row itself, and rounded to nearest. Throws std::logic_error for
/// what doesn't fit.
void pack(PackBuffers& buffers, Matrix& w, int64_t first_row, Tensor rows, const float* largest = nullptr);
/// The same through a buffer made for the call, after what is queued on `stream`.
void pack(Stream stream, Matrix& w, int64_t first_row, Tensor rows);

/// Row r of w as it was packed, as float32 [in] in host memory.
void unpack_row(Stream stream, const Matrix& w, int64_t r, float* out);

}  // namespace lapidary::cuda
