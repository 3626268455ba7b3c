#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/cpu/memory.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/passes.h"

namespace lapidary::cpu {
namespace {

// Chunks of rows that are converted together.
constexpr int64_t kSlabChunks = 4;
// Up to so many rows the weight is what has to be read: see MatmulRun::run_narrow.
constexpr int64_t kNarrowRows = 32;
// Inner depth of a pass then, so that all rows meet a block of the weight before the next one has arrived.
constexpr int64_t kNarrowBlock = 128;
// Fewer elements of x than this are converted before other threads have woken.
constexpr int64_t kWorthForking = 32768;
// A matrix of more leaves than this needs a scratch reserved for more width than its own.
constexpr int64_t kLeaves = 64;

int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
int64_t parts_of(int64_t n, int64_t part) { return (n + part - 1) / part; }

void require(bool holds, const std::string& rule) {
  if (!holds) throw std::logic_error("matmul: " + rule);
}

std::string shape_of(Tensor t) {
  return std::string("[")
      .append(std::to_string(t.rows()))
      .append(", ")
      .append(std::to_string(t.cols()))
      .append("]");
}

void check(Tensor y, Tensor x, const Matrix& w, const Epilogue& end) {
  require(x.dtype == DType::f32 && y.dtype == DType::f32, "x and y are float32");
  require(x.cols() == w.in, "x " + shape_of(x) + " for a weight of inner size " + std::to_string(w.in));
  require(y.cols() == w.out && y.rows() == w.sums.outputs() * x.rows(),
          "y " + shape_of(y) + " for x " + shape_of(x) + " and " + std::to_string(w.sums.outputs()) +
              " outputs of size " + std::to_string(w.out));
  require((end.bias == nullptr && !end.gelu && !end.add) || w.sums.outputs() == 1,
          "an epilogue goes with one output");
  require(!end.gelu || !end.add, "an epilogue adds to y or ends in gelu, not both");
}

}  // namespace

MatmulScratch::MatmulScratch(const Isa& isa, int threads) : isa_(&isa) {
  const size_t bytes = static_cast<size_t>(isa.sum_floats) * sizeof(float);
  for (int t = 0; t < threads; ++t) sums_.push_back(allocate(bytes));
}

void MatmulScratch::reserve(int64_t rows, int64_t width) {
  const int64_t padded = width + kLeaves * isa_->k_step;
  const int64_t slab =
      std::min(round_up(std::max<int64_t>(rows, 1), isa_->tile_rows), kSlabChunks * isa_->chunk_rows);
  // float32 weights make do with a chunk where bfloat16 ones have a slab.
  const int64_t chunk = std::min<int64_t>(slab, isa_->chunk_rows);
  const int64_t bytes =
      std::max<int64_t>(slab * static_cast<int64_t>(size_of(isa_->a_dtype)), chunk * 4) * padded;
  if (static_cast<size_t>(bytes) <= operand_bytes_) return;
  operand_ = {};
  operand_ = allocate(static_cast<size_t>(bytes));
  operand_bytes_ = static_cast<size_t>(bytes);
}

size_t MatmulScratch::bytes() const {
  return operand_bytes_ + sums_.size() * static_cast<size_t>(isa_->sum_floats) * sizeof(float);
}

/// One product. The operand scratch holds a slab of x pass by pass: [rows][depth of the pass], so that all
/// that meets one block of the weight lies together.
class MatmulRun {
 public:
  MatmulRun(ThreadPool& threads, const Isa& isa, MatmulScratch& scratch, Tensor y, Tensor x, const Matrix& w,
            const Epilogue& end)
      : threads_(threads),
        isa_(isa),
        scratch_(scratch),
        y_(y),
        x_(x),
        w_(w),
        end_(end),
        scales_(reinterpret_cast<const float*>(w.scales.get())),
        panels_(panel_dtype(w.dtype)),
        layout_(isa, w.out, panels_, w.sums),
        bf16_(panels_ == DType::bf16),
        b_size_(static_cast<int64_t>(size_of(panels_))),
        a_size_(static_cast<int64_t>(size_of(bf16_ ? isa.a_dtype : DType::f32))),
        levels_(stack_depth(w.sums, w.in)),
        tile_floats_(int64_t{isa.tile_rows} * isa.tile_panels * kPanel * levels_) {}

  void run() {
    const int64_t rows = x_.rows();
    if (rows == 0 || w_.out == 0) return;
    const int64_t steps = std::max<int64_t>(layout_.panel_elements / kPanel, 1);
    const int64_t fitting = static_cast<int64_t>(scratch_.operand_bytes_) / (steps * a_size_);
    const int64_t max_rows =
        std::min(fitting / isa_.tile_rows * isa_.tile_rows, kSlabChunks * isa_.chunk_rows);
    require(max_rows > 0, "no scratch for an inner size of " + std::to_string(w_.in) + " was reserved");
    require(tiles_of(kNarrowRows) * tile_floats_ <= isa_.sum_floats,
            "no room for a plan that keeps " + std::to_string(levels_) + " sums");
    const bool narrow = rows <= std::min<int64_t>(max_rows, kNarrowRows);
    const int64_t block = !narrow ? isa_.k_block : rows > isa_.tile_rows ? kNarrowBlock : steps + isa_.k_step;
    const Passes passes(isa_, panels_, w_.sums, bf16_ || narrow ? block : block / 2);
    passes_ = &passes;
    const int64_t slab = round_up(parts_of(rows, parts_of(rows, max_rows)), isa_.tile_rows);
    for (int64_t r = 0; r < rows; r += slab) {
      slab_row_ = r;
      slab_rows_ = std::min(slab, rows - r);
      slab_padded_ = round_up(slab_rows_, isa_.row_step);
      convert_slab();
      narrow ? run_narrow() : run_balanced();
    }
  }

 private:
  struct Work {  // rows of the slab, panels of the weight
    int64_t row, rows, panel, panels;
  };

  int64_t tiles_of(int64_t rows) const { return parts_of(rows, isa_.tile_rows); }

  /// Few rows: the weight streams from memory, each thread through a range of its own, tile_panels panels at
  /// a time.
  void run_narrow() {
    tile_ = bf16_ ? isa_.stream_bf16 : isa_.stream_f32;
    threads_.run([&](int thread) {
      const auto part = ThreadPool::part_of(layout_.panels, 1, thread, threads_.size());
      isa_.enter();
      for (int64_t p = part.begin; p < part.end; p += isa_.tile_panels) {
        multiply({0, slab_rows_, p, std::min<int64_t>(isa_.tile_panels, part.end - p)}, thread);
      }
      isa_.leave();
    });
  }

  /// Pieces of work are taken in turn: all threads are within one chunk of rows, and one that is held up
  /// takes fewer.
  void run_balanced() {
    tile_ = bf16_ ? isa_.tile_bf16 : isa_.tile_f32;
    const int64_t rows = slab_rows_, item_panels = choose_item_panels();
    const int64_t max_tiles = isa_.sum_floats / tile_floats_ / (item_panels / isa_.tile_panels);
    const int64_t limit = std::min<int64_t>(max_tiles * isa_.tile_rows, isa_.chunk_rows);
    const int64_t chunk = round_up(parts_of(rows, parts_of(rows, limit)), isa_.tile_rows);
    const int64_t columns = parts_of(layout_.panels, item_panels), items = columns * parts_of(rows, chunk);
    std::atomic<int64_t> next{0};
    threads_.run([&](int thread) {
      isa_.enter();
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
        const int64_t row = i / columns * chunk, panel = i % columns * item_panels;
        multiply({row, std::min(chunk, rows - row), panel, std::min(item_panels, layout_.panels - panel)},
                 thread);
      }
      isa_.leave();
    });
  }

  /// A multiple of tile_panels.
  int64_t choose_item_panels() const {
    const int64_t step = isa_.tile_panels;
    const int64_t fair = layout_.panels / (threads_.size() * 4);
    const int64_t fitting = isa_.sum_floats / tile_floats_ / tiles_of(isa_.chunk_rows) * step;
    return std::max(step, std::min<int64_t>({isa_.item_panels, fair, fitting}) / step * step);
  }

  void convert_slab() {
    const auto convert = [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) convert_row(r);
    };
    if (slab_rows_ * w_.in < kWorthForking) return convert(0, slab_rows_);
    threads_.parallel_for(slab_rows_, 1, convert);
  }

  void convert_row(int64_t r) {
    const float* from = x_.row<const float>(slab_row_ + r);
    for (const Pass& pass : passes_->passes) {
      std::byte* to = operand_at(pass, r);
      for (size_t s = pass.first; s < pass.last; ++s) {
        const Segment& segment = passes_->segments[s];
        if (bf16_) {
          isa_.to_operand(to, from, segment.real);
        } else if (segment.real > 0) {
          std::memcpy(to, from, static_cast<size_t>(segment.real * a_size_));
        }
        std::memset(to + segment.real * a_size_, 0,
                    static_cast<size_t>((segment.depth - segment.real) * a_size_));
        from += segment.real;
        to += segment.depth * a_size_;
      }
    }
  }

  std::byte* operand_at(const Pass& pass, int64_t row) const {
    return scratch_.operand_.get() + (slab_padded_ * pass.offset + row * pass.depth) * a_size_;
  }
  const std::byte* weight_at(int64_t panel, int64_t offset) const {
    return w_.data.get() + (panel * layout_.panel_elements + offset * kPanel) * b_size_;
  }

  /// One piece of work. The sums of a tile lie together, [stack][rows][columns]: while a pass adds its leaves
  /// up they stay in the first-level cache.
  void multiply(const Work& work, int thread) {
    float* sums = reinterpret_cast<float*>(scratch_.sums_[static_cast<size_t>(thread)].get());
    for (const Pass& pass : passes_->passes) {
      const bool last = &pass == &passes_->passes.back();
      float* tile_sums = sums;
      for (int64_t p = 0; p < work.panels; p += isa_.tile_panels) {
        const int panels = static_cast<int>(std::min<int64_t>(isa_.tile_panels, work.panels - p));
        const std::byte* next =
            isa_.outruns_memory && work.rows > isa_.tile_rows ? next_block(work, pass, p) : nullptr;
        for (int64_t r = 0; r < work.rows; r += isa_.tile_rows, tile_sums += tile_floats_) {
          const int rows = static_cast<int>(std::min<int64_t>(isa_.tile_rows, work.rows - r));
          if (next != nullptr) prefetch_share(next, pass.depth, r, work.rows);
          if (last) prefetch_result(work.row + r, rows, work.panel + p, panels);
          const int outputs = add_pass(pass, work.row + r, rows, work.panel + p, panels, tile_sums);
          if (last) write(tile_sums, outputs, work.row + r, rows, work.panel + p, panels);
        }
      }
    }
  }

  /// Adds a pass to a tile's sums; returns how many are on the stack then.
  int add_pass(const Pass& pass, int64_t row, int rows, int64_t panel, int panels, float* sums) const {
    const int64_t cols = panels * kPanel, level = rows * cols;
    const std::byte* a = operand_at(pass, row);
    const std::byte* b = weight_at(panel, pass.offset);
    int top = 0;
    for (size_t s = pass.first; s < pass.last; ++s) {
      const Segment& segment = passes_->segments[s];
      top = segment.top;
      tile_(sums + top * level, cols, a, pass.depth, b, layout_.panel_elements, segment.depth, rows, panels,
            segment.accumulate);
      for (int m = 0; m < segment.merges; ++m, --top)
        isa_.add_to(sums + (top - 1) * level, sums + top * level, level);
      a += segment.depth * a_size_;
      b += segment.depth * kPanel * b_size_;
    }
    return top + 1;
  }

  /// What the tiles after this block's read: the panels beside it, or the next pass.
  const std::byte* next_block(const Work& work, const Pass& pass, int64_t p) const {
    if (p + isa_.tile_panels < work.panels) return weight_at(work.panel + p + isa_.tile_panels, pass.offset);
    return &pass == &passes_->passes.back() ? nullptr : weight_at(work.panel, pass.offset + pass.depth);
  }

  /// While rows r … of `rows` are computed, their share of the next block comes into the second-level cache.
  void prefetch_share(const std::byte* next, int64_t depth, int64_t r, int64_t rows) const {
    constexpr int64_t kLine = 64;
    const int64_t lines = depth * kPanel * b_size_ / kLine;  // of one panel
    const int64_t begin = lines * r / rows, end = lines * std::min(rows, r + isa_.tile_rows) / rows;
    for (int p = 0; p < isa_.tile_panels; ++p) {
      const std::byte* panel = next + p * layout_.panel_elements * b_size_;
      for (int64_t i = begin; i < end; ++i) __builtin_prefetch(panel + i * kLine, 0, 2);
    }
  }

  /// The slots of y where a tile will be written; they lie far apart, and a store that waits for its line
  /// holds up all.
  void prefetch_result(int64_t row, int rows, int64_t panel, int panels) const {
    for (int r = 0; r < rows; ++r) {
      const float* to = y_.row<float>(slab_row_ + row + r) + panel * kPanel;
      for (int p = 0; p < panels; ++p) __builtin_prefetch(to + p * kPanel, 1);
    }
  }

  void write(const float* sums, int outputs, int64_t row, int rows, int64_t panel, int panels) const {
    const int64_t col = panel * kPanel, cols = panels * kPanel, n = std::min(cols, w_.out - col);
    for (int o = 0; o < outputs; ++o) {
      for (int r = 0; r < rows; ++r, sums += cols) {
        float* to = y_.row<float>(o * x_.rows() + slab_row_ + row + r) + col;
        finish(to, sums, col, n);
      }
    }
  }

  /// n elements of a row of y, from column `col` on.
  void finish(float* to, const float* sums, int64_t col, int64_t n) const {
    const float* bias = end_.bias == nullptr ? nullptr : end_.bias + col;
    if (scales_ != nullptr) {
      for (int64_t i = 0; i < n; ++i) {
        const float value = sums[i] * scales_[col + i] + (bias == nullptr ? 0.0f : bias[i]);
        to[i] = end_.add ? to[i] + value : value;
      }
    } else if (bias == nullptr && !end_.add) {
      std::memcpy(to, sums, static_cast<size_t>(n) * sizeof(float));
    } else if (bias == nullptr) {
      for (int64_t i = 0; i < n; ++i) to[i] += sums[i];
    } else if (end_.add) {
      for (int64_t i = 0; i < n; ++i) to[i] += sums[i] + bias[i];
    } else {
      for (int64_t i = 0; i < n; ++i) to[i] = sums[i] + bias[i];
    }
  }

  ThreadPool& threads_;
  const Isa& isa_;
  MatmulScratch& scratch_;
  const Tensor y_, x_;
  const Matrix& w_;
  const Epilogue end_;
  const float* scales_;  // [out] of an e4m3 weight, else null
  const DType panels_;
  const PanelLayout layout_;
  const bool bf16_;
  const int64_t b_size_, a_size_;
  const int levels_;           // of the stack
  const int64_t tile_floats_;  // sums of one tile
  const Passes* passes_ = nullptr;
  TileKernel tile_ = nullptr;
  int64_t slab_row_ = 0, slab_rows_ = 0, slab_padded_ = 0;
};

void matmul(ThreadPool& threads, const Isa& isa, MatmulScratch& scratch, Tensor y, Tensor x, const Matrix& w,
            const Epilogue& end) {
  check(y, x, w, end);
  MatmulRun(threads, isa, scratch, y, x, w, end).run();
}

}  // namespace lapidary::cpu
