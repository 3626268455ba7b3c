#include "sharding/weight_store.h"

#include <algorithm>

#include "configs/error.h"

namespace lapidary {

WeightStore::WeightStore(TensorSource& source, Backend& ops, DType linear, Progress loaded)
    : source_(source), ops_(ops), linear_(linear), loaded_(std::move(loaded)) {}

void WeightStore::check(const Slice& slice) const {
  const auto stored = matrix_shape(source_.shape_of(slice.name));
  if (stored != slice.shape)
    fail(source_.where(), ": tensor '", slice.name, "' is [", stored[0], ", ", stored[1],
         "], the config asks for [", slice.shape[0], ", ", slice.shape[1], "]");
}

Matrix WeightStore::matrix(const std::vector<Slice>& slices, SumPlan sums) {
  int64_t out = 0;
  for (const Slice& slice : slices) {
    check(slice);
    out += slice.rows.size();
  }
  Matrix matrix = ops_.make_matrix(out, slices.at(0).cols.size(), linear_, std::move(sums));
  // Small bands, so that what is in flight stays in cache and both ends of the work are busy.
  constexpr int64_t kBand = 4 * Backend::kPackRows;
  ops_.threads().parallel_for(out, kBand, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row += kBand)
      pack_band(matrix, slices, {row, std::min(end, row + kBand)});
  });
  count(matrix.bytes);
  return matrix;
}

void WeightStore::pack_band(Matrix& matrix, const std::vector<Slice>& slices, Range rows) {
  const auto width = static_cast<size_t>(matrix.in);
  std::vector<std::byte> band(static_cast<size_t>(rows.size()) * width * size_of(linear_));
  int64_t first = 0;  // row of the matrix where a slice begins
  for (const Slice& slice : slices) {
    const Range here{std::max(rows.begin, first), std::min(rows.end, first + slice.rows.size())};
    if (here.size() > 0) {
      const Range stored{slice.rows.begin + here.begin - first, slice.rows.begin + here.end - first};
      std::byte* to = band.data() + static_cast<size_t>(here.begin - rows.begin) * width * size_of(linear_);
      if (linear_ == DType::bf16) {
        source_.read_bf16(slice.name, stored, slice.cols, reinterpret_cast<uint16_t*>(to));
      } else {
        source_.read(slice.name, stored, slice.cols, reinterpret_cast<float*>(to));
      }
    }
    first += slice.rows.size();
  }
  ops_.pack(matrix, rows.begin, view(band.data(), linear_, rows.size(), matrix.in));
}

Vector WeightStore::vector(const std::vector<Slice>& slices) {
  int64_t size = 0;
  for (const Slice& slice : slices) {
    check(slice);
    size += slice.rows.size() * slice.cols.size();
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

void WeightStore::count(size_t bytes) {
  bytes_ += static_cast<int64_t>(bytes);
  if (loaded_) loaded_(bytes_);
}

}  // namespace lapidary
