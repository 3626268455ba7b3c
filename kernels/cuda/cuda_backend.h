#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/attention/prefill_choice.h"
#include "kernels/cuda/matmul/blas.h"
#include "kernels/cuda/matmul/matmul.h"
#include "kernels/cuda/matmul/pack.h"
#include "kernels/cuda/runtime/device.h"
#include "kernels/cuda/runtime/image_uploads.h"
#include "kernels/cuda/runtime/recordings.h"
#include "kernels/cuda/runtime/staging.h"
#include "kernels/cuda/runtime/step_inputs.h"
#include "kernels/cuda/runtime/step_table.h"
#include "kernels/cuda/sampling/sampling.h"
#include "kernels/cuda_options.h"

namespace lapidary::cuda {

/// The Backend of one CUDA device: a stream of its own and scratch memory; each operation is a function of
/// its own file. Operations return when they are in the stream, but for those that give or take memory of the
/// host (copy, pack, unpack_row, top_k): they are complete, and refused in a recording. Tensors, biases,
/// gains and tables are device memory, activations float32 or bfloat16. One thread at a time calls
/// operations; pack() is for several.
class CudaBackend final : public Backend {
 public:
  /// Throws std::runtime_error where there is no such device, or one that is too old. Without cuBLASLt
  /// products are the own kernels'.
  CudaBackend(ThreadPool& threads, const CudaOptions& options);
  ~CudaBackend() override;

  std::string name() const override { return "cuda " + info_.name + without_ + prefill_.told(); }
  ThreadPool& threads() override { return threads_; }
  Buffer allocate(size_t bytes) override;
  void copy(Tensor dst, Tensor src) override;  // also between float32 and bfloat16, both on the device
  void synchronize() override;
  DeviceEvent record_event() override;
  void wait_event(const DeviceEvent& mark) override;
  void synchronize_event(const DeviceEvent& mark) override;
  bool on_host() const override { return false; }
  DType operands(DType weights) const override { return weights == DType::f32 ? DType::f32 : DType::bf16; }
  void* native_stream() const override { return native_handle(stream()); }
  bool made_progress() override;
  size_t free_memory() const override;
  void begin_plan() override { planned_ = 0; }
  size_t end_plan() override { return std::exchange(planned_, std::nullopt).value_or(0); }

  Matrix make_matrix(int64_t out, int64_t in, DType dtype, SumPlan sums) override;
  void pack(Matrix& w, int64_t first_row, Tensor rows, const float* largest) override;
  void unpack_row(const Matrix& w, int64_t r, float* out) override;
  std::unique_ptr<WeightLoader> make_loader() override;
  size_t reserve(int64_t rows, int64_t width) override;

  void matmul(Tensor y, Tensor x, const Matrix& w, const Epilogue& end) override;
  /// Nothing on an emulated device, whose times say nothing.
  void tune(int64_t max_rows, const std::function<void(int64_t rows)>& products) override;
  int64_t gate_up_interleave() const override;
  /// One 896 px image with its prompt is one product: each run of rows reads the whole weight again, and the
  /// library's products reach the device's rate from about 2000 rows on. In bf16 the 28B model's halves of so
  /// many rows take 640 MB, and their product 320 MB.
  int64_t mlp_chunk_rows() const override { return 4352; }
  void matmul_geglu(Tensor y, Tensor x, const Matrix& gate_up, Tensor scratch) override;
  void rms_norm(Tensor y, Tensor x, const float* gain, float eps) override;
  void layer_norm(Tensor y, Tensor x, const float* gain, const float* bias, float eps) override;
  void add(Tensor x, Tensor y) override;
  void add_rms_norm(const AddNorm& to) override;
  void add_blocks(Tensor y, Tensor blocks, std::span<const int> merges) override;
  size_t peer_window_bytes(int ranks) const override;
  std::unique_ptr<PeerAllReduce> make_peer_all_reduce(void* window, int rank, int ranks) override;
  void add_bias(Tensor x, const float* bias) override;
  void scale(Tensor x, float factor) override;
  void gelu(Tensor x) override;
  void gelu_mul(Tensor y, Tensor gate_up) override;
  void rope(Tensor x, int64_t head_dim, Tensor cos_sin, std::span<const int32_t> positions) override;

  void prepare(const StepArrays& step) override;
  void replay(uint64_t key, const std::function<void()>& body) override;
  bool records() const override { return true; }
  void forget_recordings() override;
  DeviceEvent on_side_stream(const std::function<void()>& body) override;
  int64_t overlap_min_rows() const override { return overlap_min_rows_; }
  int64_t replays() const override { return recordings_.replays(); }
  std::unique_ptr<Readback> make_readback(size_t bytes) override;

  size_t kv_page_bytes(const KvShape& shape) const override;
  /// Without it there is room for 64 spans with 4096 pages and 8192 rows, 16 heads of 256 columns.
  /// It may try the kernels of a prefill, for a fraction of a second.
  size_t reserve_attention(const AttentionLimits& limits) override;
  void store_kv(std::byte* pages, const KvShape& shape, std::span<const AttentionSpan> spans, Tensor k,
                Tensor v) override;
  void rope_and_store(Tensor qkv, int64_t heads, Tensor cos_sin, std::span<const int32_t> positions,
                      std::byte* pages, const KvShape& shape, std::span<const AttentionSpan> spans) override;
  void attention(Tensor out, Tensor q, const std::byte* pages, const KvShape& shape,
                 std::span<const AttentionSpan> spans, const AttentionArgs& args) override;

  size_t reserve_images(size_t bytes) override;
  void patchify(Tensor y, const uint8_t* rgb, int64_t size, int64_t patch, const float* value_of) override;
  void embed(Tensor y, const Matrix& table, std::span<const int32_t> ids, Tensor token_table,
             int64_t first_id, float factor) override;
  void softcap(Tensor x, float cap) override;
  void add_gumbel_noise(Tensor logits, int64_t first_token,
                        std::span<const SamplingParams> sampling) override;
  std::vector<std::vector<Candidate>> top_k(Tensor logits, int64_t first_token, int k) override;
  void top_candidates(Tensor found, Tensor logits, int64_t first_token, float cap,
                      std::span<const SamplingParams> sampling) override;
  void sample(Tensor tokens, Tensor found, std::span<const SamplingParams> sampling) override;
  void scatter(Tensor token_table, std::span<const int32_t> slots, Tensor tokens) override;

 private:
  struct OwnedStream {
    explicit OwnedStream(const CudaOptions& options)
        : stream{make_stream(options.high_priority).handle, options.early_start} {}
    ~OwnedStream() { destroy(stream); }
    OwnedStream(const OwnedStream&) = delete;
    const Stream stream;
  };

  struct OwnedEvent {
    OwnedEvent() : event(make_event()) {}
    ~OwnedEvent() { destroy(event); }
    OwnedEvent(const OwnedEvent&) = delete;
    const Event event;
  };

  /// The stream, for a caller whose thread may have used another device.
  Stream stream() const;
  /// A position a row on the device, each of them checked against the table's.
  const int32_t* rotary_positions(const char* operation, Tensor x, Tensor cos_sin,
                                  std::span<const int32_t> positions);
  /// The spans on the device. Every layer of a step names the same ones: they travel once.
  const StepTable& table_of(std::span<const AttentionSpan> spans);
  void upload_table(std::span<const AttentionSpan> spans, DecodeCapacity capacity);
  bool holds(std::span<const AttentionSpan> spans) const;
  const SamplingParams* sampling_of(std::span<const SamplingParams> sampling);
  /// An array on the device that was not prepared.
  template <class T>
  const T* upload(std::span<const T> array) {
    refuse_recording("an array that was not prepared");
    return staging_.upload(array);
  }
  /// std::logic_error while a body is recorded: `what` needs the host.
  void refuse_recording(const char* what) const;
  void grow_attention(const AttentionLimits& limits);

  ThreadPool& threads_;
  const int device_;
  const DeviceInfo info_;
  const int filled_;  // multiprocessors that products and prefills should fill; 0: all
  OwnedStream owned_;
  const int64_t overlap_min_rows_;
  OwnedStream side_;               // of the bodies of on_side_stream()
  bool aside_ = false;             // one runs
  std::optional<size_t> planned_;  // between begin_plan() and end_plan()
  // Also held while work is recorded for later, where no event may be put between.
  std::mutex progress_mutex_;
  OwnedEvent progress_event_;
  bool progress_pending_ = false;  // the event waits for the work before it
  Staging staging_;
  ImageUploads images_;
  TopKScratch top_k_;
  std::once_flag pack_made_;
  std::unique_ptr<PackBuffers> pack_;  // a loader is the way of many weights
  const MatmulMode mode_;
  std::string without_;         // " without …" of a library that is not there
  std::unique_ptr<Blas> blas_;  // where `mode_` lets it choose the order of sums
  MatmulScratch matmul_;
  PrefillChoice prefill_;
  AttentionLimits limits_;  // of the next two
  std::unique_ptr<AttentionScratch> attention_;
  std::unique_ptr<StepTable> table_;
  std::vector<AttentionSpan> spans_;  // in the table; their pages are in pages_
  std::vector<int32_t> pages_;
  std::unique_ptr<StepInputs> inputs_;  // of the step that was prepared
  Recordings recordings_;
};

}  // namespace lapidary::cuda
