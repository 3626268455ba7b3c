#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "kernels/dummy_values.h"
#include "kernels/tensor.h"

namespace lapidary {

struct Matrix;

/// Rows of a weight as they lie in a device's memory; a vector is one row.
struct WeightRows {
  std::byte* data = nullptr;  // of the weight's first row
  int64_t pitch = 0;          // bytes from one row of the weight to the next
  DType dtype = DType::f32;
  float* scales = nullptr;  // of e4m3: one a row of the weight
  int64_t rows = 0, cols = 0;
  int64_t first = 0;  // where row 0 lies, if they lie one below the other
  int64_t run = 0;    // else every other run of so many rows of the weight is theirs, from `first` on
  // Of e4m3: what a stored number is rounded to before anything else is done with it, and, where these are
  // only columns of the stored rows, how many numbers a stored row has and where the columns begin. The scale
  // is that of the whole row: it does not depend on how rows are cut.
  DType rounded = DType::f32;
  int64_t whole = 0, skip = 0;

  /// Numbers of a row as it is brought to the device.
  constexpr int64_t brought() const { return whole > 0 ? whole : cols; }
  /// The row of the weight that is row r.
  constexpr int64_t place(int64_t r) const { return run == 0 ? first + r : first + r + r / run * run; }
  /// n, or what of it are whole runs, if not one.
  constexpr int64_t whole_runs(int64_t n) const { return run == 0 ? n : n < run ? run : n / run * run; }
  /// [begin, end); where there are runs they begin and end with one, or end at the last row.
  WeightRows row_range(int64_t begin, int64_t end) const {
    WeightRows some = *this;
    some.first = place(begin);
    some.rows = end - begin;
    return some;
  }
};

/// Brings weights into a device's memory while the host reads the next ones: through a ring of memory that
/// the device copies from by itself, on streams of the loader's own. Rows are converted there. Several
/// threads may call load() and make() for different rows. What is loaded may be read, and its memory given
/// back, after finish().
class WeightLoader {
 public:
  /// Waits for what is under way.
  virtual ~WeightLoader() = default;

  virtual WeightRows rows_of(const Matrix& w) const = 0;

  /// How many rows of `cols` stored numbers (WeightRows::brought) are best loaded at a time; at least 1.
  virtual int64_t mlp_chunk_rows(int64_t cols, DType stored) const = 0;
  /// fill() writes as many rows as `to` has, of to.brought() numbers, one close behind the other, as they are
  /// stored: f32, f16 or bf16. Returns when they are written; what fill() throws comes through and leaves the
  /// loader as it was.
  virtual void load(const WeightRows& to, DType stored, const std::function<void(std::byte*)>& fill) = 0;
  /// The numbers of rows first_row… and columns first_col…, which lie to.skip behind a whole row's first.
  virtual void make(const WeightRows& to, const DummyValues& made, int64_t first_row, int64_t first_col) = 0;

  /// Returns when all rows are where they belong. Throws where the device failed.
  virtual void finish() = 0;
};

}  // namespace lapidary
