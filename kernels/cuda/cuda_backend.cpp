#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "kernels/cuda/add_blocks.h"
#include "kernels/cuda/add_norms.h"
#include "kernels/cuda/kv_pages.h"
#include "kernels/cuda/loader.h"
#include "kernels/cuda/matmul_kernels.h"
#include "kernels/cuda/norms.h"
#include "kernels/cuda/patches.h"
#include "kernels/cuda/peer_sum.h"
#include "kernels/cuda/pinned_readback.h"
#include "kernels/cuda/require.h"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/rope_and_store.h"
#include "kernels/cuda/row_ops.h"

namespace lapidary::cuda {
namespace {

constexpr size_t kStagingBytes = size_t{1} << 20;
constexpr int kOldest = 8;  // compute capability: what the kernels' instructions need

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
  return device;
}

/// Null where sums are to be deterministic, and where the library is not there: `without` says so.
std::unique_ptr<Blas> library_of(const CudaOptions& options, int multiprocessors, std::string& without) {
  if (options.deterministic) return nullptr;
  const int filled = options.share < 100 ? std::max(1, multiprocessors * options.share / 100) : 0;
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
      owned_(options),
      rows_beside_(options.rows_beside),
      side_(options),
      staging_(owned_.stream, kStagingBytes),
      mode_{options.deterministic},
      blas_(library_of(options, info_.multiprocessors, without_)),
      matmul_(mode_, blas_.get()),
      recordings_(owned_.stream) {
  reserve_attention({64, 8192, 4096, 16, 256});
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

Mark CudaBackend::mark() {
  auto* event = new Event(make_event());
  Mark mark(event, [device = device_](Event* e) {
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

void CudaBackend::wait_for(const Mark& mark) {
  if (mark) wait(stream(), *static_cast<const Event*>(mark.get()));
}

void CudaBackend::synchronize_to(const Mark& mark) {
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

void CudaBackend::matmul(Tensor y, Tensor x, const Matrix& w, const Epilogue& end) {
  cuda::matmul(stream(), matmul_, y, x, w, end);
}

void CudaBackend::tune(int64_t most, const std::function<void(int64_t rows)>& products) {
  if (blas_ == nullptr || native_stream() == nullptr) return;
  matmul_.tune(true);
  for (int64_t rows = kSkinnyRows + 1; rows <= most; rows = row_bucket(rows) + 1)
    products(std::min(row_bucket(rows), most));
  matmul_.tune(false);
  blas_->save();
}

int64_t CudaBackend::gate_run() const { return kGateRun; }

void CudaBackend::matmul_geglu(Tensor y, Tensor x, const Matrix& gate_up, Tensor room) {
  cuda::matmul(stream(), matmul_, y, x, gate_up, {}, &room);
}

void CudaBackend::rms_norm(Tensor y, Tensor x, const float* gain, float eps) {
  cuda::rms_norm(stream(), y, x, gain, eps);
}

void CudaBackend::layer_norm(Tensor y, Tensor x, const float* gain, const float* bias, float eps) {
  cuda::layer_norm(stream(), y, x, gain, bias, eps);
}

void CudaBackend::add_rms_norm(Tensor h, Tensor x, Tensor y, const float* post, const float* pre, float eps) {
  cuda::add_rms_norm(stream(), h, x, y, post, pre, eps);
}

void CudaBackend::add(Tensor x, Tensor y) { cuda::add(stream(), x, y); }

void CudaBackend::add_blocks(Tensor y, Tensor blocks, std::span<const int> merges) {
  cuda::add_blocks(stream(), y, blocks, merges);
}

size_t CudaBackend::peer_window_bytes(int ranks) const {
  return ranks > 1 && ranks <= kMostPeers ? cuda::peer_window_bytes(ranks) : 0;
}

std::unique_ptr<PeerSum> CudaBackend::make_peer_sum(void* window, int rank, int ranks) {
  const Stream here = stream();
  const std::vector<std::byte*> windows = reach_window(here, window, ranks);
  return windows.empty() ? nullptr : cuda::make_peer_sum(here, rank, windows);
}

bool CudaBackend::moved_on() {
  const std::unique_lock lock(pulse_mutex_, std::try_to_lock);
  if (!lock) return true;  // the lane is giving it work
  use_device(device_);
  if (!pulse_out_) record(pulse_.event, owned_.stream);
  pulse_out_ = !done(pulse_.event);
  return !pulse_out_;
}

size_t CudaBackend::free_memory() const {
  use_device(device_);
  return device_info().free_memory;
}

void CudaBackend::add_bias(Tensor x, const float* bias) { cuda::add_bias(stream(), x, bias); }

void CudaBackend::scale(Tensor x, float factor) { cuda::scale(stream(), x, factor); }

void CudaBackend::gelu(Tensor x) { cuda::gelu(stream(), x); }

void CudaBackend::gelu_mul(Tensor y, Tensor gate_up) { cuda::gelu_mul(stream(), y, gate_up); }

const int32_t* CudaBackend::rotary_positions(const char* operation, Tensor x, Tensor cos_sin,
                                             std::span<const int32_t> positions) {
  require(static_cast<int64_t>(positions.size()) == x.rows(), operation, "one position a row is wanted");
  for (const int32_t p : positions)
    require(p >= 0 && p < cos_sin.rows(), operation, "a position lies outside the table");
  const int32_t* prepared = inputs_->positions(positions);
  return prepared != nullptr ? prepared : upload(positions);
}

void CudaBackend::rope(Tensor x, int64_t head_dim, Tensor cos_sin, std::span<const int32_t> positions) {
  const int32_t* places = rotary_positions("rope", x, cos_sin, positions);
  cuda::rope(stream(), x, head_dim, cos_sin, places);
}

size_t CudaBackend::kv_page_bytes(const KvShape& shape) const { return page_bytes(shape); }

size_t CudaBackend::reserve_attention(const AttentionRoom& room) {
  const auto grows = [](int64_t& held, int64_t wanted) {
    return wanted > std::exchange(held, std::max(held, wanted));
  };
  const bool steps =
      grows(room_.spans, room.spans) | grows(room_.rows, room.rows) | grows(room_.pages, room.pages);
  const bool heads = grows(room_.heads, room.heads) | grows(room_.head_dim, room.head_dim);
  if (steps || heads) {
    synchronize();
    recordings_.clear();
  }
  if (steps) {
    inputs_.reset();
    inputs_ = std::make_unique<StepInputs>(room_.spans, room_.rows);
    table_.reset();
    table_ = std::make_unique<StepTable>(room_.spans, room_.pages, room_.rows);
    spans_.clear();
  }
  if (steps || heads) {
    attention_.reset();
    // A page of keys is the least that a block of its own is worth.
    const int64_t splits = std::min(room_.spans * StepTable::kMaxSplits, room_.pages);
    attention_ =
        std::make_unique<AttentionScratch>(splits, room_.heads, room_.head_dim, KvShape::kPageTokens);
  }
  return table_->bytes() + inputs_->bytes() + attention_->bytes();
}

void CudaBackend::store_kv(std::byte* pages, const KvShape& shape, std::span<const AttentionSpan> spans,
                           Tensor k, Tensor v) {
  cuda::store_kv(stream(), pages, shape, table_of(spans), k, v);
}

void CudaBackend::rope_and_store(Tensor qkv, int64_t heads, Tensor cos_sin,
                                 std::span<const int32_t> positions, std::byte* pages, const KvShape& shape,
                                 std::span<const AttentionSpan> spans) {
  const int32_t* places = rotary_positions("rope_and_store", qkv, cos_sin, positions);
  cuda::rope_and_store(stream(), qkv, heads, cos_sin, places, pages, shape, table_of(spans));
}

void CudaBackend::attention(Tensor out, Tensor q, const std::byte* pages, const KvShape& shape,
                            std::span<const AttentionSpan> spans, const AttentionArgs& args) {
  cuda::attention(stream(), *attention_, out, q, pages, shape, table_of(spans), args);
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

void CudaBackend::upload_table(std::span<const AttentionSpan> spans, DecodeRoom room) {
  refuse_recording("spans that were not prepared");
  spans_.clear();
  table_->upload(stream(), spans, room);
  pages_.clear();
  for (const AttentionSpan& span : spans) pages_.insert(pages_.end(), span.pages.begin(), span.pages.end());
  spans_.assign(spans.begin(), spans.end());
}

void CudaBackend::prepare(const StepArrays& step) {
  refuse_recording("prepare");
  inputs_->upload(stream(), step);
  upload_table(step.spans, {step.most_spans, step.most_tokens});
}

void CudaBackend::replay(uint64_t key, const std::function<void()>& body) {
  refuse_recording("a recording");
  use_device(device_);
  const std::lock_guard no_pulse(pulse_mutex_);
  recordings_.run(key, body);
}

Mark CudaBackend::beside(const std::function<void()>& body) {
  if (aside_) throw std::logic_error("work beside work that is itself beside other work");
  const Mark before = mark();
  aside_ = true;
  Mark end;
  try {
    wait_for(before);
    body();
    end = mark();
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

void CudaBackend::patchify(Tensor y, const uint8_t* rgb, int64_t size, int64_t patch, const float* value_of) {
  require(patch > 0 && size > 0 && size % patch == 0, "patchify", "the image must be whole patches");
  require(y.rows() == size / patch * (size / patch), "patchify",
          "y must be [patches, channels * patch * patch]");
  refuse_recording("patchify");
  const Stream here = stream();
  const auto bytes = static_cast<size_t>(size * size * kChannels);
  const uint8_t* pixels = images_.upload(here, rgb, bytes);
  cuda::patchify(here, y, pixels, size, patch, staging_.upload(std::span(value_of, 256)));
  images_.release(here);
}

size_t CudaBackend::reserve_images(size_t bytes) {
  images_.reserve(stream(), bytes);
  return images_.bytes();
}

void CudaBackend::embed(Tensor y, const Matrix& table, std::span<const int32_t> ids, Tensor board,
                        int64_t first_id, float factor) {
  require(static_cast<int64_t>(ids.size()) == y.rows(), "embed", "y must be [ids, columns of the table]");
  Tensor rows = view(table.data.get(), table.dtype, table.out, table.in);
  rows.stride = row_bytes(table) / static_cast<int64_t>(size_of(table.dtype));
  const int32_t* prepared = inputs_->ids(ids);
  cuda::embed(stream(), y, rows, prepared != nullptr ? prepared : upload(ids), board, first_id, factor);
}

void CudaBackend::softcap(Tensor x, float cap) { cuda::softcap(stream(), x, cap); }

void CudaBackend::perturb(Tensor logits, int64_t first_token, std::span<const Draw> draws) {
  refuse_recording("perturb");
  cuda::perturb(stream(), staging_, logits, first_token, draws);
}

std::vector<std::vector<Candidate>> CudaBackend::top_k(Tensor logits, int64_t first_token, int k) {
  refuse_recording("top_k");
  return cuda::top_k(stream(), top_k_, logits, first_token, k, info_.multiprocessors);
}

void CudaBackend::best(Tensor found, Tensor logits, int64_t first_token, float cap,
                       std::span<const Draw> draws) {
  require(std::ssize(draws) == logits.rows() && longest_list("best", draws) <= found.cols() / 2, "best",
          "one draw a row of logits, and lists of their length");
  cuda::best(stream(), top_k_, found, logits, first_token, cap, draws_of(draws));
}

void CudaBackend::choose(Tensor tokens, Tensor found, std::span<const Draw> draws) {
  require(std::ssize(draws) == tokens.rows() && longest_list("choose", draws) <= found.cols() / 2, "choose",
          "one draw a row of tokens, and lists of their length");
  cuda::choose(stream(), tokens, found, draws_of(draws));
}

const TokenDraw* CudaBackend::draws_of(std::span<const Draw> draws) {
  const TokenDraw* prepared = inputs_->draws(draws);
  return prepared != nullptr ? prepared : upload(draws);
}

void CudaBackend::scatter(Tensor board, std::span<const int32_t> places, Tensor tokens) {
  require(std::ssize(places) == tokens.rows(), "scatter", "one place a token");
  for (const int32_t place : places)
    require(place >= 0 && place < board.rows(), "scatter", "a place lies outside the board");
  const int32_t* prepared = inputs_->places(places);
  cuda::scatter(stream(), board, prepared != nullptr ? prepared : upload(places), tokens);
}

}  // namespace lapidary::cuda
