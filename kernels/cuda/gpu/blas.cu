#include "kernels/cuda/blas.h"

#include <cublasLt.h>
#include <cuda_platform.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <map>
#include <stdexcept>
#include <utility>
#include <vector>

#include "kernels/cuda/matmul_kernels.h"
#include "kernels/cuda/pack.h"

namespace lapidary::cuda {
namespace {

constexpr size_t kWorkspace = size_t{64} << 20;
constexpr int kCandidates = 8, kRepeats = 5;

void check_blas(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw std::runtime_error(std::string("cannot ") + what + ": " + cublasLtGetStatusString(status));
}

/// The largest power of two up to 16 that divides all rows' addresses.
int alignment_of(Tensor t) {
  const auto bits =
      reinterpret_cast<uintptr_t>(t.data) | static_cast<uintptr_t>(t.stride) * size_of(t.dtype) | 16;
  return 1 << std::countr_zero(bits);
}

/// The next of four steps an octave.
int64_t bucket_of(int64_t rows) {
  const int64_t step =
      std::max<int64_t>(static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(rows))) / 4, 1);
  return (rows + step - 1) / step * step;
}

/// What a choice depends on: rows' bucket, out, in, dtype and alignment of y, whether biased, epilogue.
using Key = std::array<int64_t, 7>;

Key key_of(Tensor y, const Matrix& w, bool biased, Epilogue epilogue) {
  return {bucket_of(y.rows()),           w.out,           w.in,
          static_cast<int64_t>(y.dtype), alignment_of(y), biased ? 1 : 0,
          static_cast<int64_t>(epilogue)};
}

struct Choice {
  cublasLtMatmulAlgo_t algorithm;
  bool timed = false;
};

cublasLtEpilogue_t library_epilogue(bool biased, Epilogue epilogue) {
  if (epilogue == Epilogue::gelu) return biased ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  return biased ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

/// One product in the library's words. Its matrices are by columns: yᵀ [out, rows] = w [out, in] · xᵀ, where
/// our w reads as [in, out] to be transposed, and our x as [in, rows].
class Problem {
 public:
  Problem(Tensor y, Tensor x, const Matrix& w, const void* bias, Epilogue epilogue) : y_(y), x_(x), w_(w) {
    check_blas(cublasLtMatmulDescCreate(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describe a product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, library_epilogue(bias != nullptr, epilogue));
    if (bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    layout(&a_, CUDA_R_16BF, w.in, w.out, row_bytes(w) / 2);
    layout(&b_, CUDA_R_16BF, w.in, x.rows(), x.stride);
    layout(&d_, y.dtype == DType::f32 ? CUDA_R_32F : CUDA_R_16BF, w.out, y.rows(), y.stride);
  }
  ~Problem() {
    for (cublasLtMatrixLayout_t matrix : {a_, b_, d_})
      if (matrix != nullptr) cublasLtMatrixLayoutDestroy(matrix);
    cublasLtMatmulDescDestroy(operation_);
  }
  Problem(const Problem&) = delete;

  /// The library's best guesses, best first; at most kCandidates.
  std::vector<Choice> guesses(cublasLtHandle_t handle, int most) const {
    cublasLtMatmulPreference_t wish = nullptr;
    check_blas(cublasLtMatmulPreferenceCreate(&wish), "describe a product");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, auto value) {
      cublasLtMatmulPreferenceSetAttribute(wish, what, &value, sizeof(value));
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspace});
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, uint32_t{16});
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, uint32_t{16});
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(alignment_of(y_)));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(alignment_of(y_)));
    std::array<cublasLtMatmulHeuristicResult_t, kCandidates> results;
    int found = 0;
    const auto status = cublasLtMatmulAlgoGetHeuristic(handle, operation_, a_, b_, d_, d_, wish, most,
                                                       results.data(), &found);
    cublasLtMatmulPreferenceDestroy(wish);
    std::vector<Choice> algorithms;
    for (int i = 0; status == CUBLAS_STATUS_SUCCESS && i < found; ++i)
      if (results[static_cast<size_t>(i)].state == CUBLAS_STATUS_SUCCESS)
        algorithms.push_back({results[static_cast<size_t>(i)].algo});
    return algorithms;
  }

  cublasStatus_t run(cublasLtHandle_t handle, Stream stream, const cublasLtMatmulAlgo_t& algorithm,
                     void* workspace) const {
    const float one = 1, zero = 0;
    return cublasLtMatmul(handle, operation_, &one, w_.data.get(), a_, x_.data, b_, &zero, y_.data, d_,
                          y_.data, d_, &algorithm, workspace, kWorkspace,
                          static_cast<cudaStream_t>(stream.handle));
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t what, T value) {
    check_blas(cublasLtMatmulDescSetAttribute(operation_, what, &value, sizeof(value)), "describe a product");
  }
  static void layout(cublasLtMatrixLayout_t* to, cudaDataType_t type, int64_t rows, int64_t cols,
                     int64_t ld) {
    check_blas(
        cublasLtMatrixLayoutCreate(to, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), ld),
        "describe a matrix");
  }

  const Tensor y_, x_;
  const Matrix& w_;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, d_ = nullptr;
};

class Timer {
 public:
  Timer() {
    check(cudaEventCreate(&begin_), "make an event");
    check(cudaEventCreate(&end_), "make an event");
  }
  ~Timer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Timer(const Timer&) = delete;

  /// Milliseconds that work() takes on the stream.
  template <class Work>
  float operator()(Stream stream, Work work) {
    const auto queue = static_cast<cudaStream_t>(stream.handle);
    check(cudaEventRecord(begin_, queue), "time a product");
    work();
    check(cudaEventRecord(end_, queue), "time a product");
    check(cudaEventSynchronize(end_), "time a product");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_, end_), "time a product");
    return milliseconds;
  }

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace

struct Blas::State {
  cublasLtHandle_t handle = nullptr;
  Buffer workspace, rounded_bias;
  std::map<const float*, Buffer> biases;  // bf16
  size_t bias_bytes = 0;
  std::map<Key, Choice> choices;
  std::string file;

  State() = default;
  State(const State&) = delete;
  ~State() {
    if (handle != nullptr) cublasLtDestroy(handle);
  }

  /// The bias in the dtype of y, which is what the library takes.
  const void* bias_for(Stream stream, Tensor y, const float* bias) const {
    if (bias == nullptr || y.dtype == DType::f32) return bias;
    const auto kept = biases.find(bias);
    if (kept != biases.end()) return kept->second.get();
    round_bias(stream, rounded_bias.get(), bias, y.cols());
    return rounded_bias.get();
  }
  static void round_bias(Stream stream, std::byte* to, const float* bias, int64_t size) {
    round_rows(stream, reinterpret_cast<uint16_t*>(to), (size + 7) / 8 * 8,
               view(const_cast<float*>(bias), DType::f32, 1, size));
  }

  /// The first line of the file: choices are worth something only with these.
  static std::string title() {
    return "lapidary gemm choices, cublasLt " + std::to_string(cublasLtGetVersion()) + ", " +
           device_info().name;
  }
  void load();
  void save() const;
};

void Blas::State::load() {
  std::ifstream in(file);
  std::string line;
  if (!std::getline(in, line) || line != title()) return;
  for (Key key; in;) {
    Choice choice{{}, true};
    for (int64_t& part : key) in >> std::dec >> part;
    for (uint64_t& word : choice.algorithm.data) in >> std::hex >> word;
    if (in) choices[key] = choice;
  }
}

void Blas::State::save() const {
  if (file.empty()) return;
  const std::string unfinished = file + "." + std::to_string(::getpid());
  std::ofstream out(unfinished);
  out << title() << '\n';
  for (const auto& [key, choice] : choices) {
    if (!choice.timed) continue;
    for (const int64_t part : key) out << std::dec << part << ' ';
    for (const uint64_t word : choice.algorithm.data) out << std::hex << word << ' ';
    out << '\n';
  }
  out.close();
  std::error_code error;  // without the file the next start times again
  if (out) std::filesystem::rename(unfinished, file, error);
  if (!out || error) std::filesystem::remove(unfinished, error);
}

Blas::Blas(std::string choices) : state_(std::make_unique<State>()) {
  check_blas(cublasLtCreate(&state_->handle), "start cuBLASLt");
  state_->workspace = allocate(kWorkspace);
  state_->rounded_bias = allocate(kMostBias * sizeof(uint16_t));
  state_->file = std::move(choices);
  if (!state_->file.empty()) state_->load();
}

Blas::~Blas() = default;

size_t Blas::bytes() const { return kWorkspace + kMostBias * sizeof(uint16_t) + state_->bias_bytes; }

void Blas::keep_bias(Stream stream, const float* bias, int64_t size) {
  const size_t bytes = static_cast<size_t>((size + 7) / 8 * 8) * sizeof(uint16_t);
  Buffer& kept = state_->biases[bias];
  if (kept == nullptr) state_->bias_bytes += bytes;
  kept = allocate(bytes);
  State::round_bias(stream, kept.get(), bias, size);
}

void Blas::gemm(Stream stream, Tensor y, Tensor x, const Matrix& w, const float* bias, Epilogue epilogue) {
  check_gemm(y, x, w, bias);
  if (y.rows() == 0 || w.out == 0) return;
  const Problem problem(y, x, w, state_->bias_for(stream, y, bias), epilogue);
  const Key key = key_of(y, w, bias != nullptr, epilogue);
  const auto known = state_->choices.find(key);
  // A choice of its bucket may not do for this very number of rows.
  if (known != state_->choices.end() && problem.run(state_->handle, stream, known->second.algorithm,
                                                    state_->workspace.get()) == CUBLAS_STATUS_SUCCESS)
    return;
  const auto guesses = problem.guesses(state_->handle, 1);
  if (guesses.empty())
    throw std::runtime_error("cuBLASLt has no product of " + std::to_string(y.rows()) +
                             " rows with a weight of " + std::to_string(w.out) + " x " +
                             std::to_string(w.in));
  if (known == state_->choices.end()) state_->choices[key] = guesses.front();
  check_blas(problem.run(state_->handle, stream, guesses.front().algorithm, state_->workspace.get()),
             "run a product");
}

void Blas::tune(Stream stream, Tensor y, Tensor x, const Matrix& w, const float* bias, Epilogue epilogue) {
  check_gemm(y, x, w, bias);
  if (y.rows() == 0 || w.out == 0) return;
  Choice& choice = state_->choices[key_of(y, w, bias != nullptr, epilogue)];
  if (choice.timed) return;
  const Problem problem(y, x, w, state_->bias_for(stream, y, bias), epilogue);
  Timer timer;
  float best = 0;
  for (const Choice& guess : problem.guesses(state_->handle, kCandidates)) {
    const auto run = [&] {
      return problem.run(state_->handle, stream, guess.algorithm, state_->workspace.get());
    };
    if (run() != CUBLAS_STATUS_SUCCESS) continue;  // which also warms up
    float least = 0;
    for (int i = 0; i < kRepeats; ++i) {
      const float time = timer(stream, run);
      least = i == 0 ? time : std::min(least, time);
    }
    if (!choice.timed || least < best) {
      best = least;
      choice = {guess.algorithm, true};
    }
  }
  if (!choice.timed)
    throw std::runtime_error("cuBLASLt runs no product with a weight of " + std::to_string(w.out) + " x " +
                             std::to_string(w.in));
  state_->save();
}

}  // namespace lapidary::cuda
