#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/runtime/device.h"

namespace lapidary::cuda {

/// The spans of one step as kernels read them: plain numbers in device memory. Rows, tokens and lists are
/// counted in int32.
struct StepSpan {
  int32_t first_row, rows, position, prefix;
  int32_t first_page;  // its pages' place in StepView::pages
  int32_t tokens;      // in its pages when the step's rows are stored
};

/// Up to StepTable::kTileRows consecutive rows of a span.
struct RowTile {
  int32_t span, first_row;  // first_row: of the span's own rows
};

/// A span of several rows.
struct PrefillSpan {
  int32_t span, rows;
};

/// A span of one row; its keys are shared out over `splits` blocks.
struct DecodeSpan {
  int32_t span, first_split, splits;
};

struct DecodeSplit {
  int32_t decode;             // its place in StepView::decodes
  int32_t first_page, pages;  // pages [first_page, first_page + pages) of the sequence
};

struct StepCounts {
  int32_t tiles, prefills, decodes, splits;
};

/// Addresses in device memory, the same for every step of a table.
struct StepView {
  const StepCounts* counts;
  const StepSpan* spans;
  const RowTile* tiles;  // of all spans
  const PrefillSpan* prefills;
  const DecodeSpan* decodes;
  const DecodeSplit* splits;
  const int32_t* pages;
};

/// The least that the grids of a decode are sized for. A graph that was captured after an upload with this
/// capacity can be replayed after any later upload that needs no more.
struct DecodeCapacity {
  int64_t spans = 0;
  int64_t tokens = 0;  // of the longest sequence
};

/// One step's spans on the device. Memory is taken in the constructor only.
class StepTable {
 public:
  static constexpr int64_t kTileRows = 16;
  /// The largest number of splits of one span.
  static constexpr int64_t kMaxSplits = 64;
  /// Uploads that may wait in the stream at once; one more waits for the first of them.
  static constexpr size_t kUploads = 8;

  /// max_pages, max_rows: of all spans of a step together.
  StepTable(int64_t max_spans, int64_t max_pages, int64_t max_rows);
  ~StepTable();
  StepTable(const StepTable&) = delete;

  /// Copies the spans to the device, in the order of the stream; the caller's memory is free on return.
  /// Throws std::logic_error, and leaves the table as it was, where they don't fit or contradict themselves.
  void upload(Stream stream, std::span<const AttentionSpan> spans, DecodeCapacity capacity = {});

  /// Blocks that share out the keys of a decode over a sequence of `tokens`. A pure function, so that the
  /// sums of a row don't depend on what else is in the step.
  static int64_t pages_per_split(int64_t tokens);
  static int64_t max_splits(int64_t tokens);

  StepView view() const { return view_; }
  const StepCounts& counts() const { return counts_; }
  std::span<const PrefillSpan> prefills() const { return prefills_; }
  int64_t end_row() const { return end_row_; }               // behind the last row of q, k, v, out
  int64_t decode_blocks() const { return split_capacity_; }  // splits that a grid is sized for
  int64_t decode_spans() const { return decode_capacity_; }  // spans that a grid is sized for
  int64_t max_splits() const { return max_pages_; }          // of a step
  size_t bytes() const { return bytes_; }                    // on the device

 private:
  struct Parts;
  class Writer;

  int64_t max_spans_, max_pages_, max_tiles_, max_rows_;
  size_t bytes_ = 0;
  Buffer device_;
  std::array<Buffer, kUploads> pinned_;
  std::array<Event, kUploads> copied_;  // each pinned copy, to the device
  size_t next_ = 0;
  StepView view_{};
  StepCounts counts_{};
  std::vector<PrefillSpan> prefills_;
  int64_t end_row_ = 0, split_capacity_ = 0, decode_capacity_ = 0;
};

}  // namespace lapidary::cuda
