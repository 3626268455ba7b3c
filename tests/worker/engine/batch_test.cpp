// What a sequence gets must not depend on who shares its steps.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "configs/model/model_config.h"
#include "tests/support/golden.h"
#include "worker/engine/engine.h"

namespace lapidary {
namespace {

const std::filesystem::path kModels = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/models";

struct Prompt {
  std::vector<int32_t> ids;
  std::string rgb;
};

/// Prompts of unequal length with an image each, of noise.
std::vector<Prompt> make_prompts(const ModelConfig& config, int count) {
  std::mt19937 random(11);
  std::vector<Prompt> prompts;
  for (int i = 0; i < count; ++i) {
    Prompt prompt;
    prompt.ids = {static_cast<int32_t>(config.image_token_id)};
    for (int t = 0; t < 2 + i * 3; ++t) prompt.ids.push_back(static_cast<int32_t>(4 + random() % 200));
    const auto pixels = static_cast<size_t>(config.vision.image_size * config.vision.image_size * 3);
    for (size_t p = 0; p < pixels; ++p) prompt.rgb.push_back(static_cast<char>(random()));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

/// The prompt as a prefill of sequence `place`, which has its own run of pages.
wire::Prefill& add_prefill(wire::Step& step, size_t slot, const Prompt& prompt, int64_t pages_each) {
  wire::Prefill& prefill = *step.add_prefills();
  prefill.set_sequence(static_cast<int32_t>(slot));
  prefill.mutable_ids()->Add(prompt.ids.begin(), prompt.ids.end());
  for (int64_t page = 0; page < pages_each; ++page)
    prefill.add_pages(static_cast<int32_t>(static_cast<int64_t>(slot) * pages_each + page));
  prefill.add_images()->set_rgb(prompt.rgb);
  return prefill;
}

struct Result {
  std::vector<int32_t> tokens;
  std::vector<float> logits;  // [generated, vocabulary]
  bool operator==(const Result&) const = default;
};

constexpr int kNewTokens = 12;

/// Runs prompts `batch` at a time in the given order; later arrivals' prefills share steps with earlier ones'
/// decodes.
std::vector<Result> run_batched(Engine& engine, const std::vector<Prompt>& prompts, std::vector<size_t> order,
                                size_t batch, const wire::Sampling& sampling) {
  const int64_t vocab = engine.config().text.vocab_size;
  const int64_t pages_each = engine.capacity().num_kv_pages() / engine.capacity().max_num_seqs();
  std::vector<Result> results(prompts.size());
  struct Running {
    size_t prompt, slot;
  };
  std::vector<Running> running;
  std::vector<size_t> free_slots;
  for (size_t p = 0; p < batch; ++p) free_slots.push_back(batch - 1 - p);
  std::reverse(order.begin(), order.end());
  while (!order.empty() || !running.empty()) {
    wire::Step step;
    step.set_gather_logits(true);
    for (const Running& sequence : running) step.add_decodes(static_cast<int32_t>(sequence.slot));
    if (!order.empty() && !free_slots.empty()) {  // one arrival a step
      running.push_back({order.back(), free_slots.back()});
      order.pop_back();
      free_slots.pop_back();
      const auto [number, slot] = running.back();
      wire::Prefill& prefill = add_prefill(step, slot, prompts[number], pages_each);
      *prefill.mutable_sampling() = sampling;
      prefill.mutable_sampling()->set_seed(sampling.seed() + number);
    }
    std::vector<float> logits;
    const auto done = engine.run(step, [&](const std::string& name, Tensor value) {
      if (name == "logits")
        logits.assign(value.row<float>(0), value.row<float>(0) + value.rows() * value.cols());
    });
    std::vector<Running> left;
    for (size_t i = 0; i < running.size(); ++i) {
      Result& result = results[running[i].prompt];
      result.tokens.push_back(done.tokens(static_cast<int>(i)));
      const auto at = logits.begin() + static_cast<int64_t>(i) * vocab;
      result.logits.insert(result.logits.end(), at, at + vocab);
      if (result.tokens.size() == kNewTokens) {
        free_slots.push_back(running[i].slot);
      } else {
        left.push_back(running[i]);
      }
    }
    running = std::move(left);
  }
  return results;
}

std::vector<Result> run_layout(const std::string& model, const std::string& dtype, int ranks, int threads,
                               size_t batch, unsigned shuffle, const wire::Sampling& sampling = {}) {
  const ModelConfig config = read_model_config(kModels / model);
  const auto prompts = make_prompts(config, 7);
  std::vector<size_t> order{0, 1, 2, 3, 4, 5, 6};
  std::shuffle(order.begin(), order.end(), std::mt19937(shuffle));
  EngineOptions options;
  options.model = kModels / model;
  options.dtype = enum_named<DTypeOption>(dtype);
  options.threads = threads;
  options.max_num_seqs = static_cast<int64_t>(batch);
  options.shared_vision = true;
  options.max_model_len =
      config.vision.tokens() + static_cast<int64_t>(prompts.back().ids.size()) + kNewTokens;
  options.max_num_batched_tokens = options.max_model_len * 2;
  std::vector<Result> results;
  run_threads(ranks, [&](Communicator& comm) {
    Engine engine(options, config, one_stage(comm));
    auto mine = run_batched(engine, prompts, order, batch, sampling);
    if (comm.rank() == 0) results = std::move(mine);
  });
  return results;
}

class Batch : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(Batch, NeighboursArrivalOrderRanksAndThreadsChangeNoBit) {
  const auto [model, dtype] = GetParam();
  const auto alone = run_layout(model, dtype, 1, 1, 1, 1);
  EXPECT_EQ(run_layout(model, dtype, 1, 1, 7, 2), alone);
  EXPECT_EQ(run_layout(model, dtype, 1, 3, 7, 3), alone);
  EXPECT_EQ(run_layout(model, dtype, 2, 1, 7, 4), alone);
  EXPECT_EQ(run_layout(model, dtype, 3, 2, 3, 5), alone);
}

INSTANTIATE_TEST_SUITE_P(Models, Batch,
                         ::testing::Combine(::testing::Values("like3b", "odd", "window"),
                                            ::testing::Values("float32", "bfloat16")));

/// The logits [prompts, vocabulary] of prefills that are `at_once` to a step.
std::vector<float> run_prefills(const std::vector<Prompt>& prompts, const EngineOptions& options, int ranks,
                                size_t at_once) {
  std::vector<float> logits;
  run_threads(ranks, [&](Communicator& comm) {
    Engine engine(options, read_model_config(options.model), one_stage(comm));
    const int64_t pages_each = engine.capacity().num_kv_pages() / engine.capacity().max_num_seqs();
    for (size_t first = 0; first < prompts.size(); first += at_once) {
      wire::Step step;
      step.set_gather_logits(true);
      for (size_t p = first; p < first + at_once; ++p) add_prefill(step, p, prompts[p], pages_each);
      engine.run(step, [&](const std::string& name, Tensor value) {
        if (name == "logits" && comm.rank() == 0)
          logits.insert(logits.end(), value.row<float>(0), value.row<float>(0) + value.rows() * value.cols());
      });
    }
  });
  return logits;
}

TEST(BatchOfPrefills, AStepOfMoreRowsThanTheMlpTakesAtOnceGivesTheSameBits) {
  EngineOptions options;
  options.model = kModels / "like3b";
  options.threads = 1;
  options.max_num_seqs = 4;
  options.shared_vision = true;
  options.max_model_len = 320;
  options.max_num_batched_tokens = 4 * 320;
  auto prompts = make_prompts(read_model_config(options.model), 4);
  // Over 1000 rows, in three parts; last rows that lie evenly, in two runs, and as they come.
  for (const auto& lengths :
       {std::array<size_t, 4>{250, 250, 250, 250}, {250, 250, 260, 260}, {251, 264, 270, 299}}) {
    for (size_t p = 0; p < prompts.size(); ++p) prompts[p].ids.resize(lengths[p], 7);
    const auto alone = run_prefills(prompts, options, 1, 1);
    EXPECT_EQ(run_prefills(prompts, options, 1, 4), alone);
    EXPECT_EQ(run_prefills(prompts, options, 2, 4), alone);
  }
}

TEST(Sampling, ASeedsDrawDoesNotDependOnLayout) {
  for (const auto& [temperature, top_k, top_p] : {std::tuple{1.0f, 0, 1.0f}, std::tuple{0.7f, 5, 1.0f},
                                                  std::tuple{1.3f, 0, 0.8f}, std::tuple{1.0f, 20, 0.5f}}) {
    wire::Sampling sampling;
    sampling.set_temperature(temperature);
    sampling.set_top_k(top_k);
    sampling.set_top_p(top_p);
    sampling.set_seed(42);
    const auto alone = run_layout("like3b", "float32", 1, 1, 1, 1, sampling);
    EXPECT_EQ(run_layout("like3b", "float32", 3, 1, 7, 2, sampling), alone)
        << temperature << " " << top_k << " " << top_p;
    sampling.set_seed(43);
    EXPECT_NE(run_layout("like3b", "float32", 1, 1, 1, 1, sampling), alone);
  }
}

}  // namespace
}  // namespace lapidary
