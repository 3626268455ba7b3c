#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/cpu/memory.h"
#include "kernels/cpu/pack.h"

namespace lapidary::cpu {
namespace {

// Sums of one piece of work (rows x columns x the stack of the plan) that a thread keeps, second-level cache
// size.
constexpr int64_t kSumFloats = (1 << 20) / 4;
// Columns of one piece of work: rows of x come from the third-level cache once for so many.
constexpr int64_t kItemPanels = 16;
// Chunks of rows that are converted together.
constexpr int64_t kSlabChunks = 4;
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

void check(Tensor y, Tensor x, const Matrix& w, const float* bias) {
  require(x.dtype == DType::f32 && y.dtype == DType::f32, "x and y are float32");
  require(x.cols() == w.in, "x " + shape_of(x) + " for a weight of inner size " + std::to_string(w.in));
  require(y.cols() == w.out && y.rows() == w.sums.outputs() * x.rows(),
          "y " + shape_of(y) + " for x " + shape_of(x) + " and " + std::to_string(w.sums.outputs()) +
              " outputs of size " + std::to_string(w.out));
  require(bias == nullptr || w.sums.outputs() == 1, "a bias goes with one output");
}

}  // namespace

MatmulScratch::MatmulScratch(const Isa& isa, int threads) : isa_(&isa) {
  const size_t bytes = static_cast<size_t>(kSumFloats) * sizeof(float);
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
  return operand_bytes_ + sums_.size() * static_cast<size_t>(kSumFloats) * sizeof(float);
}

/// One product. The operand scratch holds a slab of x block by block of the inner dimension: a block is
/// [rows][its depth], so that all that one pass over a block of the weight reads lies together.
class MatmulRun {
 public:
  MatmulRun(ThreadPool& threads, const Isa& isa, MatmulScratch& scratch, Tensor y, Tensor x, const Matrix& w,
            const float* bias)
      : threads_(threads),
        isa_(isa),
        scratch_(scratch),
        y_(y),
        x_(x),
        w_(w),
        bias_(bias),
        layout_(isa, w.out, w.dtype, w.sums),
        b_size_(static_cast<int64_t>(size_of(w.dtype))),
        a_dtype_(w.dtype == DType::bf16 ? isa.a_dtype : DType::f32),
        a_size_(static_cast<int64_t>(size_of(a_dtype_))),
        tile_(w.dtype == DType::bf16 ? isa.tile_bf16 : isa.tile_f32),
        depth_(stack_depth(w.sums, w.in)) {
    const int64_t padded = layout_.panel_elements / kPanel;
    const int64_t fitting =
        padded == 0 ? isa.tile_rows : static_cast<int64_t>(scratch.operand_bytes_) / (padded * a_size_);
    max_slab_ = std::min(fitting / isa.tile_rows * isa.tile_rows, kSlabChunks * isa.chunk_rows);
    require(max_slab_ > 0, "no scratch for an inner size of " + std::to_string(w.in) + " was reserved");
    require(depth_ * isa.tile_rows * isa.tile_panels * kPanel <= kSumFloats,
            "a plan that keeps " + std::to_string(depth_) + " sums");
  }

  void run() {
    const int64_t rows = x_.rows();
    if (rows == 0 || w_.out == 0) return;
    const int64_t slabs = parts_of(rows, max_slab_);
    const int64_t slab = round_up(parts_of(rows, slabs), isa_.tile_rows);
    for (int64_t r = 0; r < rows; r += slab) multiply_slab(r, std::min(slab, rows - r));
  }

 private:
  struct Work {  // rows of the slab and panels of the weight
    int64_t row, rows, panel, panels;
  };

  void multiply_slab(int64_t row, int64_t rows) {
    slab_row_ = row;
    slab_rows_ = rows;
    slab_padded_ = round_up(rows, isa_.row_step);
    const bool one_tile = rows <= isa_.tile_rows;
    block_ = one_tile ? w_.in + isa_.k_step : isa_.k_block * (w_.dtype == DType::f32 ? 1 : 2) / 2;
    convert_slab();
    // Few rows: the weight streams from memory, each thread through a range of its own.
    const bool narrow = rows <= std::max<int64_t>(isa_.tile_rows, 32);
    if (narrow) {
      threads_.run([&](int thread) {
        const auto part = ThreadPool::part_of(layout_.panels, 1, thread, threads_.size());
        multiply({0, rows, part.begin, part.end - part.begin}, isa_.tile_panels, thread);
      });
    } else {
      multiply_balanced(rows);
    }
  }

  /// Pieces of work are taken in turn: all threads are within one chunk of rows, and one that is held up
  /// takes fewer.
  void multiply_balanced(int64_t rows) {
    const int64_t item_panels = choose_item_panels();
    const int64_t most_rows = kSumFloats / (depth_ * item_panels * kPanel) / isa_.tile_rows * isa_.tile_rows;
    const int64_t limit = std::clamp<int64_t>(most_rows, isa_.tile_rows, isa_.chunk_rows);
    const int64_t chunk = round_up(parts_of(rows, parts_of(rows, limit)), isa_.tile_rows);
    const int64_t columns = parts_of(layout_.panels, item_panels), items = columns * parts_of(rows, chunk);
    std::atomic<int64_t> next{0};
    threads_.run([&](int thread) {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
        const int64_t first = i / columns * chunk, panel = i % columns * item_panels;
        multiply({first, std::min(chunk, rows - first), panel, std::min(item_panels, layout_.panels - panel)},
                 item_panels, thread);
      }
    });
  }

  int64_t choose_item_panels() const {
    const int64_t step = isa_.tile_panels;
    const int64_t fair = layout_.panels / (threads_.size() * 4) / step * step;
    const int64_t fitting = kSumFloats / (depth_ * isa_.chunk_rows * kPanel) / step * step;
    return std::clamp(std::min({kItemPanels, fair, fitting}), step, std::max(step, kItemPanels));
  }

  /// Depth of the block of a leaf of `leaf` elements that begins at `at`.
  int64_t block_depth(int64_t leaf, int64_t at) const { return std::min(block_, leaf - at); }

  void convert_slab() {
    const auto convert = [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) convert_row(r);
    };
    if (slab_rows_ * w_.in < kWorthForking) return convert(0, slab_rows_);
    threads_.parallel_for(slab_rows_, 1, convert);
  }

  void convert_row(int64_t r) {
    const float* from = x_.row<const float>(slab_row_ + r);
    std::byte* block = scratch_.operand_.get();
    for (int j = 0; j < w_.sums.leaves(); ++j) {
      const int64_t leaf = w_.sums.cuts[j + 1] - w_.sums.cuts[j], padded = padded_leaf(isa_, w_.dtype, leaf);
      for (int64_t at = 0; at < padded; at += block_) {
        const int64_t depth = block_depth(padded, at), n = std::clamp<int64_t>(leaf - at, 0, depth);
        std::byte* to = block + r * depth * a_size_;
        if (w_.dtype == DType::bf16) {
          isa_.to_operand(to, from, n);
        } else {
          std::memcpy(to, from, static_cast<size_t>(n * a_size_));
        }
        std::memset(to + n * a_size_, 0, static_cast<size_t>((depth - n) * a_size_));
        from += n;
        block += slab_padded_ * depth * a_size_;
      }
    }
  }

  /// All that one thread does of a piece of work, `at_once` panels at a time.
  void multiply(Work work, int64_t at_once, int thread) {
    isa_.enter();
    float* sums = reinterpret_cast<float*>(scratch_.sums_[static_cast<size_t>(thread)].get());
    const int64_t end = work.panel + work.panels;
    for (int64_t panel = work.panel; panel < end; panel += at_once) {
      sum_leaves({work.row, work.rows, panel, std::min(at_once, end - panel)}, sums);
    }
    isa_.leave();
  }

  /// The stack machine of SumPlan, for sums of work.rows x work.panels.
  void sum_leaves(Work work, float* sums) {
    const std::byte* block = scratch_.operand_.get();
    int64_t offset = 0;  // of the block within a panel, in steps of the inner dimension
    int top = -1;
    for (int j = 0; j < w_.sums.leaves(); ++j) {
      ++top;
      const int64_t leaf = padded_leaf(isa_, w_.dtype, w_.sums.cuts[j + 1] - w_.sums.cuts[j]);
      int64_t at = 0;
      do {  // once for an empty leaf too: its sum is zero
        const int64_t depth = block_depth(leaf, at);
        const bool last = at + depth >= leaf;
        Pass pass{work,
                  sums,
                  block,
                  offset,
                  depth,
                  top,
                  at > 0,
                  last ? w_.sums.merges[j] : 0,
                  last && j + 1 == w_.sums.leaves()};
        run_pass(pass);
        block += slab_padded_ * depth * a_size_;
        offset += depth;
        at += depth;
      } while (at < leaf);
      top -= w_.sums.merges[j];
    }
  }

  /// One block of the inner dimension.
  struct Pass {
    const Work& work;
    float* sums;
    const std::byte* block;
    int64_t offset, depth;
    int top;  // of the stack
    bool accumulate;
    int merges;   // to do once the block is added
    bool finish;  // and then write y
  };

  void run_pass(const Pass& pass) {
    const Work& work = pass.work;
    const int64_t level = work.rows * work.panels * kPanel;  // floats of one sum of the stack
    for (int64_t p = 0; p < work.panels; p += isa_.tile_panels) {
      const int panels = static_cast<int>(std::min<int64_t>(isa_.tile_panels, work.panels - p));
      const int64_t cols = panels * kPanel;
      const std::byte* b =
          w_.data.get() + ((work.panel + p) * layout_.panel_elements + pass.offset * kPanel) * b_size_;
      const std::byte* next = next_panels(pass, p);
      for (int64_t r = 0; r < work.rows; r += isa_.tile_rows) {
        if (next != nullptr) prefetch_share(next, pass.depth, r, work.rows);
        const int rows = static_cast<int>(std::min<int64_t>(isa_.tile_rows, work.rows - r));
        float* c = pass.sums + work.rows * p * kPanel + r * cols;  // of the bottom sum
        const std::byte* a = pass.block + (work.row + r) * pass.depth * a_size_;
        tile_(c + pass.top * level, cols, a, pass.depth, b, layout_.panel_elements, pass.depth, rows, panels,
              pass.accumulate);
        int top = pass.top;
        for (int m = 0; m < pass.merges; ++m, --top)
          isa_.add_to(c + (top - 1) * level, c + top * level, rows * cols);
        if (!pass.finish) continue;
        for (int o = 0; o <= top; ++o)
          write(c + o * level, o, work.row + r, rows, (work.panel + p) * kPanel, cols);
      }
    }
  }

  /// The block of the weight that the next tiles read: the panels beside it, or the next of the inner
  /// dimension.
  const std::byte* next_panels(const Pass& pass, int64_t p) const {
    const bool beside = p + isa_.tile_panels < pass.work.panels;
    const int64_t offset = pass.offset + (beside ? 0 : pass.depth);
    const int64_t panel = pass.work.panel + (beside ? p + isa_.tile_panels : 0);
    if (offset * kPanel >= layout_.panel_elements) return nullptr;
    return w_.data.get() + (panel * layout_.panel_elements + offset * kPanel) * b_size_;
  }

  /// While rows r … of `rows` are computed: a fair share of the next block is brought into the second-level
  /// cache.
  void prefetch_share(const std::byte* next, int64_t depth, int64_t r, int64_t rows) const {
    constexpr int64_t kLine = 64;
    const int64_t lines = depth * kPanel * b_size_ / kLine;  // of one panel
    const int64_t begin = lines * r / rows, end = lines * std::min(rows, r + isa_.tile_rows) / rows;
    for (int p = 0; p < isa_.tile_panels; ++p) {
      const std::byte* panel = next + p * layout_.panel_elements * b_size_;
      for (int64_t i = begin; i < end; ++i) __builtin_prefetch(panel + i * kLine, 0, 2);
    }
  }

  void write(const float* c, int output, int64_t row, int rows, int64_t col, int64_t cols) {
    const int64_t n = std::min(cols, w_.out - col);
    for (int r = 0; r < rows; ++r) {
      float* to = y_.row<float>(output * x_.rows() + slab_row_ + row + r) + col;
      const float* from = c + r * cols;
      if (bias_ == nullptr) {
        std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
      } else {
        for (int64_t i = 0; i < n; ++i) to[i] = from[i] + bias_[col + i];
      }
    }
  }

  ThreadPool& threads_;
  const Isa& isa_;
  MatmulScratch& scratch_;
  const Tensor y_, x_;
  const Matrix& w_;
  const float* bias_;
  const PanelLayout layout_;
  const int64_t b_size_;
  const DType a_dtype_;
  const int64_t a_size_;
  const TileKernel tile_;
  const int depth_;
  int64_t max_slab_ = 0;
  int64_t slab_row_ = 0, slab_rows_ = 0, slab_padded_ = 0, block_ = 0;
};

void matmul(ThreadPool& threads, const Isa& isa, MatmulScratch& scratch, Tensor y, Tensor x, const Matrix& w,
            const float* bias) {
  check(y, x, w, bias);
  MatmulRun(threads, isa, scratch, y, x, w, bias).run();
}

}  // namespace lapidary::cpu
