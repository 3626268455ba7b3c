#include "kernels/cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <new>
#include <stdexcept>
#include <utility>

#include "kernels/cpu/isa/attention_kernels.h"
#include "kernels/cpu/kv_pages.h"

namespace lapidary::cpu {
namespace {

constexpr int64_t kKeys = KvShape::kPageTokens;
static_assert(kKeys == ScorePage::kPageKeys);
// Rows of q that share a pass over the keys: their operands stay in the second-level cache.
constexpr int kBlockRows = 64;
// Keys of a page are computed in steps of two panels, a multiple of every k_step.
constexpr int kKeyStep = 32;

int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

}  // namespace

/// One thread's memory, cut up; every part starts on a cache line.
struct AttentionScratch::Piece {
  Piece(std::byte* memory, int64_t rows, int64_t head_dim) {
    const auto take = [&](int64_t floats) {
      std::byte* at = memory + bytes;
      bytes += static_cast<size_t>(round_up(floats, 16)) * sizeof(float);
      return at;
    };
    // Sized for float32; operands in bf16 use half of theirs.
    q = take(rows * round_up(head_dim, kKeyStep));
    weights = take(rows * kKeys);
    scores = reinterpret_cast<float*>(take(rows * kKeys));
    out = reinterpret_cast<float*>(take(rows * round_up(head_dim, kPanel)));
    sums = reinterpret_cast<float*>(take(rows * 16));
    row_max = reinterpret_cast<float*>(take(rows));
    seen = reinterpret_cast<int*>(take(rows * 2));
    visible = reinterpret_cast<KeyRange*>(take(rows * 4));
  }

  size_t bytes = 0;
  std::byte* q;        // [rows, q_stride], of Isa::a_dtype or float32
  std::byte* weights;  // [rows, kKeys], likewise
  float* scores;       // [rows, kKeys]
  float* out;          // [rows, value_panels * 16]
  float* sums;         // [rows, 16]
  float* row_max;      // [rows]
  int* seen;           // [rows, 2] of the page at hand
  KeyRange* visible;   // [rows] of the sequence
};

AttentionScratch::AttentionScratch(const Isa& isa, int threads, int64_t max_head_dim)
    : block_rows_(std::max(1, kBlockRows / isa.tile_rows) * isa.tile_rows),
      padded_rows_(static_cast<int>(round_up(block_rows_, isa.row_step))),
      memory_(static_cast<size_t>(threads)) {
  if (kKeyStep % isa.k_step != 0) throw std::logic_error("attention: k_step must divide 32");
  fit(max_head_dim);
}

void AttentionScratch::fit(int64_t head_dim) {
  if (head_dim <= max_head_dim_) return;
  max_head_dim_ = head_dim;
  thread_bytes_ = Piece(nullptr, padded_rows_, head_dim).bytes;
  constexpr std::align_val_t kLine{64};
  for (Buffer& buffer : memory_) {
    buffer =
        Buffer(new (kLine) std::byte[thread_bytes_](), [](std::byte* p) { ::operator delete[](p, kLine); });
  }
}

/// One call of attention(): what its items share.
class AttentionRun {
 public:
  AttentionRun(const Isa& isa, AttentionScratch& scratch, Tensor out, Tensor q, const std::byte* pages,
               const KvShape& shape, std::span<const AttentionSpan> spans, const AttentionArgs& args)
      : isa_(isa),
        scratch_(scratch),
        out_(out),
        q_(q),
        pages_(pages),
        layout_(isa, shape),
        spans_(spans),
        args_(args),
        bf16_(shape.dtype == DType::bf16),
        q_stride_(round_up(layout_.inner, kKeyStep)) {
    const bool narrow = bf16_ && isa.a_dtype == DType::bf16;
    kind_ = !bf16_ ? Weights::f32 : narrow ? Weights::bf16 : Weights::bf16_as_f32;
    operand_bytes_ = narrow ? sizeof(uint16_t) : sizeof(float);
    state_stride_ = layout_.value_panels * kPanel;
  }

  void run(ThreadPool& threads) {
    plan(threads.size());
    const auto items = static_cast<int64_t>(scratch_.items_.size());
    std::atomic<int64_t> next{0};
    const auto work = [&](int thread) {
      const Piece piece(scratch_.memory_[static_cast<size_t>(thread)].get(), scratch_.padded_rows_,
                        scratch_.max_head_dim_);
      isa_.enter();
      for (int64_t i; (i = next.fetch_add(1)) < items;)
        compute(scratch_.items_[static_cast<size_t>(i)], piece);
      isa_.leave();
    };
    if (items <= 1) return work(0);
    threads.run(work);
  }

 private:
  using Item = AttentionScratch::Item;
  using Piece = AttentionScratch::Piece;

  /// Keys that at least one row of an item sees, and those that all of them see.
  struct Visible {
    KeyRange by_any, by_all;
  };

  /// Local query heads [first, second) that read a KV head.
  std::pair<int64_t, int64_t> heads_of(int64_t kv_head) const {
    return {std::max<int64_t>(0, kv_head * args_.group - args_.head_offset),
            std::min(args_.heads, (kv_head + 1) * args_.group - args_.head_offset)};
  }

  /// Cuts the work, into smaller blocks where there would be too few for the threads. Blocks change no bit.
  void plan(int threads) {
    int64_t rows = scratch_.block_rows_;
    for (cut(rows); std::ssize(scratch_.items_) < 2 * threads && rows > isa_.tile_rows; cut(rows)) {
      rows = round_up(rows / 2, isa_.tile_rows);
    }
  }

  void cut(int64_t rows) {
    scratch_.items_.clear();
    for (int64_t s = 0; s < std::ssize(spans_); ++s) {
      const int64_t last_head = (args_.heads - 1 + args_.head_offset) / args_.group;
      for (int64_t kv = args_.head_offset / args_.group; kv <= last_head; ++kv) {
        const auto [first, last] = heads_of(kv);
        const int64_t pairs = spans_[static_cast<size_t>(s)].rows * (last - first);
        for (int64_t begin = 0; begin < pairs; begin += rows) {
          scratch_.items_.push_back({s, kv, begin, std::min(begin + rows, pairs)});
        }
      }
    }
  }

  /// Calls visit(i, row of the span, head) for the pairs of an item: the heads of a row lie side by side.
  template <class Visit>
  void for_pairs(const Item& item, const Visit& visit) const {
    const auto [first, last] = heads_of(item.kv_head);
    const int64_t heads = last - first;
    for (int64_t t = item.begin; t < item.end; ++t) visit(t - item.begin, t / heads, first + t % heads);
  }

  void compute(const Item& item, const Piece& piece) const {
    const AttentionSpan& span = spans_[static_cast<size_t>(item.span)];
    const auto rows = static_cast<int>(item.end - item.begin);
    const Visible keys = start(item, span, piece);
    const int64_t first = keys.by_any.begin / kKeys;
    for (int64_t page = first; page * kKeys < keys.by_any.end; ++page) {
      const std::byte* head = layout_.head(pages_, span.pages[static_cast<size_t>(page)], item.kv_head);
      add_page(piece, head, page * kKeys, keys, rows, page == first);
    }
    for_pairs(item, [&](int64_t i, int64_t row, int64_t head) {
      isa_.attention->divide(out_.row<float>(span.first_row + row) + head * layout_.head_dim,
                             piece.out + i * state_stride_, piece.sums + i * 16, layout_.head_dim);
    });
  }

  /// Loads the rows of q as operands and clears the state, but for `out`, which the first page sets.
  Visible start(const Item& item, const AttentionSpan& span, const Piece& piece) const {
    const int64_t rows = item.end - item.begin;
    std::fill_n(piece.sums, rows * 16, 0.0f);
    std::fill_n(piece.row_max, rows, -std::numeric_limits<float>::infinity());
    constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
    Visible keys{{kMax, 0}, {0, kMax}};
    for_pairs(item, [&](int64_t i, int64_t row, int64_t head) {
      const KeyRange sees =
          visible_keys(span.position + row, span.prefix, args_.window, args_.window_in_prefix);
      keys.by_any = {std::min(keys.by_any.begin, sees.begin), std::max(keys.by_any.end, sees.end)};
      keys.by_all = {std::max(keys.by_all.begin, sees.begin), std::min(keys.by_all.end, sees.end)};
      piece.visible[i] = sees;
      const float* q = q_.row<float>(span.first_row + row) + head * layout_.head_dim;
      std::byte* operand = piece.q + static_cast<size_t>(i * q_stride_) * operand_bytes_;
      if (bf16_) {
        isa_.to_operand(operand, q, layout_.head_dim);
      } else {
        std::copy_n(q, layout_.head_dim, reinterpret_cast<float*>(operand));
      }
      std::fill(operand + static_cast<size_t>(layout_.head_dim) * operand_bytes_,
                operand + static_cast<size_t>(layout_.inner) * operand_bytes_, std::byte{0});
    });
    return keys;
  }

  /// One page: scores, weights, and their share of the values. Keys behind the last that any row sees are
  /// left out by the 32, the others masked row by row.
  void add_page(const Piece& piece, const std::byte* head, int64_t first_key, const Visible& visible,
                int rows, bool first) const {
    const auto end = static_cast<int>(std::min(kKeys, visible.by_any.end - first_key));
    const auto keys = static_cast<int>(round_up(end, kKeyStep));
    product(piece.scores, kKeys, piece.q, q_stride_, head, kPanel * layout_.inner, layout_.inner, rows,
            keys / kPanel, false);
    const bool all_seen = visible.by_all.begin <= first_key && first_key + keys <= visible.by_all.end;
    for (int r = 0; r < rows && !all_seen; ++r) {
      const auto clip = [&](int64_t key) {
        return static_cast<int>(std::clamp<int64_t>(key - first_key, 0, keys));
      };
      piece.seen[2 * r] = clip(piece.visible[r].begin);
      piece.seen[2 * r + 1] = clip(piece.visible[r].end);
    }
    const ScorePage page{.scores = piece.scores,
                         .weights = piece.weights,
                         .kind = kind_,
                         .rows = rows,
                         .panels = static_cast<int>(keys / kPanel),
                         .seen = all_seen ? nullptr : piece.seen,
                         .scale = args_.scale,
                         .cap = args_.softcap};
    isa_.attention->softmax({piece.row_max, piece.sums, piece.out, state_stride_, state_stride_}, page);
    const size_t element = bf16_ ? sizeof(uint16_t) : sizeof(float);
    product(piece.out, state_stride_, piece.weights, kKeys,
            head + static_cast<size_t>(layout_.key_size) * element, kPanel * kKeys, keys, rows,
            layout_.value_panels, !first);
  }

  /// c [rows, panels * 16] (+)= a · b in calls of at most one tile; one group of panels for all rows, then
  /// the next.
  void product(float* c, int64_t c_stride, const std::byte* a, int64_t a_stride, const std::byte* b,
               int64_t panel_stride, int64_t k, int rows, int64_t panels, bool accumulate) const {
    const TileKernel tile = bf16_ ? isa_.tile_bf16 : isa_.tile_f32;
    const size_t element = bf16_ ? sizeof(uint16_t) : sizeof(float);
    // Groups of nearly one size: five panels are faster as 3 + 2 than as 4 + 1.
    const int64_t groups = (panels + isa_.tile_panels - 1) / isa_.tile_panels;
    int64_t p = 0;
    for (int64_t g = 0; g < groups; ++g) {
      const auto width = static_cast<int>((panels - p + groups - g - 1) / (groups - g));
      for (int r = 0; r < rows; r += isa_.tile_rows) {
        tile(c + r * c_stride + p * kPanel, c_stride, a + static_cast<size_t>(r * a_stride) * operand_bytes_,
             a_stride, b + static_cast<size_t>(p * panel_stride) * element, panel_stride, k,
             std::min(isa_.tile_rows, rows - r), width, accumulate);
      }
      p += width;
    }
  }

  const Isa& isa_;
  AttentionScratch& scratch_;
  Tensor out_, q_;
  const std::byte* pages_;
  PageLayout layout_;
  std::span<const AttentionSpan> spans_;
  const AttentionArgs& args_;
  bool bf16_;  // the cache
  int64_t q_stride_;
  Weights kind_;
  size_t operand_bytes_;
  int64_t state_stride_;
};

void attention(ThreadPool& threads, const Isa& isa, AttentionScratch& scratch, Tensor out, Tensor q,
               const std::byte* pages, const KvShape& shape, std::span<const AttentionSpan> spans,
               const AttentionArgs& args) {
  const bool heads = args.heads > 0 && args.group > 0 && args.head_offset >= 0 &&
                     (args.heads - 1 + args.head_offset) / args.group < shape.kv_heads;
  if (!heads) throw std::logic_error("attention: a query head's KV head lies outside the cache");
  if (!(args.scale > 0) || !(args.softcap >= 0) || args.window < 0) {
    throw std::logic_error("attention: scale must be above 0, softcap and window 0 or more");
  }
  if (q.dtype != DType::f32 || out.dtype != DType::f32 || q.shape != out.shape ||
      q.cols() != args.heads * shape.head_dim) {
    throw std::logic_error("attention: q and out must be float32 [rows, heads * head_dim]");
  }
  for (const AttentionSpan& span : spans) check_span(span, q.rows());
  scratch.fit(shape.head_dim);
  AttentionRun(isa, scratch, out, q, pages, shape, spans, args).run(threads);
}

}  // namespace lapidary::cpu
