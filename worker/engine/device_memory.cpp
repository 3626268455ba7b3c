#include "worker/engine/device_memory.h"

#include <iomanip>
#include <optional>
#include <sstream>

#include "configs/error.h"

namespace lapidary {
namespace {

std::string gigabytes(size_t bytes) {
  std::ostringstream out;
  const auto value = static_cast<double>(bytes);
  if (value < 1e9) {
    out << std::fixed << std::setprecision(1) << value / 1e6 << " MB";
  } else {
    out << std::fixed << std::setprecision(1) << value / 1e9 << " GB";
  }
  return out.str();
}

/// Bytes with another layout, if there is one: what is not weights, KV pages or embeddings stays as large.
std::optional<size_t> need_with(const DeviceNeed& need, const EngineOptions& options, int tp,
                                const NeedOf& need_of) {
  try {
    const Memory other = need_of(options, tp);
    return other.weights + other.kv + other.embeddings + need.planned.workspace + need.lane + need.later;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string what_fits(const DeviceNeed& need, size_t free, const EngineOptions& options, int tp,
                      const NeedOf& need_of) {
  std::string found;
  for (int more = tp + 1; more <= 16 && found.empty(); ++more)
    if (const auto bytes = need_with(need, options, more, need_of); bytes && *bytes <= free)
      found = cat("--tp ", more, " fits (", gigabytes(*bytes), " a GPU)");
  EngineOptions fewer = options;
  for (fewer.max_num_seqs = options.max_num_seqs - 1; fewer.max_num_seqs > 0; --fewer.max_num_seqs)
    if (const auto bytes = need_with(need, fewer, tp, need_of); bytes && *bytes <= free)
      return cat(found, found.empty() ? "" : ", and so does ", "--max-num-seqs ", fewer.max_num_seqs,
                 found.empty() ? " fits" : "");
  return found.empty() ? "no --tp up to 16 and no --max-num-seqs would fit" : found;
}

}  // namespace

void check_device_memory(const DeviceNeed& need, size_t free, const std::string& gpu,
                         const EngineOptions& options, int tp, const NeedOf& need_of) {
  if (need.total() <= free) return;
  const Memory& planned = need.planned;
  fail("not enough GPU memory: this needs ", gigabytes(need.total()), " of each GPU (weights ",
       gigabytes(planned.weights), ", KV pages ", gigabytes(planned.kv), ", encoder cache slots ",
       gigabytes(planned.embeddings), ", activations ", gigabytes(planned.workspace),
       ", the vision lane's own ", gigabytes(need.lane), ", libraries ", gigabytes(need.later), "), but ",
       gpu, " has ", gigabytes(free), " free; ", what_fits(need, free, options, tp, need_of));
}

}  // namespace lapidary
