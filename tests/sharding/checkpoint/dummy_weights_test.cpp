#include "sharding/checkpoint/dummy_weights.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "kernels/tensor.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

std::vector<float> whole(TensorSource& source, const std::string& name) {
  const auto [rows, cols] = matrix_shape(source.shape_of(name));
  std::vector<float> values(static_cast<size_t>(rows * cols));
  source.read(name, {0, rows}, {0, cols}, values.data());
  return values;
}

TEST(DummyWeights, HoldsEveryTensorOfTheModelInItsShape) {
  ModelConfig config = tiny_model();
  DummyWeights weights(config);
  int64_t elements = 0;
  for (const std::string& name : weights.names()) elements += *element_count(weights.shape_of(name));
  EXPECT_EQ(elements, parameters(config).total());
  EXPECT_FALSE(weights.contains("lm_head.weight"));
  config.text.tie_word_embeddings = false;
  EXPECT_EQ(DummyWeights(config).shape_of("lm_head.weight"), (Shape{50, 32}));
}

TEST(DummyWeights, EverySliceIsThatPartOfTheWhole) {
  DummyWeights weights(tiny_model());
  for (const std::string& name : weights.names()) {
    const auto [rows, cols] = matrix_shape(weights.shape_of(name));
    const std::vector<float> all = whole(weights, name);
    const Range r{rows / 3, std::max(rows / 3 + 1, rows - 1)};
    const Range c{cols / 5, cols - 1};
    std::vector<float> part(static_cast<size_t>(r.size() * c.size()));
    weights.read(name, r, c, part.data());
    for (int64_t i = 0; i < r.size(); ++i) {
      for (int64_t j = 0; j < c.size(); ++j) {
        ASSERT_EQ(part[static_cast<size_t>(i * c.size() + j)],
                  all[static_cast<size_t>((r.begin + i) * cols + c.begin + j)])
            << name;
      }
    }
  }
}

TEST(DummyWeights, IsExactInBfloat16) {
  DummyWeights weights(tiny_model());
  for (const std::string& name : weights.names()) {
    const auto [rows, cols] = matrix_shape(weights.shape_of(name));
    const std::vector<float> all = whole(weights, name);
    std::vector<uint16_t> halves(all.size());
    weights.read_bf16(name, {0, rows}, {0, cols}, halves.data());
    for (size_t i = 0; i < all.size(); ++i) ASSERT_EQ(from_bf16(halves[i]), all[i]) << name;
  }
}

TEST(DummyWeights, SaysWhatItsNumbersAreMadeOf) {
  DummyWeights weights(tiny_model());
  for (const std::string& name : weights.names()) {
    const auto made = weights.made(name);
    ASSERT_TRUE(made);
    const auto [rows, cols] = matrix_shape(weights.shape_of(name));
    const std::vector<float> all = whole(weights, name);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c)
        ASSERT_EQ(all[static_cast<size_t>(r * cols + c)],
                  number_at(*made, row_key(*made, r), static_cast<uint32_t>(c)))
            << name;
  }
}

TEST(DummyWeights, HasASaneSpread) {
  ModelConfig config = tiny_model();
  config.text.hidden_size = config.projection_dim = 2304;
  config.text.vocab_size = 500;
  DummyWeights weights(config);
  const std::vector<float> table = whole(weights, "language_model.embed_tokens.weight");
  double sum = 0, squares = 0;
  for (float value : table) {
    sum += value;
    squares += double{value} * value;
  }
  const auto n = static_cast<double>(table.size());
  const double target = 1 / std::sqrt(2304.0);
  // A million uniform values: the mean's own error is a thousandth of their spread; five of those.
  EXPECT_LT(std::abs(sum / n), 5e-3 * target);
  // The step is a power of two, so the spread is the target within a factor of the square root of two.
  EXPECT_LT(std::sqrt(squares / n), target * 1.42);
  EXPECT_GT(std::sqrt(squares / n), target / 1.42);
  for (float value : whole(weights, "language_model.norm.weight")) EXPECT_LT(std::abs(value), 1.0 / 31);
  for (float value : whole(weights, "vision_tower.post_layernorm.weight"))
    EXPECT_LT(std::abs(value - 1), 1.0 / 16);
  for (float value : whole(weights, "vision_tower.post_layernorm.bias")) EXPECT_LT(std::abs(value), 1.0 / 63);
}

TEST(DummyWeights, NeighboursAndTensorsDiffer) {
  DummyWeights weights(tiny_model());
  const std::vector<float> q = whole(weights, "language_model.layers.0.self_attn.q_proj.weight");
  const std::vector<float> next = whole(weights, "language_model.layers.1.self_attn.q_proj.weight");
  int same = 0, along = 0, below = 0;
  for (size_t i = 0; i < q.size(); ++i) {
    same += q[i] == next[i];
    along += i + 1 < q.size() && q[i] == q[i + 1];
    below += i + 32 < q.size() && q[i] == q[i + 32];
  }
  // 1280 pairs that are equal by chance once in 256: 5 expected, 20 is beyond six standard deviations.
  EXPECT_LT(same, 20);
  EXPECT_LT(along, 20);
  EXPECT_LT(below, 20);
}

TEST(DummyWeights, StaysTheSameModel) {
  DummyWeights weights(tiny_model());
  const std::vector<float> q = whole(weights, "language_model.layers.0.self_attn.q_proj.weight");
  // Recorded once: runs of different versions can be compared only while these hold.
  uint32_t digest = 0;
  for (float value : q) digest = digest * 31 + (std::bit_cast<uint32_t>(value) >> 16);
  EXPECT_EQ(digest, 1332645905u);
}

}  // namespace
}  // namespace lapidary
