#include "kernels/cuda/matmul/pack.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>

#include "kernels/cuda/matmul/matmul_kernels.h"

namespace lapidary::cuda {
namespace {

void require(bool holds, const std::string& rule) {
  if (!holds) throw std::logic_error("matrix: " + rule);
}

const float* scale_of(const Matrix& w, int64_t row) {
  return reinterpret_cast<const float*>(w.scales.get()) + row;
}

size_t scale_bytes(const Matrix& w) {
  return w.dtype == DType::e4m3 ? static_cast<size_t>(w.out) * sizeof(float) : 0;
}

std::byte* writable_row(Matrix& w, int64_t row) { return w.data.get() + row * row_bytes(w); }

void check_rows(const Matrix& w, int64_t first_row, Tensor rows) {
  constexpr int64_t kStep = Backend::kPackRows;
  require(rows.dtype == DType::f32 || rows.dtype == DType::bf16, "rows to pack are float32 or bfloat16");
  require(rows.cols() == w.in,
          "rows of " + std::to_string(rows.cols()) + " for an inner size of " + std::to_string(w.in));
  const int64_t end = first_row + rows.rows();
  require(first_row >= 0 && first_row % kStep == 0 && end <= w.out && (end % kStep == 0 || end == w.out),
          "rows are packed in sixteens: not " + std::to_string(first_row) + " to " + std::to_string(end) +
              " of " + std::to_string(w.out));
}

/// Rows of the host, packed tightly in pinned memory, become rows of w.
void send(Stream stream, Matrix& w, int64_t row, Tensor pinned, std::byte* device, const float* largest) {
  const size_t bytes = static_cast<size_t>(pinned.cols()) * size_of(pinned.dtype);
  const auto n = static_cast<size_t>(pinned.rows());
  if (pinned.dtype == w.dtype) {
    copy_rows(stream, writable_row(w, row), static_cast<size_t>(row_bytes(w)), pinned.data, bytes, bytes, n);
  } else {
    copy(stream, device, pinned.data, n * bytes);
    std::vector<float> scales;
    const bool scaled = w.dtype == DType::e4m3 && largest != nullptr;
    if (scaled) {
      std::transform(largest, largest + n, std::back_inserter(scales), e4m3_scale);
      copy(stream, rows_of(w).scales + row, scales.data(), n * sizeof(float));
      synchronize(stream);
    }
    convert_rows(stream, rows_of(w).row_range(row, row + pinned.rows()),
                 view(device, pinned.dtype, pinned.rows(), pinned.cols()), scaled);
  }
  synchronize(stream);
}

}  // namespace

Matrix plan_matrix(int64_t out, int64_t in, DType dtype, SumPlan sums, MatmulMode mode, size_t& planned) {
  require(out >= 0 && in >= 0 && in <= INT32_MAX, "sizes are not negative, the inner one is below 2^31");
  require(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::e4m3,
          std::string("float32, bfloat16 or float8_e4m3, not ") + name_of(dtype));
  units_of(sums, in);
  Matrix w;
  w.out = out;
  w.in = in;
  w.dtype = dtype;
  w.sums = mode.deterministic ? std::move(sums) : SumPlan::whole(in);
  w.bytes = static_cast<size_t>(out * row_bytes(w));
  planned += w.bytes + scale_bytes(w);
  return w;
}

Matrix make_matrix(int64_t out, int64_t in, DType dtype, SumPlan sums, MatmulMode mode) {
  size_t bytes = 0;
  Matrix w = plan_matrix(out, in, dtype, std::move(sums), mode, bytes);
  w.data = allocate(w.bytes);
  if (scale_bytes(w) > 0) w.scales = allocate(scale_bytes(w));
  return w;
}

int64_t row_bytes(const Matrix& w) { return (w.in * static_cast<int64_t>(size_of(w.dtype)) + 15) / 16 * 16; }

const std::byte* row_of(const Matrix& w, int64_t r) { return w.data.get() + r * row_bytes(w); }

WeightRows rows_of(const Matrix& w) {
  auto* scales = w.dtype == DType::e4m3 ? reinterpret_cast<float*>(w.scales.get()) : nullptr;
  return {w.data.get(), row_bytes(w), w.dtype, scales, w.out, w.in};
}

PackBuffers::PackBuffers(int buffers, size_t bytes_each) : bytes_each_(bytes_each) {
  for (int i = 0; i < buffers; ++i) {
    auto& slot = *slots_.emplace_back(std::make_unique<Slot>());
    slot.pinned = allocate_pinned(bytes_each);
    slot.device = allocate(bytes_each);
    slot.stream = make_stream(false);
  }
}

PackBuffers::~PackBuffers() {
  for (const auto& slot : slots_) destroy(slot->stream);
}

void pack(PackBuffers& buffers, Matrix& w, int64_t first_row, Tensor rows, const float* largest) {
  check_rows(w, first_row, rows);
  const size_t bytes = static_cast<size_t>(w.in) * size_of(rows.dtype);
  if (rows.rows() == 0 || bytes == 0) return;
  const auto fitting = static_cast<int64_t>(buffers.bytes_each_ / bytes);
  require(fitting > 0, "a row of " + std::to_string(bytes) + " bytes for pack buffers of " +
                           std::to_string(buffers.bytes_each_));
  auto& slot = *buffers.slots_.at(buffers.next_.fetch_add(1) % buffers.slots_.size());
  const std::scoped_lock lock(slot.mutex);
  for (int64_t r = 0; r < rows.rows(); r += fitting) {
    const int64_t n = std::min(fitting, rows.rows() - r);
    std::byte* to = slot.pinned.get();
    for (int64_t i = 0; i < n; ++i, to += bytes)
      std::memcpy(to, static_cast<const std::byte*>(rows.row_range(r + i, r + i + 1).data), bytes);
    send(slot.stream, w, first_row + r, view(slot.pinned.get(), rows.dtype, n, w.in), slot.device.get(),
         largest == nullptr ? nullptr : largest + r);
  }
}

void pack(Stream stream, Matrix& w, int64_t first_row, Tensor rows) {
  synchronize(stream);
  const size_t row = static_cast<size_t>(w.in) * size_of(rows.dtype);
  const size_t all = row * static_cast<size_t>(rows.rows());
  PackBuffers buffers(1, std::max(row, std::min(all, size_t{8} << 20)));
  pack(buffers, w, first_row, rows);
}

void unpack_row(Stream stream, const Matrix& w, int64_t r, float* out) {
  require(r >= 0 && r < w.out, "row " + std::to_string(r) + " of " + std::to_string(w.out));
  std::vector<std::byte> bytes(static_cast<size_t>(row_bytes(w)));
  float scale = 1;
  copy(stream, bytes.data(), row_of(w, r), bytes.size());
  if (w.dtype == DType::e4m3) copy(stream, &scale, scale_of(w, r), sizeof(scale));
  synchronize(stream);
  for (int64_t k = 0; k < w.in; ++k) {
    if (w.dtype == DType::f32) {
      out[k] = reinterpret_cast<const float*>(bytes.data())[k];
    } else if (w.dtype == DType::bf16) {
      out[k] = from_bf16(reinterpret_cast<const uint16_t*>(bytes.data())[k]);
    } else {
      out[k] = from_e4m3(std::to_integer<uint8_t>(bytes[static_cast<size_t>(k)])) * scale;
    }
  }
}

}  // namespace lapidary::cuda
