#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/matmul/blas.h"
#include "kernels/cuda/matmul/matmul_kernels.h"
#include "kernels/cuda/rows/row_ops.h"
#include "tests/cuda_emulation/host_gemm.h"
#include "tests/kernels/cuda/matmul_support.h"
#include "tests/support/temp_folder.h"

namespace lapidary::cuda {
namespace {

namespace fs = std::filesystem;

/// A product of random bf16 numbers, what its weight holds in w, on the device.
struct Gemm : Product {
  Matrix matrix;
  PlacedRows placed;
  Buffer y;

  Gemm(int64_t m, int64_t n, int64_t k, DType weight = DType::bf16)
      : Product(m, n, k, DType::bf16, SumPlan::whole(k)),
        matrix(pack_weight(*this, weight)),
        placed(x.data(), m, k, DType::bf16, 0, (k + 15) / 16 * 16),
        y(allocate(static_cast<size_t>(m * n) * sizeof(float))) {}
  Tensor result(DType type = DType::f32) const { return view(y.get(), type, rows, out); }
  /// Rows of x as e4m3, which x becomes, too.
  ScaledRows scaled(Buffer& memory) {
    const int64_t pitch = (in + 15) / 16 * 16;
    memory = allocate(static_cast<size_t>(rows * pitch) + static_cast<size_t>(rows) * sizeof(float));
    auto* scales = reinterpret_cast<float*>(memory.get() + rows * pitch);
    convert_rows({}, {memory.get(), pitch, DType::e4m3, scales, rows, in}, placed.tensor);
    for (int64_t r = 0; r < rows; ++r) {
      float most = 0;
      for (int64_t k = 0; k < in; ++k) most = std::max(most, std::abs(x[r * in + k]));
      const float scale = e4m3_scale(most);
      for (int64_t k = 0; k < in; ++k) x[r * in + k] = from_e4m3(to_e4m3(x[r * in + k] / scale)) * scale;
    }
    return {view(memory.get(), DType::e4m3, rows, pitch).col_range(0, in), scales};
  }
};

/// A Blas whose library can be looked at.
struct Bench {
  HostGemm* library;
  Blas blas;
  explicit Bench(const HostGemm::Rules& rules = {}, const fs::path& cache = {}, int multiprocessors = 0)
      : library(new HostGemm(rules)),
        blas(std::unique_ptr<GemmLibrary>(library), cache, "a device/1", multiprocessors) {}
};

TEST(GemmChoicesTest, CountRowsInFourStepsAnOctave) {
  for (const auto& [rows, bucket] : std::vector<std::pair<int64_t, int64_t>>{{1, 1},
                                                                             {3, 3},
                                                                             {5, 5},
                                                                             {9, 10},
                                                                             {64, 64},
                                                                             {65, 80},
                                                                             {80, 80},
                                                                             {81, 96},
                                                                             {128, 128},
                                                                             {129, 160},
                                                                             {272, 320},
                                                                             {4112, 5120}})
    EXPECT_EQ(row_bucket(rows), bucket) << rows;
  int64_t buckets = 0;
  for (int64_t rows = 65; rows <= 4096; rows = row_bucket(rows) + 1) ++buckets;
  EXPECT_EQ(buckets, 6 * 4);
}

TEST(GemmChoicesTest, DependOnAllThatTheLibraryLooksAt) {
  std::vector<std::byte> memory(4096);
  GemmCall call{.y = view(memory.data() + 16, DType::f32, 70, 24), .x = view(nullptr, DType::bf16, 70, 32)};
  call.out = 24;
  const GemmKey key = key_of(call);
  const auto differs = [&](auto change) {
    GemmCall other = call;
    change(other);
    return key_of(other) != key;
  };
  EXPECT_FALSE(differs([](GemmCall& c) { c.y.shape[0] = c.x.shape[0] = 80; }));  // the same bucket
  EXPECT_TRUE(differs([](GemmCall& c) { c.y.shape[0] = c.x.shape[0] = 81; }));
  EXPECT_TRUE(differs([](GemmCall& c) { c.out = 25; }));
  EXPECT_TRUE(differs([](GemmCall& c) { c.x.shape[1] = 33; }));
  EXPECT_TRUE(differs([](GemmCall& c) { c.x.dtype = DType::e4m3; }));
  EXPECT_TRUE(differs([](GemmCall& c) { c.y.dtype = DType::bf16; }));
  EXPECT_TRUE(differs([](GemmCall& c) { c.y.stride = 25; }));  // rows at any multiple of 4 bytes
  EXPECT_TRUE(differs([](GemmCall& c) { c.bias = &c; }));
  EXPECT_TRUE(differs([](GemmCall& c) { c.gelu = true; }));
  EXPECT_TRUE(differs([](GemmCall& c) { c.add = true; }));
  EXPECT_TRUE(differs([](GemmCall& c) { c.multiprocessors = 100; }));
}

Algorithm numbered(uint64_t n) { return {{n, n + 1, 0xfedcba9876543210u}}; }

TEST(GemmChoicesTest, AreKeptInAFileOfTheirDeviceAndVersion) {
  TempFolder folder;
  const fs::path cache = folder.path() / "not yet/there";
  const GemmKey one{65, 2, 3, 1, 0, 16, 9, 0}, two{80, 2, 3, 1, 0, 16, 9, 0};
  GemmChoices first(cache, "H200/a", "lib 1"), second(cache, "H200/a", "lib 1");
  first.measure(one, numbered(7));
  first.guess(two, numbered(8));
  first.save();
  second.measure(two, numbered(9));
  second.save();  // does not lose what the first wrote meanwhile
  const GemmChoices both(cache, "H200/a", "lib 1");
  ASSERT_TRUE(both.is_measured(one));
  ASSERT_TRUE(both.is_measured(two));
  EXPECT_EQ(both.find(one)->words, numbered(7).words);
  EXPECT_EQ(both.find(two)->words, numbered(9).words);
  for (const auto& [device, version] : {std::pair{"H200/b", "lib 1"}, {"H200/a", "lib 2"}})
    EXPECT_EQ(GemmChoices(cache, device, version).find(one), nullptr);
  EXPECT_EQ(std::distance(fs::directory_iterator(cache), {}), 1);  // nothing unfinished is left
}

TEST(GemmChoicesTest, OfABrokenOrForeignFileAreMadeAnew) {
  TempFolder folder;
  const GemmKey key{65, 2, 3, 1, 0, 16, 9, 0};
  GemmChoices made(folder.path(), "gpu", "lib");
  made.measure(key, numbered(7));
  made.save();
  const fs::path file = fs::directory_iterator(folder.path())->path();
  std::string whole;
  std::getline(std::ifstream(file), whole, '\0');
  const auto write = [&](const std::string& text) { std::ofstream(file) << text; };
  const auto known = [&] { return GemmChoices(folder.path(), "gpu", "lib").find(key) != nullptr; };
  EXPECT_TRUE(known());
  write(whole.substr(0, whole.size() / 2));
  EXPECT_FALSE(known());
  write("x" + whole);
  EXPECT_FALSE(known());
  write(whole + "1 2 3\n");
  EXPECT_FALSE(known());
  write("");
  EXPECT_FALSE(known());
  GemmChoices anew(folder.path(), "gpu", "lib");
  anew.measure(key, numbered(8));
  anew.save();
  EXPECT_TRUE(known());
}

TEST(GemmChoicesTest, WithoutAFolderToWriteAreOfThisRunOnly) {
  TempFolder folder;
  std::ofstream(folder.path() / "file") << "x";
  const GemmKey key{};
  for (const fs::path& cache : {fs::path(), folder.path() / "file"}) {
    GemmChoices choices(cache, "gpu", "lib");
    choices.measure(key, numbered(1));
    EXPECT_NO_THROW(choices.save());
    EXPECT_NE(choices.find(key), nullptr);
  }
}

TEST(BlasTest, RunsTheFastestOfWhatItTuned) {
  TempFolder folder;
  Gemm gemm(70, 24, 40);
  {
    Bench bench({.times = {4, 3, 2, 5}}, folder.path());
    bench.blas.gemm({}, gemm.result(), gemm.placed.tensor, gemm.matrix);
    EXPECT_EQ(bench.library->runs[0], 1);  // the library's guess
    bench.blas.tune({}, gemm.result(), gemm.placed.tensor, gemm.matrix);
    const int tuned = bench.library->runs[2];
    bench.blas.gemm({}, gemm.result(), gemm.placed.tensor, gemm.matrix);
    EXPECT_EQ(bench.library->runs[2], tuned + 1);
    bench.blas.save();
  }
  Bench later({}, folder.path());
  later.blas.tune({}, gemm.result(), gemm.placed.tensor, gemm.matrix);
  later.blas.gemm({}, gemm.result(), gemm.placed.tensor, gemm.matrix);
  EXPECT_EQ(later.library->asked, 0);  // the file knows
  EXPECT_EQ(later.library->runs[2], 1);
  Bench narrower({}, folder.path(), 100);
  narrower.blas.gemm({}, gemm.result(), gemm.placed.tensor, gemm.matrix);
  EXPECT_EQ(narrower.library->asked, 1);  // for so many multiprocessors nothing was measured
}

TEST(BlasTest, GoesOnWithAGuessWhereItsChoiceIsRefused) {
  Bench bench({.times = {4, 3, 2, 5}, .refused = 3, .refused_above = 70});
  Gemm small(70, 24, 40), large(80, 24, 40);  // of one bucket
  bench.blas.tune({}, small.result(), small.placed.tensor, small.matrix);
  bench.blas.gemm({}, large.result(), large.placed.tensor, large.matrix);
  EXPECT_EQ(bench.library->runs[0], 1 + 6);  // once beside what was timed
  expect_close(large, to_host(large.result()));
}

TEST(BlasTest, EndsAsTheEpilogueSays) {
  Gemm gemm(4, 20, 64);
  std::vector<float> bias(20);
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i) / 7;  // no bf16 numbers
  const Buffer b = upload(bias.data(), bias.size() * sizeof(float));
  const auto* device_bias = reinterpret_cast<const float*>(b.get());
  Bench bench;
  const auto run = [&](DType dtype, const Epilogue& end) {
    bench.blas.gemm({}, gemm.result(dtype), gemm.placed.tensor, gemm.matrix, end);
    return to_host(gemm.result(dtype));
  };
  expect_close(gemm, run(DType::f32, {.bias = device_bias}), bias.data());
  const std::vector<float> once = run(DType::f32, {}), twice = run(DType::f32, {.add = true});
  for (size_t i = 0; i < once.size(); ++i) EXPECT_EQ(twice[i], 2 * once[i]);
  for (float& v : bias) v = from_bf16(to_bf16(v));
  expect_close(gemm, run(DType::bf16, {.bias = device_bias}), bias.data(), DType::bf16);
  const std::vector<float> result = run(DType::bf16, {.bias = device_bias, .gelu = true});
  gemm.for_each([&](int64_t at, double sum, double) {
    const double v = sum + static_cast<double>(bias[at % 20]);
    const double gelu = 0.5 * v * (1 + std::tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
    // A bf16 result is off by half a unit in its last place; the machine's tanh is good to 2^-11.
    EXPECT_NEAR(result[at], gelu, 0x1p-8 * std::abs(gelu) + 0x1p-11 * std::abs(v) + 1e-5);
  });
}

TEST(BlasTest, RefusesWhatDoesNotFit) {
  Gemm gemm(4, 20, 64);
  Bench bench;
  const Tensor x = gemm.placed.tensor;
  const auto run = [&](Tensor y, Tensor rows, const Epilogue& end = {}) {
    bench.blas.gemm({}, y, rows, gemm.matrix, end);
  };
  EXPECT_THROW(run(view(gemm.y.get(), DType::f32, 4, 19), x), std::logic_error);
  EXPECT_THROW(run(gemm.result(), x.col_range(1, 64)), std::logic_error);
  EXPECT_THROW(run(gemm.result(DType::bf16), x, {.add = true}), std::logic_error);
  EXPECT_THROW(run(gemm.result(), x, {.gelu = true, .add = true}), std::logic_error);
}

TEST(BlasTest, MultipliesFloat8ByScalesOfRowsAndChannelsItselfOrAfterwards) {
  for (const bool row_scales : {true, false}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      Gemm gemm(70, 32, 48, DType::e4m3);
      Buffer memory;
      const ScaledRows x = gemm.scaled(memory);
      Bench bench({.row_scales = row_scales});
      for (int i = 0; i < 2; ++i) {  // what the library lacks, it lacks the second time
        ASSERT_TRUE(bench.blas.gemm({}, gemm.result(dtype), x, gemm.matrix));
        expect_close(gemm, to_host(gemm.result(dtype)), nullptr, dtype);
      }
      bench.blas.tune({}, gemm.result(dtype), x, gemm.matrix);
      ASSERT_TRUE(bench.blas.gemm({}, gemm.result(dtype), x, gemm.matrix));
      EXPECT_GT(bench.library->runs[2], 5);
    }
  }
  Gemm odd(70, 33, 48, DType::e4m3);
  Buffer memory;
  EXPECT_FALSE(Bench().blas.gemm({}, odd.result(), odd.scaled(memory), odd.matrix));
}

// Through matmul(): the library where it can, the own kernels where not, and gated products through the room.
TEST(BlasTest, TakesManyRowsOfFloat8OffTheKernels) {
  const MatmulMode fast{.deterministic = false};
  for (const bool float8 : {true, false}) {
    Bench bench({.float8 = float8});
    Gemm gemm(70, 32, 48, DType::e4m3);
    Gemm exact(70, 32, 48, DType::e4m3);
    Buffer memory;
    if (float8) exact.scaled(memory);
    MatmulScratch scratch(fast, &bench.blas);
    scratch.reserve(70, 48);
    matmul({}, scratch, gemm.result(), gemm.placed.tensor, gemm.matrix);
    expect_close(exact, to_host(gemm.result()));
    EXPECT_EQ(bench.library->runs[0], float8 ? 1 : 0);

    const Buffer half = allocate(70 * 16 * sizeof(float)), room = allocate(70 * 32 * sizeof(float));
    const Tensor y = view(half.get(), DType::f32, 70, 16), halves = view(room.get(), DType::f32, 70, 32);
    matmul({}, scratch, y, gemm.placed.tensor, gemm.matrix, {}, &halves);
    const std::vector<float> gated = to_host(y);
    exact.for_each([&](int64_t at, double gate, double) {
      const int64_t r = at / 32, c = at % 32;
      if (c % 16 >= 8) return;
      double up = 0;
      for (int64_t k = 0; k < 48; ++k)
        up += static_cast<double>(exact.x[r * 48 + k]) * static_cast<double>(exact.w[(c + 8) * 48 + k]);
      const double gelu =
          0.5 * gate * (1 + std::tanh(0.7978845608028654 * (gate + 0.044715 * gate * gate * gate)));
      // float32 sums of 48 terms, each of a few units in size
      EXPECT_NEAR(gated[r * 16 + c / 16 * 8 + c % 8], gelu * up, 1e-4 * (1 + std::abs(gelu * up)));
    });
  }
}

}  // namespace
}  // namespace lapidary::cuda
