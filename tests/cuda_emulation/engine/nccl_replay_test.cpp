// Recorded steps hold their sums over ranks: ranks are threads, each with an emulated GPU of its own.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <map>

#include "configs/error.h"
#include "tests/cuda_emulation/engine/steps.h"
#include "tests/cuda_emulation/kernel_count.h"
#include "tests/cuda_emulation/nccl/nccl_emulation.h"

namespace lapidary {
namespace {

struct Heard {
  std::vector<std::vector<int32_t>> tokens;           // of each step
  std::map<std::string, std::vector<float>> tensors;  // of one more, plain, step
  int64_t replays = 0;
  int64_t kernels = 0;  // of all ranks
};

/// What a company of sequences comes to. The last step's attention reads the keys and values that the steps
/// before it have left, so its tensors tell of their bits.
Heard heard_on(int ranks, const EngineOptions& options, bool plain) {
  const ModelConfig config = read_model_config(options.model);
  Heard heard;
  const int64_t kernels = emulation::kernels_run();
  run_threads(ranks, [&](Communicator& host) {
    EngineOptions mine = options;
    mine.device = cat("cuda:", host.rank());
    mine.nccl = LAPIDARY_NCCL_LIBRARY;
    Engine engine(mine, config, one_stage(host));
    const bool first = host.rank() == 0;
    auto tokens = company(engine, plain);
    if (first) heard.tokens = std::move(tokens), heard.replays = engine.backend().replays();
    wire::Step last = decode({0, 1, 2, 4});
    last.set_gather_logits(true);
    engine.run(last, [&](const std::string& name, Tensor value) {
      if (!first) return;
      std::vector<float>& values = heard.tensors[name];
      for (int64_t r = 0; r < value.rows(); ++r)
        values.insert(values.end(), value.row<float>(r), value.row<float>(r) + value.cols());
    });
  });
  heard.kernels = emulation::kernels_run() - kernels;
  return heard;
}

template <class Function>
Function* stand_ins(const char* name) {
  void* library = ::dlopen(LAPIDARY_NCCL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  return reinterpret_cast<Function*>(::dlsym(library, name));
}

/// The same where GPUs reach each other's memory, and all sums but the largest go that way.
Heard heard_by_peers(int ranks, EngineOptions options) {
  auto* const connect = stand_ins<decltype(nccl_emulation_connect_memory)>("nccl_emulation_connect_memory");
  connect(true);
  options.peer_sums = 1 << 30;
  const Heard heard = heard_on(ranks, options, false);
  connect(false);
  return heard;
}

void expect_equal(const Heard& heard, const Heard& wanted) {
  EXPECT_EQ(heard.tokens, wanted.tokens);
  ASSERT_GT(wanted.tensors.size(), 4u);
  ASSERT_EQ(heard.tensors.size(), wanted.tensors.size());
  for (const auto& [name, values] : wanted.tensors) EXPECT_EQ(heard.tensors.at(name), values) << name;
}

class NcclReplay : public testing::TestWithParam<std::pair<int, const char*>> {};

TEST_P(NcclReplay, RecordedSumsGiveTheBitsOfPlainStepsOnOneGpu) {
  const auto& [ranks, dtype] = GetParam();
  const EngineOptions options = company_options(dtype);
  const Heard plain = heard_on(1, options, true), recorded = heard_on(ranks, options, false);
  EXPECT_EQ(plain.replays, 0);
  EXPECT_GT(recorded.replays, 5);
  expect_equal(recorded, plain);

  const Heard by_peers = heard_by_peers(ranks, options);
  EXPECT_EQ(by_peers.replays, recorded.replays);
  expect_equal(by_peers, plain);
  // Two sums a layer are one kernel each where they were two, of the gathered blocks and of the norm.
  const int64_t layers = read_model_config(options.model).text.layers;
  const auto forwards = static_cast<int64_t>(plain.tokens.size()) + 1;
  EXPECT_GE(recorded.kernels - by_peers.kernels, ranks * forwards * 2 * layers);
}

INSTANTIATE_TEST_SUITE_P(Ranks, NcclReplay,
                         testing::Values(std::pair{2, "float32"}, std::pair{4, "bfloat16"}),
                         [](const auto& tested) {
                           return cat(tested.param.first, "_", tested.param.second);
                         });

TEST(NcclReplayed, StepsThatAreNotDeterministicKeepTheirBitsToo) {
  EngineOptions options = company_options("float32");
  options.deterministic = false;
  const Heard plain = heard_on(2, options, true), recorded = heard_on(2, options, false);
  EXPECT_GT(recorded.replays, 5);
  EXPECT_EQ(recorded.tokens, plain.tokens);
  EXPECT_EQ(recorded.tensors, plain.tensors);
}

/// In how many streams the ranks have added up, since the last call.
int streams_used() {
  return stand_ins<decltype(nccl_emulation_take_streams)>("nccl_emulation_take_streams")();
}

class NcclHalves : public testing::TestWithParam<std::pair<int, const char*>> {};

TEST_P(NcclHalves, PrefillsThatAddUpBesideTheirProductsGiveTheBitsOfOneGpu) {
  const auto& [ranks, dtype] = GetParam();
  EngineOptions options = company_options(dtype);
  const Heard whole = heard_on(1, options, false);
  streams_used();
  options.overlap_min_rows = 12;  // all prefills and no decode step
  const Heard halves = heard_on(ranks, options, false);
  EXPECT_EQ(streams_used(), 2 * ranks);
  expect_equal(halves, whole);
  expect_equal(heard_by_peers(ranks, options), whole);
}

INSTANTIATE_TEST_SUITE_P(Ranks, NcclHalves,
                         testing::Values(std::pair{2, "bfloat16"}, std::pair{3, "float32"}),
                         [](const auto& tested) {
                           return cat(tested.param.first, "_", tested.param.second);
                         });

TEST(NcclReplayed, AListenerOfOneRankAloneIsRefused) {
  run_threads(2, [&](Communicator& host) {
    EngineOptions mine = company_options("float32");
    mine.device = cat("cuda:", host.rank());
    mine.nccl = LAPIDARY_NCCL_LIBRARY;
    Engine engine(mine, read_model_config(mine.model), one_stage(host));
    if (host.rank() == 0) {
      EXPECT_THROW(engine.run(decode({0}), [](const std::string&, Tensor) {}), std::logic_error);
    }
  });
}

}  // namespace
}  // namespace lapidary
