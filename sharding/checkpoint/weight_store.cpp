#include "sharding/checkpoint/weight_store.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "configs/error.h"

namespace lapidary {

WeightStore::WeightStore(TensorSource& source, Backend& ops, WeightTypes types, Progress loaded)
    : source_(source),
      ops_(ops),
      linear_(types.linear),
      decoder_(types.decoder),
      loaded_(std::move(loaded)),
      loader_(ops.make_loader()) {}

void WeightStore::check(const Slice& slice) const {
  const auto stored = matrix_shape(source_.shape_of(slice.name));
  if (stored != slice.shape)
    fail(source_.where(), ": tensor '", slice.name, "' is [", stored[0], ", ", stored[1],
         "], the config asks for [", slice.shape[0], ", ", slice.shape[1], "]");
}

Matrix WeightStore::matrix(const std::vector<Slice>& slices, SumPlan sums, DType dtype) {
  int64_t out = 0;
  for (const Slice& slice : slices) {
    check(slice);
    out += slice.rows.size();
  }
  Matrix matrix = ops_.make_matrix(out, slices.at(0).cols.size(), dtype, std::move(sums));
  if (loader_ == nullptr) {
    pack_rows(matrix, slices);
  } else {
    const WeightRows rows = loader_->rows_of(matrix);
    int64_t first = 0;
    for (const Slice& slice : slices) {
      load_slice(slice, rows.row_range(first, first + slice.rows.size()));
      first += slice.rows.size();
    }
  }
  count(matrix);
  return matrix;
}

Matrix WeightStore::gated(const Slice& gate, const Slice& up, DType dtype) {
  const int64_t run = ops_.gate_up_interleave();
  SumPlan sums = SumPlan::whole(gate.cols.size());
  if (run == 0) return matrix({gate, up}, std::move(sums), dtype);
  check(gate);
  check(up);
  const int64_t half = (gate.rows.size() + run - 1) / run * run;
  if (loader_ == nullptr) throw std::logic_error("gated weights that lie in runs come by a loader only");
  Matrix matrix = ops_.make_matrix(2 * half, gate.cols.size(), dtype, std::move(sums));
  WeightRows rows = loader_->rows_of(matrix);
  rows.rows = gate.rows.size();
  rows.run = run;
  load_slice(gate, rows);
  rows.first = run;
  load_slice(up, rows);
  count(matrix);
  return matrix;
}

void WeightStore::pack_rows(Matrix& matrix, const std::vector<Slice>& slices) {
  // Small bands, so that what is in flight stays in cache and both ends of the work are busy.
  constexpr int64_t kBand = 4 * Backend::kPackRows;
  ops_.threads().parallel_for(matrix.out, kBand, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row += kBand)
      pack_band(matrix, slices, {row, std::min(end, row + kBand)});
  });
}

/// Pieces of rows, each taken by the thread that has time for it.
void WeightStore::load_slice(const Slice& slice, WeightRows to) {
  Range cols = slice.cols;
  if (to.dtype == DType::e4m3) {
    to.rounded = linear_;
    if (cols.size() < slice.shape[1]) {  // the device sees whole rows, for their scales
      to.whole = slice.shape[1];
      to.skip = cols.begin;
      cols = {0, to.whole};
    }
  }
  if (const auto made = source_.made(slice.name))
    return loader_->make(to, *made, slice.rows.begin, slice.cols.begin);
  const DType stored = source_.stored_dtype(slice.name);
  const int64_t step = to.whole_runs(loader_->mlp_chunk_rows(cols.size(), stored));
  std::atomic<int64_t> next{0};
  ops_.threads().run([&](int) {
    for (int64_t row = next.fetch_add(step); row < to.rows; row = next.fetch_add(step)) {
      const int64_t end = std::min(row + step, to.rows);
      loader_->load(to.row_range(row, end), stored, [&](std::byte* pinned) {
        source_.read_stored(slice.name, {slice.rows.begin + row, slice.rows.begin + end}, cols, pinned);
      });
    }
  });
}

void WeightStore::finish() {
  if (loader_) loader_->finish();
}

void WeightStore::read_rows(std::byte* to, const Slice& slice, Range stored, Range cols) {
  if (linear_ == DType::bf16) {
    source_.read_bf16(slice.name, stored, cols, reinterpret_cast<uint16_t*>(to));
  } else {
    source_.read(slice.name, stored, cols, reinterpret_cast<float*>(to));
  }
}

/// The largest magnitude of each whole row, as the backend sees it; a NaN shows.
void WeightStore::find_largest(float* to, const Slice& slice, Range stored) {
  const auto width = static_cast<size_t>(slice.shape[1]);
  std::vector<std::byte> row(width * size_of(linear_));
  for (int64_t r = stored.begin; r < stored.end; ++r, ++to) {
    read_rows(row.data(), slice, {r, r + 1}, {0, slice.shape[1]});
    *to = 0;
    for (size_t k = 0; k < width; ++k) {
      const float value = linear_ == DType::bf16 ? from_bf16(reinterpret_cast<const uint16_t*>(row.data())[k])
                                                 : reinterpret_cast<const float*>(row.data())[k];
      if (std::abs(value) > *to || value != value) *to = std::abs(value);
    }
  }
}

void WeightStore::pack_band(Matrix& matrix, const std::vector<Slice>& slices, Range rows) {
  const auto width = static_cast<size_t>(matrix.in);
  std::vector<std::byte> band(static_cast<size_t>(rows.size()) * width * size_of(linear_));
  const bool cut = matrix.dtype == DType::e4m3 && slices.at(0).cols.size() < slices.at(0).shape[1];
  std::vector<float> largest(cut ? static_cast<size_t>(rows.size()) : 0);
  int64_t first = 0;  // row of the matrix where a slice begins
  for (const Slice& slice : slices) {
    const Range here{std::max(rows.begin, first), std::min(rows.end, first + slice.rows.size())};
    if (here.size() > 0) {
      const Range stored{slice.rows.begin + here.begin - first, slice.rows.begin + here.end - first};
      read_rows(band.data() + static_cast<size_t>(here.begin - rows.begin) * width * size_of(linear_), slice,
                stored, slice.cols);
      if (cut) find_largest(largest.data() + (here.begin - rows.begin), slice, stored);
    }
    first += slice.rows.size();
  }
  ops_.pack(matrix, rows.begin, view(band.data(), linear_, rows.size(), matrix.in),
            cut ? largest.data() : nullptr);
}

Vector WeightStore::vector(const std::vector<Slice>& slices) {
  int64_t size = 0;
  for (const Slice& slice : slices) {
    check(slice);
    size += slice.rows.size() * slice.cols.size();
  }
  if (loader_) {
    Vector vector{ops_.allocate(static_cast<size_t>(size) * sizeof(float)), size};
    std::byte* to = vector.data.get();
    for (const Slice& slice : slices) {
      const int64_t cols = slice.cols.size(), pitch = cols * static_cast<int64_t>(sizeof(float));
      load_slice(slice, {to, pitch, DType::f32, nullptr, slice.rows.size(), cols});
      to += slice.rows.size() * pitch;
    }
    count(static_cast<size_t>(size) * sizeof(float));
    return vector;
  }
  std::vector<float> values(static_cast<size_t>(size));
  float* to = values.data();
  for (const Slice& slice : slices) {
    source_.read(slice.name, slice.rows, slice.cols, to);
    to += slice.rows.size() * slice.cols.size();
  }
  Vector vector{ops_.allocate(values.size() * sizeof(float)), size};
  ops_.copy(view(vector.data.get(), DType::f32, 1, size), view(values.data(), DType::f32, 1, size));
  count(values.size() * sizeof(float));
  return vector;
}

bool WeightStore::same_rows(const std::string& a, const std::string& b, Range rows) const {
  const auto shape = matrix_shape(source_.shape_of(a));
  if (shape != matrix_shape(source_.shape_of(b))) return false;
  std::vector<float> one(static_cast<size_t>(shape[1])), other(one.size());
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    source_.read(a, {row, row + 1}, {0, shape[1]}, one.data());
    source_.read(b, {row, row + 1}, {0, shape[1]}, other.data());
    if (one != other) return false;
  }
  return true;
}

void WeightStore::count(const Matrix& matrix) {
  const size_t scales = matrix.dtype == DType::e4m3 ? static_cast<size_t>(matrix.out) * sizeof(float) : 0;
  count(matrix.bytes + scales);
}

void WeightStore::count(size_t bytes) {
  bytes_ += static_cast<int64_t>(bytes);
  if (loaded_) loaded_(bytes_);
}

}  // namespace lapidary
