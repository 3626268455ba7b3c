// A step comes over the network: whatever its numbers, it is refused by a sentence before anything is
// changed.
#include <gtest/gtest.h>

#include "tests/support/error_text.h"
#include "worker/engine/engine.h"

namespace lapidary {
namespace {

class StepCheck : public ::testing::Test {
 protected:
  StepCheck() : solo_(make_solo()) {
    EngineOptions options;
    options.model = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/models/like3b";
    options.threads = 1;
    options.max_num_seqs = 3;
    options.encoder_cache_slots = 2;
    config_ = read_model_config(options.model);
    options.max_model_len = config_.vision.tokens() + 50;
    options.max_num_batched_tokens = options.max_model_len + 10;
    engine_.emplace(options, config_, one_stage(*solo_));
    slots_.emplace(engine_->backend(), 2, config_.vision.tokens(), config_.text.hidden_size);
    engine_->read_slots(&*slots_);
  }

  wire::Step next() {
    wire::Step step;
    step.set_number(number_ + 1);
    return step;
  }
  wire::Prefill& add(wire::Step& step, int place) const {
    wire::Prefill& prefill = *step.add_prefills();
    prefill.set_sequence(place);
    prefill.add_ids(static_cast<int32_t>(config_.image_token_id));
    for (int32_t id : {5, 6, 7}) prefill.add_ids(id);
    prefill.add_images();
    prefill.add_pages(place * 2);
    return prefill;
  }
  wire::StepDone run(const wire::Step& step) {
    auto done = engine_->run(step);
    ++number_;
    return done;
  }
  void refused(const wire::Step& step, const std::string& part) {
    const std::string text = error_of([&] { engine_->run(step); });
    EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' in: " << text;
  }
  /// A step with a good prefill that `spoil` makes bad.
  void refused_prefill(const std::function<void(wire::Prefill&)>& spoil, const std::string& part) {
    wire::Step step = next();
    spoil(add(step, 1));
    refused(step, part);
  }

  std::unique_ptr<Communicator> solo_;
  ModelConfig config_;
  std::optional<Engine> engine_;
  std::optional<EncoderCache> slots_;
  uint64_t number_ = 0;
};

TEST_F(StepCheck, NumbersThatCannotBeAreNamedAndNothingIsChanged) {
  wire::Step first = next();
  add(first, 0);
  EXPECT_EQ(run(first).tokens_size(), 1);
  refused(first, "step 1 came after step 1");
  wire::Step late = next();
  late.set_number(3);
  refused(late, "step 3 came after step 1");

  for (const auto& [place, part] : {std::pair{3, "there are 3 places"}, {-1, "sequence -1"}}) {
    wire::Step step = next();
    step.add_decodes(place);
    refused(step, part);
  }
  wire::Step unknown = next();
  unknown.add_decodes(1);
  refused(unknown, "decodes sequence 1, whose prefill has not run");
  wire::Step twice = next();
  twice.add_decodes(0);
  twice.add_decodes(0);
  refused(twice, "names sequence 0 twice");
  wire::Step both = next();
  both.add_decodes(0);
  add(both, 0);
  refused(both, "names sequence 0 twice");

  wire::Step good = next();
  good.add_decodes(0);
  EXPECT_EQ(run(good).tokens_size(), 1);
}

TEST_F(StepCheck, APrefillMustFitWhatTheWorkerHolds) {
  refused_prefill([](auto& p) { p.set_sequence(7); }, "sequence 7, but there are 3 places");
  refused_prefill([](auto& p) { p.add_pages(6); }, "KV page 6, but there are");
  refused_prefill([](auto& p) { p.add_pages(-1); }, "KV page -1");
  refused_prefill([](auto& p) { p.clear_pages(); }, "tokens in pages for 0");
  refused_prefill([](auto& p) { p.add_ids(352); }, "token 352 in a prefix, but the vocabulary has 352");
  refused_prefill([](auto& p) { p.add_ids(-2); }, "token -2");
  refused_prefill([](auto& p) { p.clear_images(); }, "0 images for a prefix with places for 1");
  refused_prefill([](auto& p) { p.add_images(); }, "2 images for a prefix with places for 1");
  refused_prefill([](auto& p) { p.clear_ids(), p.clear_images(); }, "a prefix of 0 tokens");
  refused_prefill(
      [](auto& p) {
        for (int i = 0; i < 60; ++i) p.add_ids(9);
      },
      "tokens, but 1 to");
  refused_prefill([](auto& p) { p.mutable_images(0)->set_rank(1); }, "rank 1, which has no vision lane");
  refused_prefill([](auto& p) { p.mutable_images(0)->set_rank(-5); }, "rank -5");
  refused_prefill([](auto& p) { p.mutable_images(0)->set_slot(2); }, "slot 2, but a vision lane has 2");
  refused_prefill([](auto& p) { p.mutable_images(0)->set_slot(-1); }, "slot -1");
  refused_prefill([](auto& p) { p.mutable_images(0)->set_rgb("x"); }, "brings pixels");

  wire::Step many = next();
  for (int place : {0, 1, 2})
    for (int i = 0; i < 20; ++i) add(many, place).add_ids(8);
  refused(many, "twice");
  wire::Step rows = next();
  for (int place : {0, 1, 2})
    for (wire::Prefill& p = add(rows, place); p.ids_size() < 45;) p.add_ids(8);
  refused(rows, "new rows, but this worker was built for");

  wire::Step good = next();
  add(good, 2);
  EXPECT_EQ(run(good).tokens_size(), 1);
}

TEST_F(StepCheck, LayerGroupsFollowOneAnother) {
  const auto part = [&](int first, int end, bool prefill) {
    wire::Step step = next();
    step.set_first_layer(first);
    step.set_end_layer(end);
    if (prefill) add(step, 1);
    return step;
  };
  refused(part(1, 2, false), "goes on at layer 1, but layer 0 is next");
  refused(part(0, 5, true), "but the model has 4");
  refused(part(2, 0, false), "runs layers 2 to 0");
  refused(part(-1, 2, true), "runs layers -1 to 2");
  refused(part(0, 2, false), "lists 0 prefills");
  EXPECT_EQ(run(part(0, 2, true)).tokens_size(), 0);
  refused(part(0, 2, true), "goes on at layer 0, but layer 2 is next");
  refused(part(2, 3, true), "lists 1 prefills");
  refused(part(3, 4, false), "goes on at layer 3, but layer 2 is next");
  wire::Step early = next();
  early.add_decodes(1);
  refused(early, "whose prefill has not run");
  wire::Step again = next();
  add(again, 1);
  refused(again, "whose place has a prefill under way");
  wire::Step other = next();
  add(other, 0);
  EXPECT_EQ(run(other).tokens_size(), 1);
  wire::Step mixed = part(2, 4, false);
  mixed.add_decodes(0);
  refused(mixed, "a decode runs all layers");
  EXPECT_EQ(run(part(2, 4, false)).tokens_size(), 1);
  wire::Step decode = next();
  decode.add_decodes(1);
  EXPECT_EQ(run(decode).tokens_size(), 1);
}

TEST_F(StepCheck, ASequenceEndsWhereItsPagesAre) {
  wire::Step first = next();
  wire::Prefill& prefill = add(first, 0);
  run(first);
  const int64_t room = std::min<int64_t>(KvShape::kPageTokens, engine_->capacity().max_model_len());
  const int64_t prefix = prefill.ids_size() - 1 + config_.vision.tokens();
  for (int64_t length = prefix; length < room; ++length) {
    wire::Step step = next();
    step.add_decodes(0);
    run(step);
  }
  wire::Step full = next();
  full.add_decodes(0);
  refused(full, cat("whose ", room, " tokens fill its room of ", room));
}

}  // namespace
}  // namespace lapidary
