#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda_options.h"

namespace lapidary {
namespace {

TEST(CpuBackend, TakesActivationsOfFloat32Alone) {
  ThreadPool threads(1);
  const auto ops = make_cpu_backend(threads);
  std::vector<float> memory(64);
  const Tensor f32 = view(memory.data(), DType::f32, 2, 16), bf16 = view(memory.data(), DType::bf16, 2, 16);
  const Matrix w = ops->make_matrix(16, 16, DType::bf16, SumPlan::whole(16));
  ops->reserve(2, 16);
  EXPECT_THROW(ops->matmul(f32, bf16, w), std::logic_error);
  EXPECT_THROW(ops->matmul(bf16, f32, w), std::logic_error);
  EXPECT_THROW(ops->gelu(bf16), std::logic_error);
  EXPECT_THROW(ops->copy(f32, bf16), std::logic_error);
}

TEST(CpuBackend, RefusesAProductWithoutItsScratch) {
  ThreadPool threads(1);
  const auto ops = make_cpu_backend(threads);
  ops->reserve(1, 64);
  const Matrix wide = ops->make_matrix(16, 100000, DType::bf16, SumPlan::whole(100000));
  std::vector<float> x(100000), y(16);
  EXPECT_THROW(ops->matmul(view(y.data(), DType::f32, 1, 16), view(x.data(), DType::f32, 1, 100000), wide),
               std::logic_error);
}

TEST(CudaBackend, IsRefusedWithASentenceWhereThereIsNone) {
  ThreadPool threads(1);
  try {
    make_cuda_backend(threads, {1000, true});
    FAIL() << "a thousand devices";
  } catch (const std::runtime_error& error) {
    // Built without CUDA; without a driver or a GPU; with fewer of them.
    EXPECT_THAT(error.what(),
                testing::AnyOf(testing::HasSubstr("LAPIDARY_CUDA"), testing::HasSubstr("no GPU"),
                               testing::HasSubstr("install a newer driver"),
                               testing::HasSubstr("there is no CUDA device")));
  }
}

}  // namespace
}  // namespace lapidary
