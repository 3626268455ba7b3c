#include "kernels/cuda/attention/prefill_choice.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/attention/attention_call.h"
#include "kernels/cuda/attention/kv_pages.h"
#include "kernels/cuda/probe/best_seconds.h"
#include "kernels/cuda/probe/probe.h"
#include "kernels/cuda/runtime/step_table.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {
namespace {

/// bfloat16 [rows, cols] in [-1, 1), on the device.
struct DummyRows {
  DummyRows(Stream stream, int64_t rows, int64_t cols, uint32_t seed)
      : memory(allocate(static_cast<size_t>(rows * cols) * 2)),
        tensor(view(memory.get(), DType::bf16, rows, cols)) {
    std::vector<uint16_t> numbers(static_cast<size_t>(rows * cols));
    for (size_t i = 0; i < numbers.size(); ++i) {
      const uint32_t word = probe_word(static_cast<uint32_t>(i) + seed);
      numbers[i] = to_bf16(static_cast<float>(static_cast<int32_t>(word)) * 0x1p-31f);
    }
    copy(stream, memory.get(), numbers.data(), numbers.size() * 2);
    synchronize(stream);
  }

  Buffer memory;
  Tensor tensor;
};

std::vector<uint16_t> fetched(Stream stream, const Tensor& from) {
  std::vector<uint16_t> numbers(static_cast<size_t>(from.rows() * from.cols()));
  copy(stream, numbers.data(), from.data, numbers.size() * 2);
  synchronize(stream);
  return numbers;
}

/// NaN where one of them is.
float largest_difference(const std::vector<uint16_t>& a, const std::vector<uint16_t>& b) {
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const float apart = std::fabs(from_bf16(a[i]) - from_bf16(b[i]));
    if (!(apart <= largest)) largest = apart;
    if (std::isnan(apart)) break;
  }
  return largest;
}

}  // namespace

PrefillTrial try_prefill(Stream stream, int64_t head_dim, int64_t rows, int64_t heads, float softcap,
                         int burst) {
  constexpr int64_t kGroup = 2, kAlone = 37;
  const KvShape shape{heads / kGroup, head_dim, DType::bf16};
  std::vector<int32_t> pages(static_cast<size_t>((rows + KvShape::kPageTokens - 1) / KvShape::kPageTokens));
  std::iota(pages.rbegin(), pages.rend(), 0);
  const Buffer kv = allocate(pages.size() * page_bytes(shape));
  const DummyRows q(stream, rows, heads * head_dim, 1), out(stream, rows, heads * head_dim, 2);
  const AttentionSpan span{0, rows, 0, std::max<int64_t>(rows - kAlone, 1), pages};
  StepTable table(1, static_cast<int64_t>(pages.size()), rows);
  table.upload(stream, {&span, 1});
  {
    const DummyRows k(stream, rows, shape.kv_heads * head_dim, 3), v(stream, rows, k.tensor.cols(), 4);
    store_kv(stream, kv.get(), shape, table, k.tensor, v.tensor);
    synchronize(stream);
  }
  AttentionArgs args;
  args.heads = heads;
  args.group = kGroup;
  // Scores of about ±3, so that a few keys decide a row: a wrong one shows.
  args.scale = 8 / std::sqrt(static_cast<float>(head_dim));
  args.softcap = softcap;
  const AttentionCall call(out.tensor, q.tensor, kv.get(), shape, table, args);
  PrefillTrial trial;
  trial.warps = best_seconds(stream, burst, [&] { attend_prefill(stream, call, table); });
  const std::vector<uint16_t> expected = fetched(stream, out.tensor);
  zero(stream, out.memory.get(), expected.size() * 2);
  trial.warpgroups = best_seconds(stream, burst, [&] { attend_prefill_by_warpgroups(stream, call, table); });
  trial.apart = largest_difference(expected, fetched(stream, out.tensor));
  return trial;
}

PrefillChoice::PrefillChoice(PrefillMode how, const DeviceInfo& device)
    : how_(how), warpgroups_(device.warpgroups), multiprocessors_(device.multiprocessors) {
  if (how == PrefillMode::warpgroups && !device.warpgroups)
    throw std::runtime_error(device.name + " has compute capability " + std::to_string(device.major) + "." +
                             std::to_string(device.minor) +
                             ", and only 9.0 has matrix products of warpgroups");
}

bool PrefillChoice::has_both(int64_t head_dim) const { return warpgroups_ && head_dim > kMaxNarrowHead; }

void PrefillChoice::make(Stream stream, int64_t head_dim, int burst) {
  if (how_ != PrefillMode::measured || !has_both(head_dim) || trials_.contains(head_dim)) return;
  // Tiles enough to fill the device a few times by either kernel; heads as wide together as the decoder's.
  const int64_t rows = 16 * multiprocessors_, heads = std::max<int64_t>(4096 / head_dim / 2 * 2, 2);
  try {
    // Of the models only the vision tower has narrow heads, and it has no soft-cap.
    trials_[head_dim] = try_prefill(stream, head_dim, rows, heads, head_dim > 72 ? 50.0f : 0.0f, burst);
  } catch (const std::runtime_error&) {
    trials_[head_dim] = {};  // no memory, most likely; a broken device says so again
  }
}

PrefillKernel PrefillChoice::of(int64_t head_dim) const {
  if (!has_both(head_dim)) return PrefillKernel::warps;
  if (how_ == PrefillMode::warpgroups) return PrefillKernel::warpgroups;
  const auto trial = trials_.find(head_dim);
  return trial != trials_.end() ? trial->second.better() : PrefillKernel::warps;
}

std::string PrefillChoice::told() const {
  std::string text;
  for (const auto& [head_dim, trial] : trials_) {
    if (trial.warps == 0) continue;
    char line[160];
    std::snprintf(line, sizeof line, "%sheads of %d by %s: %.3g ms, %.3g ms by warps",
                  text.empty() ? "" : "; ", static_cast<int>(head_dim),
                  trial.better() == PrefillKernel::warpgroups ? "warpgroups" : "warps, by warpgroups",
                  trial.warpgroups * 1e3, trial.warps * 1e3);
    text += line;
    if (!trial.agree()) text += ", and they disagree by " + std::to_string(trial.apart);
  }
  return text.empty() ? "" : ", prefill of " + text;
}

}  // namespace lapidary::cuda
