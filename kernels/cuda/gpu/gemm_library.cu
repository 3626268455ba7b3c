#include "kernels/cuda/matmul/gemm_library.h"

#include <cublasLt.h>
#include <cuda_platform.h>
#include <dlfcn.h>

#include <algorithm>
#include <stdexcept>
#include <type_traits>

#include "kernels/cuda/matmul/gemm_choices.h"

namespace lapidary::cuda {
namespace {

// Later than the oldest headers that this builds with; a library that does not know them refuses.
constexpr auto kScaleModeOfA = static_cast<cublasLtMatmulDescAttributes_t>(31);
constexpr auto kScaleModeOfB = static_cast<cublasLtMatmulDescAttributes_t>(32);
constexpr int32_t kScaleOfEachRow = 3;  // OUTER_VEC_32F: a float32 a row of A, one a column of B

/// cuBLASLt's functions.
struct Calls {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetVersion) version = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmulDescCreate) create_product = nullptr;
  decltype(&cublasLtMatmulDescDestroy) destroy_product = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) set_product = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) create_matrix = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_matrix = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) create_wish = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_wish = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_wish = nullptr;
};

Calls load_calls() {
  // The one that this was built for comes first; the calls used here are the same in both.
  std::string why;
  void* library = nullptr;
  for (const int version : {CUBLAS_VER_MAJOR, CUBLAS_VER_MAJOR == 13 ? 12 : 13}) {
    const std::string name = "libcublasLt.so." + std::to_string(version);
    library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
    if (why.empty()) why = ::dlerror();
  }
  if (library == nullptr) throw std::runtime_error("cuBLASLt cannot be loaded: " + why);
  Calls calls;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
    if (function == nullptr)
      throw std::runtime_error(std::string("this host's cuBLASLt is too old: it has no ") + name);
  };
  find(calls.create, "cublasLtCreate");
  find(calls.destroy, "cublasLtDestroy");
  find(calls.version, "cublasLtGetVersion");
  find(calls.matmul, "cublasLtMatmul");
  find(calls.heuristic, "cublasLtMatmulAlgoGetHeuristic");
  find(calls.create_product, "cublasLtMatmulDescCreate");
  find(calls.destroy_product, "cublasLtMatmulDescDestroy");
  find(calls.set_product, "cublasLtMatmulDescSetAttribute");
  find(calls.create_matrix, "cublasLtMatrixLayoutCreate");
  find(calls.destroy_matrix, "cublasLtMatrixLayoutDestroy");
  find(calls.create_wish, "cublasLtMatmulPreferenceCreate");
  find(calls.destroy_wish, "cublasLtMatmulPreferenceDestroy");
  find(calls.set_wish, "cublasLtMatmulPreferenceSetAttribute");
  return calls;
}

cublasLtEpilogue_t epilogue_of(const GemmCall& call) {
  if (call.gelu) return call.bias != nullptr ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  return call.bias != nullptr ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

cudaDataType_t type_of(DType dtype) {
  return dtype == DType::f32 ? CUDA_R_32F : dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_8F_E4M3;
}

/// One product in the library's words. Its matrices are by columns: yᵀ [out, rows] = w [out, in] · xᵀ, where
/// our w reads as [in, out] to be transposed, and our x as [in, rows].
class Problem {
 public:
  Problem(const Calls& calls, const GemmCall& call) : calls_(calls), call_(call) {
    fine_ = calls.create_product(&product_, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS;
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(call));
    if (call.bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.bias);
    if (call.multiprocessors > 0)
      set(CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET, static_cast<int32_t>(call.multiprocessors));
    if (call.x_scales != nullptr) {
      set(kScaleModeOfA, kScaleOfEachRow);
      set(kScaleModeOfB, kScaleOfEachRow);
      set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, static_cast<const void*>(call.w_scales));
      set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, static_cast<const void*>(call.x_scales));
    }
    layout(&a_, type_of(call.x.dtype), call.x.cols(), call.out, call.w_stride);
    layout(&b_, type_of(call.x.dtype), call.x.cols(), call.x.rows(), call.x.stride);
    layout(&d_, type_of(call.y.dtype), call.out, call.y.rows(), call.y.stride);
  }
  ~Problem() {
    for (cublasLtMatrixLayout_t matrix : {a_, b_, d_})
      if (matrix != nullptr) calls_.destroy_matrix(matrix);
    if (product_ != nullptr) calls_.destroy_product(product_);
  }
  Problem(const Problem&) = delete;

  std::vector<Algorithm> candidates(cublasLtHandle_t handle, int max_count) const {
    cublasLtMatmulPreference_t wish = nullptr;
    if (!fine_ || calls_.create_wish(&wish) != CUBLAS_STATUS_SUCCESS) return {};
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, auto value) {
      calls_.set_wish(wish, what, &value, sizeof(value));
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{GemmLibrary::kWorkspace});
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, uint32_t{16});
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, uint32_t{16});
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(alignment_of(call_.y)));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(alignment_of(call_.y)));
    std::array<cublasLtMatmulHeuristicResult_t, 16> results;
    max_count = std::min(max_count, static_cast<int>(results.size()));
    int found = 0;
    const auto status =
        calls_.heuristic(handle, product_, a_, b_, d_, d_, wish, max_count, results.data(), &found);
    calls_.destroy_wish(wish);
    std::vector<Algorithm> algorithms;
    for (int i = 0; status == CUBLAS_STATUS_SUCCESS && i < found; ++i) {
      const auto& result = results[static_cast<size_t>(i)];
      if (result.state != CUBLAS_STATUS_SUCCESS) continue;
      auto& words = algorithms.emplace_back().words;
      std::copy_n(result.algo.data, words.size(), words.begin());
    }
    return algorithms;
  }

  bool run(cublasLtHandle_t handle, Stream stream, const Algorithm& algorithm, std::byte* workspace) const {
    const float one = 1, old = call_.add ? 1 : 0;
    cublasLtMatmulAlgo_t how;
    std::copy(algorithm.words.begin(), algorithm.words.end(), how.data);
    return fine_ && calls_.matmul(handle, product_, &one, call_.w, a_, call_.x.data, b_, &old, call_.y.data,
                                  d_, call_.y.data, d_, &how, workspace, GemmLibrary::kWorkspace,
                                  static_cast<cudaStream_t>(stream.handle)) == CUBLAS_STATUS_SUCCESS;
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t what, T value) {
    fine_ = fine_ && calls_.set_product(product_, what, &value, sizeof(value)) == CUBLAS_STATUS_SUCCESS;
  }
  void layout(cublasLtMatrixLayout_t* to, cudaDataType_t type, int64_t rows, int64_t cols, int64_t ld) {
    fine_ = fine_ && calls_.create_matrix(to, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(cols),
                                          ld) == CUBLAS_STATUS_SUCCESS;
  }

  const Calls& calls_;
  const GemmCall& call_;
  bool fine_ = true;  // the library knows all that was asked for
  cublasLtMatmulDesc_t product_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, d_ = nullptr;
};

class CublasLt final : public GemmLibrary {
 public:
  CublasLt() : calls_(load_calls()) {
    if (calls_.create(&handle_) != CUBLAS_STATUS_SUCCESS)
      throw std::runtime_error("cuBLASLt does not start on this device");
    check(cudaEventCreate(&begin_), "make an event");
    check(cudaEventCreate(&end_), "make an event");
  }
  ~CublasLt() override {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    calls_.destroy(handle_);
  }

  std::string version() const override { return "cublasLt " + std::to_string(calls_.version()); }

  std::vector<Algorithm> candidates(const GemmCall& call, int max_count) override {
    return Problem(calls_, call).candidates(handle_, max_count);
  }

  bool run(Stream stream, const GemmCall& call, const Algorithm& algorithm, std::byte* workspace) override {
    return Problem(calls_, call).run(handle_, stream, algorithm, workspace);
  }

  float time(Stream stream, const GemmCall& call, const Algorithm& algorithm, std::byte* workspace) override {
    const auto queue = static_cast<cudaStream_t>(stream.handle);
    const Problem problem(calls_, call);
    check(cudaEventRecord(begin_, queue), "time a product");
    if (!problem.run(handle_, stream, algorithm, workspace)) return -1;
    check(cudaEventRecord(end_, queue), "time a product");
    check(cudaEventSynchronize(end_), "time a product");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_, end_), "time a product");
    return milliseconds;
  }

 private:
  const Calls calls_;
  cublasLtHandle_t handle_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace

std::unique_ptr<GemmLibrary> load_gemm_library() { return std::make_unique<CublasLt>(); }

}  // namespace lapidary::cuda
