#include "kernels/cuda/runtime/step_table.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace lapidary::cuda {
namespace {

constexpr int64_t kTokens = KvShape::kPageTokens;

int64_t pages_of(int64_t tokens) { return (tokens + kTokens - 1) / kTokens; }

/// Tokens in the pages of a span when its rows are stored. Rows may be fewer than the prefix, when all its
/// keys are already stored.
int64_t tokens_of(const AttentionSpan& span) { return std::max(span.position + span.rows, span.prefix); }

void check_span(const AttentionSpan& span) {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max() - kTokens;
  if (span.rows < 0 || span.first_row < 0 || span.first_row > kMax - span.rows)
    throw std::logic_error("a span's rows lie outside the tensor");
  if (span.position < 0 || span.position > kMax - span.rows || span.prefix > kMax ||
      tokens_of(span) > static_cast<int64_t>(span.pages.size()) * kTokens)
    throw std::logic_error("a span has too few pages for its tokens");
  const auto used = span.pages.first(static_cast<size_t>(pages_of(tokens_of(span))));
  if (std::any_of(used.begin(), used.end(), [](int32_t page) { return page < 0; }))
    throw std::logic_error("a span's page has a number below 0");
}

}  // namespace

/// Offsets in bytes, on the device and in each pinned copy of it. The pages are last: a copy ends behind
/// those that are used.
struct StepTable::Parts {
  Parts(int64_t max_spans, int64_t max_tiles, int64_t max_pages) {
    const auto take = [&](int64_t count, size_t size) {
      const size_t at = bytes;
      bytes += (static_cast<size_t>(count) * size + 15) / 16 * 16;
      return at;
    };
    counts = take(1, sizeof(StepCounts));
    spans = take(max_spans, sizeof(StepSpan));
    tiles = take(max_tiles, sizeof(RowTile));
    prefills = take(max_spans, sizeof(PrefillSpan));
    decodes = take(max_spans, sizeof(DecodeSpan));
    splits = take(max_pages, sizeof(DecodeSplit));
    pages = take(max_pages, sizeof(int32_t));
  }

  template <class T>
  static T* at(std::byte* base, size_t offset) {
    return reinterpret_cast<T*>(base + offset);
  }

  size_t counts, spans, tiles, prefills, decodes, splits, pages, bytes = 0;
};

/// Fills a pinned copy of the table.
class StepTable::Writer {
 public:
  Writer(std::byte* to, const Parts& parts)
      : spans_(Parts::at<StepSpan>(to, parts.spans)),
        tiles_(Parts::at<RowTile>(to, parts.tiles)),
        prefills_(Parts::at<PrefillSpan>(to, parts.prefills)),
        decodes_(Parts::at<DecodeSpan>(to, parts.decodes)),
        splits_(Parts::at<DecodeSplit>(to, parts.splits)),
        pages_(Parts::at<int32_t>(to, parts.pages)) {}

  void add(const AttentionSpan& span) {
    if (span.rows == 0) return;
    const auto small = [](int64_t n) { return static_cast<int32_t>(n); };
    const int32_t index = span_count_++;
    spans_[index] = {small(span.first_row), small(span.rows), small(span.position),
                     small(span.prefix),    page_count_,      small(tokens_of(span))};
    for (int64_t r = 0; r < span.rows; r += kTileRows) tiles_[counts.tiles++] = {index, small(r)};
    if (span.rows > 1) {
      prefills_[counts.prefills++] = {index, small(span.rows)};
    } else {
      add_splits(index, visible_keys(span.position, span.prefix, 0, false).end);
    }
    const int64_t pages = pages_of(tokens_of(span));
    std::copy_n(span.pages.begin(), pages, pages_ + page_count_);
    page_count_ += small(pages);
  }

  StepCounts counts{};
  int32_t page_count() const { return page_count_; }
  std::span<const PrefillSpan> prefills() const { return {prefills_, static_cast<size_t>(counts.prefills)}; }

 private:
  void add_splits(int32_t span, int64_t tokens) {
    const auto each = static_cast<int32_t>(pages_per_split(tokens));
    const auto pages = static_cast<int32_t>(pages_of(tokens));
    const int32_t index = counts.decodes++;
    DecodeSpan& decode = decodes_[index] = {span, counts.splits, 0};
    for (int32_t p = 0; p < pages; p += each, ++decode.splits)
      splits_[counts.splits++] = {index, p, std::min(each, pages - p)};
  }

  StepSpan* spans_;
  RowTile* tiles_;
  PrefillSpan* prefills_;
  DecodeSpan* decodes_;
  DecodeSplit* splits_;
  int32_t* pages_;
  int32_t span_count_ = 0, page_count_ = 0;
};

StepTable::StepTable(int64_t max_spans, int64_t max_pages, int64_t max_rows)
    : max_spans_(max_spans),
      max_pages_(max_pages),
      max_tiles_(max_rows / kTileRows + max_spans),
      max_rows_(max_rows) {
  if (max_spans <= 0 || max_pages <= 0 || max_rows <= 0)
    throw std::logic_error("StepTable: room for spans, pages and rows must be above 0");
  const Parts parts(max_spans_, max_tiles_, max_pages_);
  bytes_ = parts.bytes;
  device_ = allocate(bytes_);
  for (Buffer& buffer : pinned_) buffer = allocate_pinned(bytes_);
  for (Event& event : copied_) event = make_event();
  std::byte* base = device_.get();
  view_ = {Parts::at<StepCounts>(base, parts.counts),  Parts::at<StepSpan>(base, parts.spans),
           Parts::at<RowTile>(base, parts.tiles),      Parts::at<PrefillSpan>(base, parts.prefills),
           Parts::at<DecodeSpan>(base, parts.decodes), Parts::at<DecodeSplit>(base, parts.splits),
           Parts::at<int32_t>(base, parts.pages)};
  prefills_.reserve(static_cast<size_t>(max_spans));
}

StepTable::~StepTable() {
  for (const Event event : copied_) destroy(event);
}

int64_t StepTable::pages_per_split(int64_t tokens) { return 1 + pages_of(tokens) / kMaxSplits; }

int64_t StepTable::max_splits(int64_t tokens) { return std::min(pages_of(tokens), kMaxSplits); }

void StepTable::upload(Stream stream, std::span<const AttentionSpan> spans, DecodeCapacity capacity) {
  int64_t rows = 0, pages = 0, end_row = 0;
  for (const AttentionSpan& span : spans) {
    check_span(span);
    rows += span.rows;
    pages += pages_of(tokens_of(span));
    end_row = std::max(end_row, span.first_row + span.rows);
  }
  if (std::ssize(spans) > max_spans_ || pages > max_pages_ || rows > max_rows_)
    throw std::logic_error("StepTable: more spans, pages or rows than it has room for");

  const Parts parts(max_spans_, max_tiles_, max_pages_);
  const size_t turn = next_++ % kUploads;
  wait(copied_[turn]);
  std::byte* to = pinned_[turn].get();
  Writer writer(to, parts);
  for (const AttentionSpan& span : spans) writer.add(span);
  *Parts::at<StepCounts>(to, parts.counts) = writer.counts;
  copy(stream, device_.get(), to, parts.pages + static_cast<size_t>(writer.page_count()) * sizeof(int32_t));
  record(copied_[turn], stream);

  counts_ = writer.counts;
  prefills_.assign(writer.prefills().begin(), writer.prefills().end());
  end_row_ = end_row;
  decode_capacity_ = std::max<int64_t>(counts_.decodes, capacity.spans);
  split_capacity_ =
      std::max<int64_t>(counts_.splits, std::min(capacity.spans * max_splits(capacity.tokens), max_pages_));
}

}  // namespace lapidary::cuda
