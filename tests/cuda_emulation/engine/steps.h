#pragma once

#include <random>
#include <string>
#include <vector>

#include "configs/model/model_config.h"
#include "tests/support/test_data.h"
#include "worker/engine/engine.h"

namespace lapidary {

inline EngineOptions options_for(const std::filesystem::path& model, const std::string& dtype,
                                 int64_t sequences) {
  EngineOptions options;
  options.model = model;
  options.dtype = enum_named<DTypeOption>(dtype);
  options.threads = 1;
  options.max_num_seqs = sequences;
  options.shared_vision = true;
  options.device = "cuda";
  options.deterministic = true;
  return options;
}

inline wire::Step decode(const std::vector<int32_t>& slots) {
  wire::Step step;
  for (int32_t place : slots) step.add_decodes(place);
  return step;
}

/// Text alone at a place, of a length and with a way of drawing of its own.
inline void add_prefill(wire::Step& step, int32_t place, uint64_t request) {
  std::mt19937 random(static_cast<unsigned>(request));
  wire::Prefill& prefill = *step.add_prefills();
  prefill.set_sequence(place);
  for (uint64_t i = 0; i < 3 + request * 13; ++i) prefill.add_ids(static_cast<int32_t>(4 + random() % 200));
  for (int32_t p = 0; p < 3; ++p) prefill.add_pages(place * 3 + p);
  wire::Sampling& sampling = *prefill.mutable_sampling();
  sampling.set_seed(request);
  if (request % 3 == 1) sampling.set_temperature(1.2f);
  if (request % 3 == 2) sampling.set_temperature(0.8f), sampling.set_top_k(20), sampling.set_top_p(0.9f);
}

inline EngineOptions company_options(const std::string& dtype) {
  EngineOptions options = options_for(test_data() / "tests/golden/models/like3b", dtype, 5);
  options.max_model_len = 3 * KvShape::kPageTokens;
  return options;
}

/// Sequences join, decode in changing company and leave; the tokens of all steps. Plain steps are not
/// recorded.
inline std::vector<std::vector<int32_t>> company(Engine& engine, bool plain = false) {
  std::vector<wire::Step> steps(1);
  const auto join = [&](int32_t place, uint64_t request, const std::vector<int32_t>& beside) {
    steps.push_back(decode(beside));
    add_prefill(steps.back(), place, request);
  };
  add_prefill(steps.front(), 2, 1);
  for (int i = 0; i < 4; ++i) steps.push_back(decode({2}));
  join(0, 2, {2});
  for (int i = 0; i < 3; ++i) steps.push_back(decode({2, 0}));
  join(4, 3, {0});
  join(1, 4, {4, 0, 2});
  for (int i = 0; i < 3; ++i) steps.push_back(decode({4, 1, 0}));
  for (int i = 0; i < 3; ++i) steps.push_back(decode({0, 1, 2, 4}));
  join(2, 5, {4, 1});  // another at a place that was left
  for (int i = 0; i < 3; ++i) steps.push_back(decode({2, 1}));
  for (int i = 0; i < 2; ++i) steps.push_back(decode({4}));
  std::vector<std::vector<int32_t>> all;
  for (wire::Step& step : steps) {
    step.set_gather_logits(plain);
    const auto done = engine.run(step);
    all.emplace_back(done.tokens().begin(), done.tokens().end());
  }
  return all;
}

}  // namespace lapidary
