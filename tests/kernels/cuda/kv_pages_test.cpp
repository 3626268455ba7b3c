#include "kernels/cuda/attention/kv_pages.h"

#include "tests/kernels/cuda/attention_device.h"

namespace lapidary::cuda {
namespace {

/// The pages as they must be: tokens [begin, end) of the sequence rounded and padded with zeros, all else as
/// AttentionDevice filled it.
std::vector<std::byte> expected_pages(const AttentionCase& c, const Sequence& s, size_t bytes, int64_t begin,
                                      int64_t end) {
  std::vector<std::byte> want(bytes, std::byte{0xff});
  const PageLayout layout(c.shape);
  const size_t size = size_of(c.shape.dtype);
  for (int64_t t = begin; t < end; ++t)
    for (int64_t head = 0; head < c.shape.kv_heads; ++head)
      for (const Rows* part : {&s.k, &s.v}) {
        std::byte* row = layout.keys(want.data(), s.pages[static_cast<size_t>(t / 64)], head) +
                         (part == &s.v ? layout.tile_bytes : 0) +
                         t % 64 * layout.row * static_cast<int64_t>(size);
        for (int64_t n = 0; n < layout.row; ++n) {
          const float x = n < c.shape.head_dim ? part->at(t, head * c.shape.head_dim + n) : 0.0f;
          const uint32_t bits = size == 2 ? to_bf16(x) : std::bit_cast<uint32_t>(x);
          std::memcpy(row + static_cast<size_t>(n) * size, &bits, size);
        }
      }
  return want;
}

TEST(CudaKvPages, NewTokensAreStoredAndNothingElse) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const int64_t head_dim : {1, 16, 20, 72})
      for (const auto& [begin, rows] : {std::pair{2, 130}, {61, 1}, {62, 3}, {64, 64}, {66, 65}}) {
        SCOPED_TRACE(std::string(name_of(dtype)) + ", head_dim " + std::to_string(head_dim));
        const AttentionCase c = make_case(dtype, head_dim, 2, 1, 2);
        Sequence s(c, 150, 100, 5);
        AttentionDevice device(c, {&s}, head_dim % 8 == 0 ? kEven : kOdd);
        // The span's rows begin at row 2 of the tensors.
        const AttentionSpan span{2, rows, begin, 0, s.pages};
        device.store({&span, 1}, slice(s.k, begin - 2, 150), slice(s.v, begin - 2, 150));
        const std::vector<std::byte> memory = device.page_memory();
        EXPECT_TRUE(memory == expected_pages(c, s, memory.size(), begin, begin + rows));
      }
}

TEST(CudaKvPages, RowsOfAPageAreAligned) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (int64_t head_dim = 1; head_dim <= 256; ++head_dim) {
      const PageLayout layout(KvShape{3, head_dim, dtype});
      EXPECT_EQ(static_cast<size_t>(layout.row) * size_of(dtype) % 16, 0u);
      EXPECT_GE(layout.row, head_dim);
      EXPECT_EQ(layout.page_bytes, 3 * 2 * 64 * layout.row * static_cast<int64_t>(size_of(dtype)));
    }
}

TEST(CudaStepTable, SplitsDependOnTheLengthAlone) {
  int64_t most = 0;
  for (int64_t tokens = 1; tokens <= 40000; ++tokens) {
    const int64_t pages = (tokens + 63) / 64, each = StepTable::pages_per_split(tokens);
    const int64_t splits = (pages + each - 1) / each;
    most = std::max(most, splits);
    ASSERT_LE(splits, StepTable::kMaxSplits);
    ASSERT_LE(most, StepTable::max_splits(tokens));  // also of all shorter ones
  }
}

template <class T>
std::vector<T> read(const T* from, int32_t count) {
  std::vector<T> result(static_cast<size_t>(count));
  copy(kStream, result.data(), from, result.size() * sizeof(T));
  synchronize(kStream);
  return result;
}

TEST(CudaStepTable, ListsSpansTilesAndSplits) {
  const std::vector<int32_t> first{5, 3}, second{7, 9, 1};
  const std::vector<AttentionSpan> spans{
      {10, 33, 30, 20, first}, {0, 0, 0, 0, {}}, {4, 1, 129, 8, second}, {43, 1, 3, 100, first}};
  StepTable table(4, 7, 64);
  table.upload(kStream, spans);
  const StepView view = table.view();
  EXPECT_EQ(table.end_row(), 44);
  EXPECT_EQ(table.decode_blocks(), 5);
  const StepCounts counts = read(view.counts, 1)[0];
  ASSERT_EQ(counts.tiles, 5);
  ASSERT_EQ(counts.prefills, 1);
  ASSERT_EQ(counts.decodes, 2);
  ASSERT_EQ(counts.splits, 5);
  EXPECT_THAT(read(view.pages, 7), testing::ElementsAre(5, 7, 9, 1, 5, 3, 0)) << "only pages that are used";
  const auto listed = read(view.spans, 3);
  EXPECT_EQ(listed[1].first_page, 1);
  EXPECT_EQ(listed[1].tokens, 130);
  EXPECT_EQ(listed[2].tokens, 100);
  const auto tiles = read(view.tiles, 5);
  EXPECT_EQ(tiles[2].span, 0);
  EXPECT_EQ(tiles[2].first_row, 32);
  const auto decodes = read(view.decodes, 2);
  EXPECT_EQ(decodes[1].first_split, 3);
  EXPECT_EQ(decodes[1].splits, 2);
  const auto splits = read(view.splits, 5);
  EXPECT_EQ(splits[4].decode, 1);
  EXPECT_EQ(splits[4].first_page, 1);
}

TEST(CudaStepTable, WhatDoesNotFitIsRefusedAndChangesNothing) {
  const std::vector<int32_t> pages{1, 2}, negative{1, -1};
  StepTable table(2, 3, 100);
  const AttentionSpan good{0, 5, 0, 5, pages};
  for (int i = 0; i < 20; ++i) table.upload(kStream, {&good, 1});
  const auto refused = [&](std::vector<AttentionSpan> spans) {
    EXPECT_THROW(table.upload(kStream, spans), std::logic_error);
    EXPECT_EQ(table.end_row(), 5);
    EXPECT_EQ(table.counts().tiles, 1);
    EXPECT_EQ(read(table.view().spans, 1)[0].rows, 5);
  };
  refused({good, good, good});
  refused({{0, 128, 0, 0, pages}});
  refused({{0, 2, 126, 0, pages}, {0, 2, 126, 0, pages}});
  refused({{0, 2, 127, 0, pages}});
  refused({{0, 2, 0, 129, pages}});
  refused({{-1, 2, 0, 0, pages}});
  refused({{0, 2, -1, 0, pages}});
  refused({{0, 2, 64, 0, negative}});
  EXPECT_THROW(StepTable(0, 1, 1), std::logic_error);
}

}  // namespace
}  // namespace lapidary::cuda
