#include "sharding/checkpoint/weight_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "configs/error.h"
#include "sharding/checkpoint/checkpoint.h"
#include "sharding/checkpoint/dummy_weights.h"
#include "sharding/checkpoint/safetensors.h"
#include "tests/cuda_emulation/emulated_backend.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

// What the host packs for the CPU and what the device makes of stored rows are the same numbers.

class EmulatedWeights : public testing::Test {
 protected:
  EmulatedWeights() : cpu(make_cpu_backend(threads)), gpu(make_emulated_cuda_backend(threads)) {
    for (size_t i = 0; i < floats.size(); ++i) {
      floats[i] = std::sin(static_cast<float>(i));
      halves[i] = static_cast<uint16_t>(i * 37 % 0x7c00);  // any float16
      brains[i] = to_bf16(floats[i]);
    }
    write_safetensors(folder / "model.safetensors",
                      {{"float", StoredType::f32, {kRows, kCols}, floats.data()},
                       {"half", StoredType::f16, {kRows, kCols}, halves.data()},
                       {"brain", StoredType::bf16, {kRows, kCols}, brains.data()},
                       {"integer", StoredType::u16, {kRows, kCols}, brains.data()}});
  }

  /// Rows [0, rows) of b, or those of each half of a gated one, are the rows of a.
  void expect_same_rows(const Matrix& a, const Matrix& b, int64_t run = 0) {
    ASSERT_GE(b.out, a.out);
    const int64_t half = a.out / 2;
    std::vector<float> row(static_cast<size_t>(a.in)), other(row.size());
    for (int64_t r = 0; r < a.out; ++r) {
      const int64_t of_half = run == 0 ? r : r % half;
      cpu->unpack_row(a, r, row.data());
      gpu->unpack_row(b, run == 0 ? r : of_half / run * 2 * run + of_half % run + r / half * run,
                      other.data());
      ASSERT_EQ(std::memcmp(row.data(), other.data(), row.size() * sizeof(float)), 0) << "row " << r;
    }
  }

  void expect_same(TensorSource& source, const std::vector<Slice>& slices) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(slices[0].name + " in " + name_of(dtype));
      WeightStore packed(source, *cpu, dtype), loaded(source, *gpu, dtype);
      const SumPlan whole = SumPlan::whole(slices[0].cols.size());
      const Matrix a = packed.matrix(slices), b = loaded.matrix(slices);
      const Matrix small = packed.matrix(slices, whole, DType::e4m3),
                   held = loaded.matrix(slices, whole, DType::e4m3);
      const Vector v = packed.vector(slices), w = loaded.vector(slices);
      loaded.finish();
      ASSERT_EQ(a.out, b.out);
      expect_same_rows(a, b);
      expect_same_rows(small, held);
      ASSERT_EQ(v.size, w.size);
      std::vector<float> values(static_cast<size_t>(v.size));
      gpu->copy(view(values.data(), DType::f32, 1, v.size),
                view(const_cast<float*>(w.get()), DType::f32, 1, v.size));
      EXPECT_EQ(std::memcmp(values.data(), v.get(), values.size() * sizeof(float)), 0);
    }
  }

  /// The device holds the rows of both in turn, the CPU one below the other.
  void expect_same_gated(TensorSource& source, const Slice& gate, const Slice& up) {
    ASSERT_GT(gpu->gate_up_interleave(), 0);
    for (const DType linear : {DType::f32, DType::bf16})
      for (const DType dtype : {linear, DType::e4m3}) {
        SCOPED_TRACE(gate.name + " in " + name_of(dtype) + " by " + name_of(linear));
        WeightStore packed(source, *cpu, linear), loaded(source, *gpu, linear);
        const Matrix a = packed.matrix({gate, up}, SumPlan::whole(gate.cols.size()), dtype);
        const Matrix b = loaded.gated(gate, up, dtype);
        loaded.finish();
        expect_same_rows(a, b, gpu->gate_up_interleave());
      }
  }

  static constexpr int64_t kRows = 50, kCols = 67;
  std::vector<float> floats = std::vector<float>(kRows * kCols);
  std::vector<uint16_t> halves = std::vector<uint16_t>(kRows * kCols), brains = halves;
  TempFolder folder;
  ThreadPool threads{2};
  std::unique_ptr<Backend> cpu, gpu;
};

TEST_F(EmulatedWeights, AreThoseOfTheCheckpointHoweverTheyAreStoredAndCut) {
  Checkpoint source(folder.path());
  for (const char* name : {"float", "half", "brain"}) {
    expect_same(source, {Slice::whole(name, kRows, kCols)});
    expect_same(source, {{name, {kRows, kCols}, {0, kRows}, {13, 30}}});
    expect_same(source,
                {{name, {kRows, kCols}, {7, 19}, {1, 66}}, {"brain", {kRows, kCols}, {20, 50}, {0, 65}}});
  }
}

TEST_F(EmulatedWeights, OfAGateAndWhatItGatesLieInTurns) {
  Checkpoint source(folder.path());
  for (const char* name : {"float", "half", "brain"})
    for (const Range rows : {Range{0, kRows}, Range{3, 10}, Range{5, 37}})
      expect_same_gated(source, {name, {kRows, kCols}, rows, {0, kCols}},
                        {"brain", {kRows, kCols}, rows, {0, kCols}});
  DummyWeights made(tiny_model());
  const std::string layer = "language_model.layers.0.mlp.";
  expect_same_gated(made, {layer + "gate_proj.weight", {48, 32}, {7, 40}, {0, 32}},
                    {layer + "up_proj.weight", {48, 32}, {7, 40}, {0, 32}});
}

TEST_F(EmulatedWeights, AreMadeOnTheDeviceFromTheirNames) {
  DummyWeights source(tiny_model());
  for (const std::string& name : source.names()) {
    const auto [rows, cols] = matrix_shape(source.shape_of(name));
    expect_same(source, {{name, {rows, cols}, {rows / 3, rows}, {cols / 5, cols}}});
  }
  EXPECT_NO_THROW(source.check_all_used());
}

/// A tensor [rows, cols] of whole numbers that can only be had as it is stored.
class StoredOnly final : public TensorSource {
 public:
  StoredOnly(int64_t rows, int64_t cols) : TensorSource("stored"), cols_(cols) { add("w", {rows, cols}); }

 private:
  void fetch(size_t, Range, Range, float*) override { ADD_FAILURE() << "the host converts"; }
  void fetch(size_t, Range, Range, uint16_t*) override { ADD_FAILURE() << "the host converts"; }
  DType dtype_of(size_t) const override { return DType::bf16; }
  void fetch_stored(size_t, Range rows, Range cols, std::byte* out) override {
    for (int64_t r = rows.begin; r < rows.end; ++r)
      for (int64_t c = cols.begin; c < cols.end; ++c, out += sizeof(uint16_t)) {
        const uint16_t bits = to_bf16(static_cast<float>(r * cols_ + c));
        std::memcpy(out, &bits, sizeof bits);
      }
  }
  int64_t cols_;
};

TEST_F(EmulatedWeights, ComeToTheDeviceAsTheyAreStoredWhateverTheyBecome) {
  const int64_t rows = 8, cols = 16;
  StoredOnly source(rows, cols);
  WeightStore weights(source, *gpu, DType::bf16);
  for (const DType dtype : {DType::f32, DType::bf16, DType::e4m3})
    for (const Range held : {Range{0, cols}, Range{0, 8}}) {
      const Matrix w =
          weights.matrix({{"w", {rows, cols}, {0, rows}, held}}, SumPlan::whole(held.size()), dtype);
      weights.finish();
      std::vector<float> row(static_cast<size_t>(held.size()));
      for (int64_t r = 0; r < rows; ++r) {
        gpu->unpack_row(w, r, row.data());
        // The scale of e4m3 is that of the row's last number, held or not.
        const auto value = static_cast<float>(r * cols + 5);
        const float scale = e4m3_scale(static_cast<float>(r * cols + cols - 1));
        EXPECT_EQ(row[5], dtype == DType::e4m3 ? from_e4m3(to_e4m3(value / scale)) * scale : value) << r;
      }
    }
}

TEST_F(EmulatedWeights, SayWhatIsWrongWithTheirFile) {
  Checkpoint source(folder.path());
  WeightStore weights(source, *gpu, DType::bf16);
  EXPECT_THAT(error_of([&] { weights.matrix({Slice::whole("integer", kRows, kCols)}); }),
              testing::HasSubstr("is stored as U16"));
  std::filesystem::resize_file(folder / "model.safetensors", 6000);
  EXPECT_THAT(
      error_of([&] { weights.matrix({Slice::whole("brain", kRows, kCols)}); }),
      testing::AllOf(testing::HasSubstr("model.safetensors"), testing::HasSubstr("6000 bytes long now")));
}

}  // namespace
}  // namespace lapidary
