#include "kernels/cuda/matmul/matmul.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/cuda/matmul/blas.h"
#include "kernels/cuda/matmul/matmul_kernels.h"
#include "kernels/cuda/rows/row_ops.h"

namespace lapidary::cuda {
namespace {

// More than this a scratch does not hold: larger products go part by part.
constexpr size_t kMaxBytes = size_t{64} << 20;
constexpr size_t kMinPartials = size_t{1} << 20;
// Leaves and rows that reserve() counts on for sums apart.
constexpr int64_t kLeaves = 16, kPartialRows = 128;
constexpr int64_t kTickets = 4096;
// Rows of one part, at most: a grid's second dimension ends at 65535.
constexpr int64_t kMaxRows = 32768;

int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
int64_t parts_of(int64_t n, int64_t part) { return (n + part - 1) / part; }

void require(bool holds, const std::string& rule) {
  if (!holds) throw std::logic_error("matmul: " + rule);
}

std::string shape_of(Tensor t) {
  return "[" + std::to_string(t.rows()) + ", " + std::to_string(t.cols()) + "]";
}

bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; }

void check(Tensor y, Tensor x, const Matrix& w, const Epilogue& end) {
  require(is_float(x.dtype) && is_float(y.dtype), "x and y are float32 or bfloat16");
  require(x.cols() == w.in, "x " + shape_of(x) + " for a weight of inner size " + std::to_string(w.in));
  require(y.cols() == w.out && y.rows() == w.sums.outputs() * x.rows(),
          "y " + shape_of(y) + " for x " + shape_of(x) + " and " + std::to_string(w.sums.outputs()) +
              " outputs of size " + std::to_string(w.out));
  require((end.bias == nullptr && !end.gelu && !end.add) || w.sums.outputs() == 1,
          "an epilogue goes with one output");
  require(!end.add || (y.dtype == DType::f32 && !end.gelu), "only a float32 y is added to, without gelu");
}

void check_gated(Tensor y, Tensor x, const Matrix& w, Tensor gated_scratch) {
  require(is_float(x.dtype) && is_float(y.dtype) && is_float(gated_scratch.dtype),
          "tensors are float32 or bfloat16");
  require(x.cols() == w.in, "x " + shape_of(x) + " for a weight of inner size " + std::to_string(w.in));
  require(y.rows() == x.rows() && w.out == gated_columns(y.cols()) && w.sums.outputs() == 1,
          "y " + shape_of(y) + " for x " + shape_of(x) + " and a gated weight of " + std::to_string(w.out) +
              " rows");
  require(gated_scratch.rows() >= x.rows() && gated_scratch.cols() == w.out,
          "scratch " + shape_of(gated_scratch) + " for a gated product");
}

bool grow(Buffer& buffer, size_t& held, size_t bytes) {
  if (bytes <= held) return false;
  buffer = {};
  held = 0;
  buffer = allocate(bytes);
  held = bytes;
  return true;
}

}  // namespace

SumUnits units_of(const SumPlan& sums, int64_t in) {
  require(sums.leaves() > 0 && sums.cuts.size() == sums.merges.size() + 1,
          "a sum of n leaves has n + 1 cuts, n > 0");
  require(sums.leaves() <= SumUnits::kMax,
          std::to_string(sums.leaves()) + " leaves, more than " + std::to_string(SumUnits::kMax));
  require(sums.cuts.front() == 0 && sums.cuts.back() == in,
          "the cuts go from 0 to the inner size " + std::to_string(in));
  SumUnits units;
  int depth = 0;
  for (; units.count < sums.leaves(); ++units.count) {
    const auto leaf = static_cast<size_t>(units.count);
    require(sums.cuts[leaf] <= sums.cuts[leaf + 1], "cuts ascend");
    require(sums.merges[leaf] >= 0 && sums.merges[leaf] <= depth, "a merge needs two sums on the stack");
    depth += 1 - sums.merges[leaf];
    units.cuts[leaf + 1] = static_cast<int>(sums.cuts[leaf + 1]);
    units.merges[leaf] = static_cast<uint8_t>(sums.merges[leaf]);
  }
  return units;
}

SumUnits split_into_pieces(const SumUnits& leaves) {
  SumUnits units;
  for (int leaf = 0; leaf < leaves.count; ++leaf) {
    const int begin = leaves.cuts[leaf], n = leaves.columns(leaf), pieces = pieces_of(n);
    if (units.count + pieces > SumUnits::kMax) return leaves;
    for (int p = 0; p < pieces; ++p, ++units.count) {
      units.cuts[units.count + 1] = begin + piece_begin(n, pieces, p + 1);
      units.merges[units.count] = p > 0 ? 1 : 0;
    }
    units.merges[units.count - 1] += leaves.merges[leaf];
  }
  units.are_pieces = true;
  return units;
}

SumUnits skinny_units(const SumUnits& leaves, int64_t out, int64_t rows, int multiprocessors) {
  const int64_t tiles = parts_of(out, skinny_channels(rows));
  const bool enough = tiles * leaves.count >= int64_t{multiprocessors} * skinny_blocks(rows);
  return enough ? leaves : split_into_pieces(leaves);
}

void MatmulScratch::reserve(int64_t rows, int64_t width) {
  multiprocessors_ = device_info().multiprocessors;
  rows = std::max<int64_t>(rows, 1);
  width = std::max<int64_t>(round_up(width, 8), 8);
  const auto row = static_cast<size_t>(width);
  const auto operand = std::max(row * 2, std::min(kMaxBytes, row * static_cast<size_t>(rows) * 2));
  grow(operand_, operand_bytes_, operand);
  const auto sums = row * static_cast<size_t>(std::min(rows, kPartialRows) * kLeaves) * sizeof(float);
  grow(partials_, partial_bytes_, std::clamp(sums, kMinPartials, kMaxBytes));
  grow(tickets_, ticket_bytes_, kTickets * sizeof(uint32_t));
}

/// One product: which kernels, and in how many parts of its rows. Nothing here decides the order of a sum.
class MatmulRun {
 public:
  MatmulRun(Stream stream, MatmulScratch& scratch, Tensor y, Tensor x, const Matrix& w, const Epilogue& end,
            const Tensor* gated_scratch)
      : stream_(stream),
        scratch_(scratch),
        y_(y),
        x_(x),
        w_(w),
        end_(end),
        gated_scratch_(gated_scratch),
        units_(units_of(w.sums, w.in)) {
    const int element = static_cast<int>(size_of(w.dtype));
    for (int u = 1; u < units_.count; ++u) {
      aligned_ = aligned_ && units_.cuts[u] * element % 16 == 0;
      in_eights_ = in_eights_ && units_.cuts[u] % 8 == 0;
    }
  }

  void run() {
    if (x_.rows() == 0 || w_.out == 0) return;
    require(scratch_.ticket_bytes_ > 0, "no scratch was reserved");
    if (w_.dtype == DType::f32) return plain();
    if (!aligned_) return skinny(kUnalignedRows);
    if (x_.rows() <= kSkinnyRows) return skinny(kSkinnyRows);
    if (w_.dtype == DType::e4m3 && has_library() && float8()) return;
    tiled();
  }

 private:
  /// Rows of x can be read eight elements at a time: 32 bytes of float32, 16 of bfloat16.
  bool reads_in_eights(Tensor x) const {
    const auto at = reinterpret_cast<uintptr_t>(x.data);
    const int64_t unit = 16 / static_cast<int64_t>(size_of(x.dtype));
    return in_eights_ && x.cols() % 8 == 0 && at % 16 == 0 && x.stride % unit == 0;
  }

  ProductArgs args(Tensor x, int64_t first_row) const {
    ProductArgs p;
    p.w = w_.data.get();
    p.w_pitch = row_bytes(w_);
    p.w_dtype = w_.dtype;
    p.scales = reinterpret_cast<const float*>(w_.scales.get());
    p.x = x.data;
    p.x_stride = x.stride;
    p.x_dtype = x.dtype;
    p.x_vector = reads_in_eights(x);
    p.y = y_.row_range(first_row, first_row).data;
    p.y_stride = y_.stride;
    p.y_output = x_.rows() * y_.stride;
    p.y_dtype = y_.dtype;
    p.end = end_;
    p.gated = gated_scratch_ != nullptr;
    p.columns = y_.cols();
    p.rows = x.rows();
    p.out = w_.out;
    p.partial_pitch = round_up(w_.out, 4);
    return p;
  }

  /// Rows whose sums apart fit the scratch.
  int64_t fitting_rows(int units) const {
    const auto row = static_cast<size_t>(units * round_up(w_.out, 4)) * sizeof(float);
    return static_cast<int64_t>(scratch_.partial_bytes_ / row);
  }

  /// The largest number of rows of one part, if the leaves' sums are kept apart.
  int64_t max_part_rows() const {
    if (units_.count == 1) return kMaxRows;
    const int64_t rows = std::min(kMaxRows, fitting_rows(units_.count));
    require(rows > 0, "no scratch for " + std::to_string(units_.count) + " sums of " +
                          std::to_string(w_.out) + " channels was reserved");
    return rows > kTileSide ? rows / kTileSide * kTileSide : rows;
  }

  /// Pieces as units if their sums fit, else the leaves.
  SumUnits that_fit(const SumUnits& units, int64_t rows) const {
    return units.count > units_.count && fitting_rows(units.count) < rows ? units_ : units;
  }

  float* partials(const SumUnits& units) const {
    return units.count > 1 ? reinterpret_cast<float*>(scratch_.partials_.get()) : nullptr;
  }

  /// Calls part(x, first row) for up to `max_rows` rows at a time.
  template <class Part>
  void in_parts(int64_t max_rows, Part part) const {
    for (int64_t r = 0; r < x_.rows(); r += max_rows)
      part(x_.row_range(r, std::min(x_.rows(), r + max_rows)), r);
  }

  void plain() const {
    in_parts(max_part_rows(), [&](Tensor x, int64_t r) {
      ProductArgs p = args(x, r);
      p.partials = partials(units_);
      plain_product(stream_, p, units_);
      if (units_.count > 1) merge_units(stream_, p, units_);
    });
  }

  void skinny(int64_t max_rows) const {
    in_parts(std::min(max_rows, max_part_rows()), [&](Tensor x, int64_t r) {
      ProductArgs p = args(x, r);
      const int64_t tiles = parts_of(w_.out, skinny_channels(p.rows));
      const SumUnits units =
          that_fit(skinny_units(units_, w_.out, p.rows, scratch_.multiprocessors_), p.rows);
      p.partials = partials(units);
      const bool apart = units.count > 1;
      const bool at_once = apart && tiles <= kTickets && skinny_can_merge(p.rows, units.count);
      skinny_product(stream_, p, units, aligned_,
                     at_once ? reinterpret_cast<uint32_t*>(scratch_.tickets_.get()) : nullptr);
      if (apart && !at_once) merge_units(stream_, p, units);
    });
  }

  void tiled() const {
    const bool as_it_is = x_.dtype == DType::bf16 && reads_in_eights(x_);
    const int64_t pitch = round_up(w_.in, 8);
    int64_t max_rows = max_part_rows();
    if (!as_it_is)
      max_rows =
          std::min(max_rows, static_cast<int64_t>(scratch_.operand_bytes_) / std::max<int64_t>(2 * pitch, 1));
    if (max_rows <= kSkinnyRows) return skinny(kSkinnyRows);  // which rounds x by itself
    in_parts(max_rows > kTileSide ? max_rows / kTileSide * kTileSide : max_rows, [&](Tensor x, int64_t r) {
      if (!as_it_is) {
        auto* operand = reinterpret_cast<uint16_t*>(scratch_.operand_.get());
        round_rows(stream_, operand, pitch, x);
        x = view(operand, DType::bf16, x.rows(), pitch).col_range(0, w_.in);
      }
      tiled_part(x, r);
    });
  }

  /// x is bf16, its rows aligned.
  void tiled_part(Tensor x, int64_t r) const {
    if (w_.dtype == DType::bf16 && has_library()) return by_library(y_.row_range(r, r + x.rows()), x);
    ProductArgs p = args(x, r);
    const int64_t tiles = parts_of(w_.out, kTileSide) * parts_of(p.rows, kTileSide);
    const bool few = 2 * tiles * units_.count < scratch_.multiprocessors_;
    const SumUnits units = few ? that_fit(split_into_pieces(units_), p.rows) : units_;
    p.partials = partials(units);
    tiled_product(stream_, p, units);
    if (units.count > 1) merge_units(stream_, p, units);
  }

  bool has_library() const {
    return !scratch_.mode_.deterministic && scratch_.blas_ != nullptr && units_.count == 1;
  }

  /// The library has no gated epilogue: the halves go through the scratch.
  void by_library(Tensor y, Tensor x) const {
    Blas& blas = *scratch_.blas_;
    const Tensor to = gated_scratch_ == nullptr ? y : gated_scratch_->row_range(0, x.rows());
    if (scratch_.tuning_) blas.tune(stream_, to, x, w_, end_);
    blas.gemm(stream_, to, x, w_, end_);
    if (gated_scratch_ != nullptr) gelu_mul_runs(stream_, y, to);
  }

  /// Rows of x as e4m3 with a scale a row, through the library. false: it has no such products, and nothing
  /// was done.
  bool float8() const {
    if (end_.bias != nullptr || end_.gelu || end_.add) return false;
    const int64_t pitch = round_up(w_.in, 16);
    const auto max_rows = static_cast<int64_t>(scratch_.operand_bytes_) / (pitch + int64_t{sizeof(float)});
    if (max_rows < std::min(x_.rows(), int64_t{kTileSide})) return false;
    // Parts of like length: a short last one would read the whole weight for little.
    const int64_t parts = parts_of(x_.rows(), max_rows), each = parts_of(x_.rows(), parts);
    for (int64_t r = 0; r < x_.rows(); r += each) {
      const int64_t end = std::min(x_.rows(), r + each);
      auto* rows = scratch_.operand_.get();
      auto* scales = reinterpret_cast<float*>(rows + max_rows * pitch);
      convert_rows(stream_, {rows, pitch, DType::e4m3, scales, end - r, w_.in}, x_.row_range(r, end));
      ScaledRows x{view(rows, DType::e4m3, end - r, pitch).col_range(0, w_.in), scales};
      if (!float8_part(y_.row_range(r, end), x)) return false;
    }
    return true;
  }

  bool float8_part(Tensor y, const ScaledRows& x) const {
    const Tensor to = gated_scratch_ == nullptr ? y : gated_scratch_->row_range(0, y.rows());
    if (scratch_.tuning_) scratch_.blas_->tune(stream_, to, x, w_);
    if (!scratch_.blas_->gemm(stream_, to, x, w_)) return false;
    if (gated_scratch_ != nullptr) gelu_mul_runs(stream_, y, to);
    return true;
  }

  Stream stream_;
  MatmulScratch& scratch_;
  const Tensor y_, x_;
  const Matrix& w_;
  const Epilogue end_;
  const Tensor* const gated_scratch_;  // of a gated product
  const SumUnits units_;
  bool aligned_ = true, in_eights_ = true;
};

void matmul(Stream stream, MatmulScratch& scratch, Tensor y, Tensor x, const Matrix& w, const Epilogue& end,
            const Tensor* gated_scratch) {
  gated_scratch == nullptr ? check(y, x, w, end) : check_gated(y, x, w, *gated_scratch);
  MatmulRun(stream, scratch, y, x, w, end, gated_scratch).run();
}

}  // namespace lapidary::cuda
