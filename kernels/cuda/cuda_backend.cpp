#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "kernels/cuda/matmul/loader.h"
#include "kernels/cuda/rows/row_ops.h"
#include "kernels/cuda/runtime/pinned_readback.h"
#include "kernels/cuda/runtime/require.h"

namespace lapidary::cuda {
namespace {

constexpr size_t kStagingBytes = size_t{1} << 20;
constexpr int64_t kVisionHead = 72;  // a lane of both towers reserves room for the wider heads, the decoder's
constexpr int kOldest = 8;           // compute capability: what the kernels' instructions need
/// Shared memory of a block: what the cards of data centres give, and the widest kernels take most of.
constexpr size_t kMinSharedMemory = size_t{160} << 10;

int chosen(int device) {
  const int count = device_count();
  if (count == 0) throw std::runtime_error(why_no_device());
  if (device < 0 || device >= count)
    throw std::runtime_error("there is no CUDA device " + std::to_string(device) + ": this machine has " +
                             std::to_string(count));
  use_device(device);
  const DeviceInfo info = device_info();
  if (info.major < kOldest)
    throw std::runtime_error("GPU " + std::to_string(device) + ", " + info.name +
                             ", has compute capability " + std::to_string(info.major) + "." +
                             std::to_string(info.minor) + ", and this program needs " +
                             std::to_string(kOldest) + ".0 or more");
  if (info.shared_memory < kMinSharedMemory)
    throw std::runtime_error("GPU " + std::to_string(device) + ", " + info.name + ", has " +
                             std::to_string(info.shared_memory >> 10) +
                             " KiB of shared memory for a block, and this program needs " +
                             std::to_string(kMinSharedMemory >> 10) +
                             ": an A100, H100 or newer of their kind");
  return device;
}

/// Null where sums are to be deterministic, and where the library is not there: `without` says so.
std::unique_ptr<Blas> library_of(const CudaOptions& options, int filled, std::string& without) {
  if (options.deterministic) return nullptr;
  try {
    return std::make_unique<Blas>(options.cache, filled);
  } catch (const std::runtime_error& error) {
    without = std::string(" with own products only (") + error.what() + ")";
    return nullptr;
  }
}

}  // namespace

CudaBackend::CudaBackend(ThreadPool& threads, const CudaOptions& options)
    : threads_(threads),
      device_(chosen(options.device)),
      info_(device_info()),
      filled_(options.share < 100 ? std::max(1, info_.multiprocessors * options.share / 100) : 0),
      owned_(options),
      overlap_min_rows_(options.overlap_min_rows),
      side_(options),
      staging_(owned_.stream, kStagingBytes),
      mode_{options.deterministic},
      blas_(library_of(options, filled_, without_)),
      matmul_(mode_, blas_.get()),
      prefill_(options.prefill, info_),
      recordings_(owned_.stream) {
  grow_attention({64, 8192, 4096, 16, 256});
}

CudaBackend::~CudaBackend() {
  try {
    cuda::synchronize(stream());  // the host's memory goes back, too, which the device may be reading
    cuda::synchronize(side_.stream);
  } catch (const std::exception&) {
    // A device that failed has said so to whoever waited for a result.
  }
}

Stream CudaBackend::stream() const {
  use_device(device_);
  return aside_ ? side_.stream : owned_.stream;
}

void CudaBackend::refuse_recording(const char* what) const {
  if (recordings_.recording())
    throw std::logic_error(std::string(what) + " needs the host, in a body that is recorded");
}

Buffer CudaBackend::allocate(size_t bytes) {
  if (planned_) return *planned_ += bytes, Buffer();
  refuse_recording("memory");
  use_device(device_);
  return cuda::allocate(bytes);
}

void CudaBackend::copy(Tensor dst, Tensor src) {
  require(dst.shape == src.shape, "copy", "both shapes must be equal");
  if (planned_) return;
  const Stream here = stream();
  if (on_device(dst.data) && on_device(src.data)) return copy_tensor(here, dst, src);
  refuse_recording("a copy from or to its memory");
  require(dst.dtype == src.dtype, "copy", "types must be equal where one side is memory of the host");
  const size_t element = size_of(src.dtype);
  cuda::synchronize(here);  // in naps: a copy would wait inside the driver
  copy_rows(here, dst.data, static_cast<size_t>(dst.stride) * element, src.data,
            static_cast<size_t>(src.stride) * element, static_cast<size_t>(src.cols()) * element,
            static_cast<size_t>(src.rows()));
  cuda::synchronize(here);
}

DeviceEvent CudaBackend::record_event() {
  auto* event = new Event(make_event());
  DeviceEvent mark(event, [device = device_](Event* e) {
    try {
      use_device(device);
    } catch (const std::exception&) {
      // At the end of a program the driver may be gone, and the event with it.
    }
    destroy(*e);
    delete e;
  });
  record(*event, stream());
  return mark;
}

void CudaBackend::wait_event(const DeviceEvent& mark) {
  if (mark) wait(stream(), *static_cast<const Event*>(mark.get()));
}

void CudaBackend::synchronize_event(const DeviceEvent& mark) {
  use_device(device_);
  if (mark) wait(*static_cast<const Event*>(mark.get()));
}

void CudaBackend::synchronize() {
  refuse_recording("synchronize");
  cuda::synchronize(stream());
}

Matrix CudaBackend::make_matrix(int64_t out, int64_t in, DType dtype, SumPlan sums) {
  use_device(device_);
  if (planned_) return cuda::plan_matrix(out, in, dtype, std::move(sums), mode_, *planned_);
  return cuda::make_matrix(out, in, dtype, std::move(sums), mode_);
}

void CudaBackend::pack(Matrix& w, int64_t first_row, Tensor rows, const float* largest) {
  use_device(device_);
  std::call_once(pack_made_, [&] { pack_ = std::make_unique<PackBuffers>(); });
  cuda::pack(*pack_, w, first_row, rows, largest);
}

void CudaBackend::unpack_row(const Matrix& w, int64_t r, float* out) {
  refuse_recording("unpack_row");
  cuda::unpack_row(stream(), w, r, out);
}

std::unique_ptr<WeightLoader> CudaBackend::make_loader() {
  if (planned_) return std::make_unique<NoLoader>();
  // Two buffers a thread: one is filled while the other is on its way.
  return std::make_unique<Loader>(device_, std::clamp(2 * threads_.size(), 4, 16));
}

size_t CudaBackend::reserve(int64_t rows, int64_t width) {
  synchronize();
  recordings_.clear();
  matmul_.reserve(rows, width);
  staging_.reserve(static_cast<size_t>(rows) * 16);  // a draw a row
  return matmul_.bytes() + staging_.bytes() + TopKScratch::bytes();
}

bool CudaBackend::made_progress() {
  const std::unique_lock lock(progress_mutex_, std::try_to_lock);
  if (!lock) return true;  // the lane is giving it work
  use_device(device_);
  if (!progress_pending_) record(progress_event_.event, owned_.stream);
  progress_pending_ = !done(progress_event_.event);
  return !progress_pending_;
}

size_t CudaBackend::free_memory() const {
  use_device(device_);
  return device_info().free_memory;
}

size_t CudaBackend::reserve_attention(const AttentionLimits& limits) {
  grow_attention(limits);
  if (!planned_) {
    prefill_.make(stream(), kVisionHead);
    prefill_.make(stream(), limits.head_dim);
  }
  return table_->bytes() + inputs_->bytes() + attention_->bytes();
}

void CudaBackend::grow_attention(const AttentionLimits& limits) {
  const auto grows = [](int64_t& held, int64_t wanted) {
    return wanted > std::exchange(held, std::max(held, wanted));
  };
  const bool steps = grows(limits_.spans, limits.spans) | grows(limits_.rows, limits.rows) |
                     grows(limits_.pages, limits.pages);
  const bool heads = grows(limits_.heads, limits.heads) | grows(limits_.head_dim, limits.head_dim);
  if (steps || heads) {
    synchronize();
    recordings_.clear();
  }
  if (steps) {
    inputs_.reset();
    inputs_ = std::make_unique<StepInputs>(limits_.spans, limits_.rows);
    table_.reset();
    table_ = std::make_unique<StepTable>(limits_.spans, limits_.pages, limits_.rows);
    spans_.clear();
  }
  if (steps || heads) {
    attention_.reset();
    // A page of keys is the least that a block of its own is worth.
    const int64_t splits = std::min(limits_.spans * StepTable::kMaxSplits, limits_.pages);
    attention_ =
        std::make_unique<AttentionScratch>(splits, limits_.heads, limits_.head_dim, KvShape::kPageTokens);
  }
}

bool CudaBackend::holds(std::span<const AttentionSpan> spans) const {
  size_t page = 0;
  const auto same = [&](const AttentionSpan& a, const AttentionSpan& b) {
    const bool equal =
        a.first_row == b.first_row && a.rows == b.rows && a.position == b.position && a.prefix == b.prefix &&
        page + b.pages.size() <= pages_.size() &&
        std::equal(b.pages.begin(), b.pages.end(), pages_.begin() + static_cast<int64_t>(page));
    page += b.pages.size();
    return equal;
  };
  return !spans_.empty() && std::ranges::equal(spans_, spans, same) && page == pages_.size();
}

const StepTable& CudaBackend::table_of(std::span<const AttentionSpan> spans) {
  if (!holds(spans)) upload_table(spans, {});
  return *table_;
}

void CudaBackend::upload_table(std::span<const AttentionSpan> spans, DecodeCapacity capacity) {
  refuse_recording("spans that were not prepared");
  spans_.clear();
  table_->upload(stream(), spans, capacity);
  pages_.clear();
  for (const AttentionSpan& span : spans) pages_.insert(pages_.end(), span.pages.begin(), span.pages.end());
  spans_.assign(spans.begin(), spans.end());
}

void CudaBackend::prepare(const StepArrays& step) {
  refuse_recording("prepare");
  inputs_->upload(stream(), step);
  upload_table(step.spans, {step.max_spans, step.max_tokens});
}

void CudaBackend::replay(uint64_t key, const std::function<void()>& body) {
  refuse_recording("a recording");
  use_device(device_);
  const std::lock_guard no_progress_event(progress_mutex_);
  recordings_.run(key, body);
}

DeviceEvent CudaBackend::on_side_stream(const std::function<void()>& body) {
  if (aside_) throw std::logic_error("on_side_stream: a body on the side stream starts another");
  const DeviceEvent before = record_event();
  aside_ = true;
  DeviceEvent end;
  try {
    wait_event(before);
    body();
    end = record_event();
  } catch (...) {
    aside_ = false;
    throw;
  }
  aside_ = false;
  return end;
}

void CudaBackend::forget_recordings() {
  use_device(device_);
  recordings_.clear();
}

std::unique_ptr<Readback> CudaBackend::make_readback(size_t bytes) {
  use_device(device_);
  return std::make_unique<PinnedReadback>(owned_.stream, bytes);
}

}  // namespace lapidary::cuda
