#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/attention/attention_call.h"
#include "tests/kernels/attention_cases.h"

namespace lapidary::cuda {

inline constexpr Stream kStream{};

/// Rows on the device, as float32 or bfloat16, `gap` elements behind each; 0xff where nothing was written.
class DeviceRows {
 public:
  DeviceRows(int64_t rows, int64_t cols, DType dtype, int64_t gap)
      : bytes_(static_cast<size_t>(rows * (cols + gap)) * size_of(dtype)),
        buffer_(allocate(bytes_)),
        tensor_{buffer_.get(), dtype, {rows, cols}, cols + gap} {
    const std::vector<std::byte> filled(bytes_, std::byte{0xff});
    copy(kStream, buffer_.get(), filled.data(), bytes_);
    synchronize(kStream);
  }
  DeviceRows(const Rows& from, DType dtype, int64_t gap) : DeviceRows(from.rows(), from.cols(), dtype, gap) {
    std::vector<std::byte> host(bytes_, std::byte{0xff});
    for (int64_t r = 0; r < from.rows(); ++r)
      for (int64_t c = 0; c < from.cols(); ++c) {
        const auto at = static_cast<size_t>(r * tensor_.stride + c);
        const uint16_t narrow = to_bf16(from.at(r, c));
        if (dtype == DType::f32)
          std::memcpy(host.data() + at * 4, from.row(r) + c, 4);
        else
          std::memcpy(host.data() + at * 2, &narrow, 2);
      }
    copy(kStream, buffer_.get(), host.data(), bytes_);
    synchronize(kStream);
  }

  Tensor tensor() const { return tensor_; }
  std::vector<std::byte> bytes() const {
    std::vector<std::byte> host(bytes_);
    copy(kStream, host.data(), buffer_.get(), bytes_);
    synchronize(kStream);
    return host;
  }
  /// As float32; a gap that was written to fails the test.
  Rows rows() const {
    const std::vector<std::byte> host = bytes();
    Rows result(tensor_.rows(), tensor_.cols());
    const size_t size = size_of(tensor_.dtype);
    for (int64_t r = 0; r < tensor_.rows(); ++r)
      for (int64_t c = 0; c < tensor_.stride; ++c) {
        const std::byte* at = host.data() + static_cast<size_t>(r * tensor_.stride + c) * size;
        uint32_t bits = 0;
        std::memcpy(reinterpret_cast<std::byte*>(&bits) + (4 - size), at, size);
        if (c < tensor_.cols())
          result.at(r, c) = std::bit_cast<float>(bits);
        else
          EXPECT_EQ(bits >> 16, 0xffffu) << "behind row " << r;
      }
    return result;
  }

 private:
  size_t bytes_;
  Buffer buffer_;
  Tensor tensor_;
};

/// How tensors lie in memory: aligned to 16 bytes or not.
struct Activations {
  DType dtype = DType::f32;
  int64_t gap = 0;
};
inline constexpr Activations kOdd{DType::f32, 5}, kEven{DType::f32, 8}, kNarrow{DType::bf16, 8},
    kNarrowOdd{DType::bf16, 3};

/// The kernels of a prefill that this device runs. An emulated one names only the first its own, so that
/// nobody else measures there which is faster.
inline std::vector<PrefillKernel> prefill_kernels() {
  const DeviceInfo device = device_info();
  if (device.warpgroups || device.name == "emulated")
    return {PrefillKernel::warps, PrefillKernel::warpgroups};
  return {PrefillKernel::warps};
}

/// A rank's cache, full of NaNs, and the tables of a step.
class AttentionDevice {
 public:
  AttentionDevice(const AttentionCase& c, std::vector<Sequence*> sequences, Activations activations = kOdd)
      : c_(c), as_(activations), count_(3) {
    int64_t most = 0;
    for (const Sequence* s : sequences) {
      count_ += s->pages.size();
      most = std::max(most, s->tokens());
    }
    std::vector<int32_t> order(count_);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(7));
    size_t next = 0;
    for (Sequence* s : sequences)
      for (int32_t& page : s->pages) page = order[next++];
    pages_ = allocate(count_ * page_bytes(c.shape));
    const std::vector<std::byte> filled(count_ * page_bytes(c.shape), std::byte{0xff});
    copy(kStream, pages_.get(), filled.data(), filled.size());
    synchronize(kStream);
    table_.emplace(8, static_cast<int64_t>(count_), 8192);
    scratch_.emplace(16, c.args.heads, c.shape.head_dim, std::max<int64_t>(most, 4096));
  }

  void store(std::span<const AttentionSpan> spans, const Rows& k, const Rows& v) {
    const DeviceRows keys(k, as_.dtype, as_.gap), values(v, as_.dtype, as_.gap);
    table_->upload(kStream, spans);
    store_kv(kStream, pages_.get(), c_.shape, *table_, keys.tensor(), values.tensor());
    synchronize(kStream);
  }
  /// Tokens [0, tokens) of a sequence.
  void store(const Sequence& s, int64_t tokens) {
    const AttentionSpan span{0, tokens, 0, std::min(s.prefix, tokens), s.pages};
    store({&span, 1}, s.k, s.v);
  }
  Rows attend(std::span<const AttentionSpan> spans, const Rows& q, DecodeCapacity capacity = {}) {
    const DeviceRows queries(q, as_.dtype, as_.gap);
    DeviceRows out(q.rows(), q.cols(), out_dtype, as_.gap);
    table_->upload(kStream, spans, capacity);
    if (plain)
      attend_plain(kStream,
                   AttentionCall(out.tensor(), queries.tensor(), pages_.get(), c_.shape, *table_, c_.args),
                   c_.shape.dtype, *table_);
    else
      attention(kStream, *scratch_, out.tensor(), queries.tensor(), pages_.get(), c_.shape, *table_, c_.args,
                prefill, multiprocessors);
    synchronize(kStream);
    return out.rows();
  }
  Rows attend(const AttentionSpan& span, const Rows& q) { return attend({&span, 1}, q); }

  std::vector<std::byte> page_memory() const {
    std::vector<std::byte> host(count_ * page_bytes(c_.shape));
    copy(kStream, host.data(), pages_.get(), host.size());
    synchronize(kStream);
    return host;
  }
  StepTable& table() { return *table_; }

  bool plain = false;  // use the plain kernel whatever the cache
  PrefillKernel prefill = PrefillKernel::warps;
  int multiprocessors = 0;
  DType out_dtype = DType::f32;

 private:
  const AttentionCase& c_;
  Activations as_;
  size_t count_;
  Buffer pages_;
  std::optional<StepTable> table_;
  std::optional<AttentionScratch> scratch_;
};

inline AttentionCase make_case(DType dtype, int64_t head_dim, int64_t kv_heads, int64_t group, int64_t heads,
                               int64_t head_offset = 0) {
  AttentionCase c;
  c.shape = {kv_heads, head_dim, dtype};
  c.args.heads = heads;
  c.args.group = group;
  c.args.head_offset = head_offset;
  c.args.scale = 1 / std::sqrt(static_cast<float>(head_dim));
  return c;
}

inline Rows slice(const Rows& from, int64_t begin, int64_t end) {
  Rows to(end - begin, from.cols());
  for (int64_t r = begin; r < end; ++r)
    for (int64_t c = 0; c < from.cols(); ++c) to.at(r - begin, c) = from.at(r, c);
  return to;
}

/// One sequence of a step: its last tokens - position rows are new.
struct Part {
  int64_t tokens, prefix, position;
};

/// A step of several sequences with histories of their own.
struct Step {
  Step(const AttentionCase& c, const std::vector<Part>& parts_, uint32_t seed = 1) : parts(parts_) {
    for (const Part& p : parts) {
      sequences.emplace_back(c, p.tokens, p.prefix, seed += 10);
      rows += p.tokens - p.position;
    }
    q.emplace(rows, c.args.heads * c.shape.head_dim);
    int64_t row = 0;
    for (size_t i = 0; i < parts.size(); ++i)
      for (int64_t t = parts[i].position; t < parts[i].tokens; ++t, ++row)
        for (int64_t n = 0; n < q->cols(); ++n) q->at(row, n) = sequences[i].q.at(t, n);
  }
  std::vector<Sequence*> all() {
    std::vector<Sequence*> result;
    for (Sequence& s : sequences) result.push_back(&s);
    return result;
  }
  std::vector<AttentionSpan> spans() const {
    std::vector<AttentionSpan> result;
    int64_t row = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      const int64_t fresh = parts[i].tokens - parts[i].position;
      result.push_back(sequences[i].span(row, fresh, parts[i].position));
      row += fresh;
    }
    return result;
  }

  std::vector<Part> parts;
  std::vector<Sequence> sequences;
  int64_t rows = 0;
  std::optional<Rows> q;
};

inline const std::vector<Part> kRagged{{1, 1, 0},    {65, 65, 0},  {98, 70, 97},
                                       {131, 33, 1}, {64, 64, 63}, {70, 64, 6}};

/// Runs the step, by each kernel of a prefill, and compares every `stride`-th row of each span, and its last.
inline void check_step(const AttentionCase& c, const std::vector<Part>& parts = kRagged,
                       Activations as = kOdd, bool plain = false, int64_t stride = 3) {
  Step step(c, parts);
  AttentionDevice device(c, step.all(), as);
  device.plain = plain;
  for (const Sequence& s : step.sequences) device.store(s, s.tokens());
  const std::vector<AttentionSpan> spans = step.spans();
  const bool prefills = std::ranges::any_of(spans, [](const AttentionSpan& span) { return span.rows > 1; });
  for (const PrefillKernel kernel :
       plain || !prefills ? std::vector{PrefillKernel::warps} : prefill_kernels()) {
    SCOPED_TRACE(kernel == PrefillKernel::warps ? "by warps" : "by warpgroups");
    device.prefill = kernel;
    const Rows out = device.attend(spans, *step.q);
    for (size_t i = 0; i < spans.size(); ++i) {
      const AttentionSpan& span = spans[i];
      for (int64_t r = 0; r < span.rows; r += r + 1 < span.rows ? std::min(stride, span.rows - 1 - r) : 1) {
        expect_rows(c, step.sequences[i], out, span.first_row + r, span.position + r, span.position + r + 1);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace lapidary::cuda
