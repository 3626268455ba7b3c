// Pipeline stages, tensor-parallel ranks and vision ranks: wherever the parts of the model are, and however
// many steps are under way, each sequence gets the bits that it gets alone on one rank.
#include <gtest/gtest.h>

#include <mutex>
#include <random>

#include "tests/support/error_text.h"
#include "worker/engine/engine.h"
#include "worker/engine/vision_tower.h"

namespace lapidary {
namespace {

const std::filesystem::path kModels = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/models";
constexpr int64_t kPlaces = 4;
constexpr int kMax = 12;  // tokens of a request

struct Prompt {
  std::vector<int32_t> ids;           // one id an image
  std::vector<std::string> pictures;  // RGB8
};

/// Of unequal length; the fourth has a second image behind its text, and every other draws its tokens.
std::vector<Prompt> make_prompts(const ModelConfig& config) {
  std::mt19937 random(5);
  const auto picture = [&] {
    std::string rgb(static_cast<size_t>(config.vision.image_size * config.vision.image_size * 3), '\0');
    for (char& byte : rgb) byte = static_cast<char>(random());
    return rgb;
  };
  std::vector<Prompt> prompts(6);
  for (size_t i = 0; i < prompts.size(); ++i) {
    Prompt& prompt = prompts[i];
    prompt.ids.push_back(static_cast<int32_t>(config.image_token_id));
    prompt.pictures.push_back(picture());
    for (size_t t = 0; t < 3 + i * 4; ++t) prompt.ids.push_back(static_cast<int32_t>(4 + random() % 200));
    if (i == 3) {
      prompt.ids.push_back(static_cast<int32_t>(config.image_token_id));
      prompt.ids.push_back(7);
      prompt.pictures.push_back(picture());
    }
  }
  return prompts;
}

/// Where a picture's embeddings are.
struct Spot {
  int rank, slot;
};
Spot spot_of(const Mesh& mesh, size_t picture) {
  const auto lanes = static_cast<size_t>(vision_lanes(mesh));
  return {rank_of_lane(mesh, static_cast<int>(picture % lanes)), static_cast<int>(picture / lanes)};
}

/// Steps, and the requests for which each samples.
class Script {
 public:
  explicit Script(const ModelConfig& config) : config_(config), prompts_(make_prompts(config)) {}

  /// A step: requests that decode, and requests that begin, each at a place.
  struct Begin {
    size_t request;
    int32_t coord;
  };
  Script& step(const std::vector<size_t>& decodes, const std::vector<Begin>& begins = {}) {
    wire::Step& step = add();
    for (size_t request : decodes) step.add_decodes(place_of_.at(request));
    who_.back() = decodes;
    for (const Begin& begin : begins) {
      prefill(step, begin);
      who_.back().push_back(begin.request);
    }
    return *this;
  }
  /// Layers [first, end) of prefills; `begins` where first is 0.
  Script& layers(int32_t first, int32_t end, const std::vector<Begin>& begins) {
    wire::Step& step = add();
    step.set_first_layer(first);
    step.set_end_layer(end);
    for (const Begin& begin : begins) {
      if (first == 0) prefill(step, begin);
      if (end == config_.text.layers) who_.back().push_back(begin.request);
    }
    return *this;
  }

  /// With the pictures' pixels, or where they are on `mesh`.
  std::vector<wire::Step> steps(const Mesh* mesh) const {
    std::vector<wire::Step> steps = steps_;
    for (wire::Step& step : steps)
      for (wire::Prefill& prefill : *step.mutable_prefills()) {
        size_t picture = first_picture(prefill.request());
        for (const std::string& rgb : prompts_[prefill.request()].pictures) {
          wire::Image& image = *prefill.add_images();
          if (mesh == nullptr) {
            image.set_rgb(rgb);
            continue;
          }
          const Spot spot = spot_of(*mesh, picture++);
          image.set_rank(spot.rank);
          image.set_slot(spot.slot);
        }
      }
    return steps;
  }

  std::vector<const uint8_t*> pictures() const {
    std::vector<const uint8_t*> all;
    for (const Prompt& prompt : prompts_)
      for (const std::string& rgb : prompt.pictures)
        all.push_back(reinterpret_cast<const uint8_t*>(rgb.data()));
    return all;
  }
  const std::vector<size_t>& who(size_t step) const { return who_[step]; }
  int64_t longest() const {  // tokens of a sequence
    return 2 * config_.vision.tokens() + static_cast<int64_t>(prompts_.back().ids.size()) + kMax;
  }

 private:
  wire::Step& add() {
    wire::Step& step = steps_.emplace_back();
    step.set_number(steps_.size());
    step.set_gather_logits(true);
    who_.emplace_back();
    return step;
  }

  size_t first_picture(size_t request) const {
    size_t count = 0;
    for (size_t i = 0; i < request; ++i) count += prompts_[i].pictures.size();
    return count;
  }

  void prefill(wire::Step& step, const Begin& begin) {
    wire::Prefill& prefill = *step.add_prefills();
    const Prompt& prompt = prompts_[begin.request];
    prefill.set_request(begin.request);
    prefill.set_sequence(begin.coord);
    prefill.mutable_ids()->Add(prompt.ids.begin(), prompt.ids.end());
    const int64_t pages = longest() / KvShape::kPageTokens + 1;
    for (int64_t p = 0; p < pages; ++p) prefill.add_pages(static_cast<int32_t>(begin.coord * pages + p));
    if (begin.request % 2 == 1) {
      prefill.mutable_sampling()->set_temperature(1);
      prefill.mutable_sampling()->set_top_k(begin.request == 3 ? 9 : 0);
      prefill.mutable_sampling()->set_seed(77 + begin.request);
    }
    place_of_[begin.request] = begin.coord;
  }

  ModelConfig config_;
  std::vector<Prompt> prompts_;
  std::vector<wire::Step> steps_;
  std::vector<std::vector<size_t>> who_;
  std::map<size_t, int32_t> place_of_;
};

/// What each request got: tokens, and the logits they were drawn from.
struct Result {
  std::vector<int32_t> tokens;
  std::vector<float> logits;
  bool begins(const Result& longer) const {
    return tokens.size() <= longer.tokens.size() &&
           std::equal(tokens.begin(), tokens.end(), longer.tokens.begin()) &&
           logits.size() <= longer.logits.size() &&
           std::equal(logits.begin(), logits.end(), longer.logits.begin());
  }
};
using Results = std::map<size_t, Result>;

struct Case {
  std::string model, dtype;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.model << " " << c.dtype; }

EngineOptions options_for(const Case& c, const Script& script) {
  EngineOptions options;
  options.model = kModels / c.model;
  options.dtype = enum_named<DTypeOption>(c.dtype);
  options.threads = options.vision_threads = 1;
  options.max_num_seqs = kPlaces;
  options.max_model_len = script.longest();
  options.max_num_batched_tokens = 3 * options.max_model_len;
  options.encoder_cache_slots = 8;
  return options;
}

/// One rank's lane: the pictures that fall to it, encoded into their slots.
class Lane {
 public:
  Lane(const EngineOptions& options, const ModelConfig& config, const Script& script, const Mesh& mesh,
       int rank)
      : tower_(options, config, false), slots_(tower_.backend(), 8, tower_.tokens(), tower_.hidden()) {
    const auto pictures = script.pictures();
    for (size_t i = 0; i < pictures.size(); ++i)
      if (spot_of(mesh, i).rank == rank)
        tower_.encode(slots_.at(spot_of(mesh, i).slot), std::span(&pictures[i], 1));
  }
  const EncoderCache* slots() const { return &slots_; }

 private:
  VisionTower tower_;
  EncoderCache slots_;
};

/// Runs the script on a mesh; every rank runs all steps without looking at any result.
Results run_mesh(const Case& c, const Script& script, const Mesh& mesh, std::vector<int64_t> pp_layers = {}) {
  const ModelConfig config = read_model_config(kModels / c.model);
  EngineOptions options = options_for(c, script);
  options.pp_layers = std::move(pp_layers);
  Results results;
  run_threads(mesh.world(), [&](Communicator& comm) {
    const MeshCoord coord = coord_of(mesh, comm.rank());
    const auto tp = comm.split(coord.decodes() ? coord.stage : mesh.pp + coord.rank);
    Engine engine(options, config, {comm, *tp, mesh, coord});
    std::optional<Lane> lane;
    if (has_vision_lane(mesh, coord)) lane.emplace(options, config, script, mesh, comm.rank());
    if (lane) engine.read_slots(lane->slots());
    const auto steps = script.steps(&mesh);
    const bool last = coord.stage == mesh.pp - 1, tells = last && coord.tp_rank == 0;
    for (size_t s = 0; s < steps.size(); ++s) {
      std::vector<float> logits;
      const auto done = engine.run(steps[s], [&](const std::string& name, Tensor value) {
        if (name == "logits")
          logits.assign(value.row<float>(0), value.row<float>(0) + value.rows() * value.cols());
      });
      EXPECT_EQ(done.number(), s + 1);
      const auto& who = script.who(s);
      ASSERT_EQ(static_cast<size_t>(done.tokens_size()), last ? who.size() : 0) << "step " << s + 1;
      if (!tells) continue;
      const auto vocab = static_cast<std::ptrdiff_t>(engine.config().text.vocab_size);
      for (size_t i = 0; i < who.size(); ++i) {
        Result& result = results[who[i]];
        result.tokens.push_back(done.tokens(static_cast<int>(i)));
        const auto at = logits.begin() + static_cast<std::ptrdiff_t>(i) * vocab;
        result.logits.insert(result.logits.end(), at, at + vocab);
      }
    }
  });
  return results;
}

/// Each request alone, one after the other, on one rank that encodes its pixels in the step.
Results run_alone(const Case& c) {
  const ModelConfig config = read_model_config(kModels / c.model);
  Script script(config);
  for (size_t request = 0; request < 6; ++request) {
    script.step({}, {{request, 0}});
    for (int t = 1; t < kMax; ++t) script.step({request});
  }
  EngineOptions options = options_for(c, script);
  options.shared_vision = true;
  const auto solo = make_solo();
  Engine engine(options, config, one_stage(*solo));
  Results results;
  const auto steps = script.steps(nullptr);
  for (size_t s = 0; s < steps.size(); ++s) {
    Result& result = results[script.who(s).at(0)];
    const auto done = engine.run(steps[s], [&](const std::string& name, Tensor value) {
      if (name == "logits")
        result.logits.insert(result.logits.end(), value.row<float>(0), value.row<float>(0) + value.cols());
    });
    result.tokens.push_back(done.tokens(0));
  }
  return results;
}

void expect_as_alone(const Results& results, const Results& alone, const std::string& what) {
  ASSERT_FALSE(results.empty()) << what;
  for (const auto& [request, result] : results)
    EXPECT_TRUE(result.begins(alone.at(request))) << what << ", request " << request;
}

/// Continuous batching with disjoint groups in turn, as stages are kept busy: arrivals among decodes, decodes
/// in another order than the arrivals', places taken by new requests while steps of their last owner are
/// under way.
Script busy_script(const ModelConfig& config) {
  Script script(config);
  script.step({}, {{0, 2}}).step({0}, {{1, 0}}).step({0, 1}).step({1}, {{2, 1}, {3, 3}});
  for (int i = 0; i < 3; ++i) script.step({3, 0}).step({2, 1});
  script.step({2}, {{4, 2}}).step({3, 1}).step({4, 2}, {{5, 0}});  // 4 has 0's place, 5 has 1's
  for (int i = 0; i < 3; ++i) script.step({5, 4}).step({3}).step({2});
  return script;
}

class Stages : public ::testing::TestWithParam<Case> {};

TEST_P(Stages, AnyMeshGivesTheBitsOfOneRank) {
  const ModelConfig config = read_model_config(kModels / GetParam().model);
  const Script script = busy_script(config);
  const Results alone = run_alone(GetParam());
  for (int pp : {1, 2, 3})
    for (int tp : {1, 2})
      for (int vision : {0, 1})
        expect_as_alone(run_mesh(GetParam(), script, {tp, pp, 1, vision}), alone,
                        cat("pp ", pp, " tp ", tp, " vision ranks ", vision));
}

TEST_P(Stages, LayerGroupsWithDecodesBetweenGiveTheBitsOfWholePrefills) {
  const ModelConfig config = read_model_config(kModels / GetParam().model);
  const auto layers = static_cast<int32_t>(config.text.layers);
  const Results alone = run_alone(GetParam());
  for (int32_t size : {1, 2, 5}) {
    Script script(config);
    script.step({}, {{0, 2}, {1, 0}});
    for (int32_t first = 0; first < layers; first += size)
      script.layers(first, std::min(layers, first + size), {{2, 1}, {3, 3}}).step({1, 0}).step({0});
    script.step({3, 1, 2}, {{4, 2}});
    for (int32_t first = 0; first < layers; first += size)
      script.layers(first, std::min(layers, first + size), {{5, 0}}).step({4, 2});
    script.step({5}).step({3, 5, 4});
    for (const Mesh& mesh : {Mesh{1, 1, 1, 0}, Mesh{1, 2, 1, 0}, Mesh{2, 2, 1, 1}, Mesh{1, 3, 1, 0}})
      expect_as_alone(run_mesh(GetParam(), script, mesh), alone,
                      cat("groups of ", size, " pp ", mesh.pp, " tp ", mesh.tp));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Stages,
                         ::testing::Values(Case{"like3b", "float32"}, Case{"like3b", "bfloat16"},
                                           Case{"odd", "float32"}, Case{"odd", "bfloat16"},
                                           Case{"window", "float32"}, Case{"window", "bfloat16"}),
                         [](const auto& c) { return c.param.model + "_" + c.param.dtype; });

TEST(StageLayers, AreTheUsersWhereGiven) {
  const Case c{"like3b", "float32"};
  const ModelConfig config = read_model_config(kModels / c.model);
  const Script script = busy_script(config);
  const Results alone = run_alone(c);
  expect_as_alone(run_mesh(c, script, {1, 2, 1, 0}, {1, 3}), alone, "1,3");
  expect_as_alone(run_mesh(c, script, {1, 2, 1, 0}, {3, 1}), alone, "3,1");
  EXPECT_EQ(error_of([&] {
              run_mesh(c, script, {1, 2, 1, 0}, {2, 3});
            }),
            "--pp-layers adds up to 5 layers, but the model has 4");
}

TEST(TokenFeed, TokensThatNobodyAsksForDoNotPileUp) {
  const Case c{"odd", "float32"};
  const ModelConfig config = read_model_config(kModels / c.model);
  Script script(config);
  for (int i = 0; i < 150; ++i) script.step({}, {{0, i % 4}});  // each ends at its first token
  script.step({}, {{2, 1}}).step({2}).step({2});
  Results results = run_mesh(c, script, {1, 2, 1, 0});
  results.erase(0);
  expect_as_alone(results, run_alone(c), "after many that ended");
}

}  // namespace
}  // namespace lapidary
