// Whole workers as threads of this process, over real connections; the test is their coordinator.
#include "worker/lanes/worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <map>

#include "configs/error.h"
#include "tests/support/control_rig.h"
#include "worker/engine/engine.h"
#include "worker/images/image.h"
#include "worker/images/resize.h"

namespace lapidary {

void PrintTo(const Mesh& mesh, std::ostream* out) {
  *out << "tp " << mesh.tp << " pp " << mesh.pp << " vision " << mesh.vision_ranks;
}

namespace {

using boost::asio::ip::tcp;
using testing::HasSubstr;

const std::filesystem::path kSource = LAPIDARY_SOURCE_DIR;
const std::filesystem::path kModel = kSource / "tests/golden/models/like3b";
const std::filesystem::path kPictures[] = {kSource / "tests/golden/images/jpeg_420.jpg",
                                           kSource / "tests/golden/images/size_333x500.png"};
constexpr int kNewTokens = 10;

EngineOptions engine_options() {
  EngineOptions options;
  options.model = kModel;
  options.dtype = DTypeOption::float32;
  options.images.processor = ImageProcessor::pillow;  // as tokens_of_one_rank resizes
  options.isa = "portable";
  options.threads = 1;
  options.vision_threads = 1;
  options.max_num_seqs = 2;
  return options;
}

/// Returns once the rank has heard all that was said to it.
void await_heard(Peer& peer) {
  wire::Frame beat;
  beat.mutable_heartbeat()->set_clock(4711);
  peer.say(beat);
  while (peer.hear().value().heartbeat().echo() != 4711) continue;
}

/// All ranks of a replica on threads, each with a connection to this coordinator. `welcomed` is called with
/// each rank, in the order in which they come, before the next one hears anything.
class Job {
 public:
  explicit Job(
      const Mesh& mesh, WorkerOptions options = {engine_options(), 1},
      const std::function<void(Peer&)>& welcomed = [](Peer&) {})
      : mesh_(mesh) {
    workers_ = std::async(std::launch::async, [this, options] {
      run_threads(mesh_.world(), [&](Communicator& comm) { run_rank(comm, options); });
    });
    for (int r = 0; r < mesh.world(); ++r) {
      auto peer = std::make_unique<Peer>(acceptor_);
      const int rank = peer->hear().value().hello().rank();
      wire::Frame welcome;
      welcome.mutable_welcome()->set_heartbeat_seconds(0.01);
      welcome.mutable_welcome()->set_dead_after_seconds(120);
      welcome.mutable_welcome()->set_spans(true);
      peer->say(welcome);
      welcomed(*peer);
      peers_[rank] = std::move(peer);
    }
  }

  /// The rank's next frame that is neither a heartbeat nor about loading.
  wire::Frame news(int rank) {
    while (true) {
      auto frame = peers_.at(rank)->hear();
      if (!frame) throw std::runtime_error(cat("rank ", rank, " has left"));
      if (frame->has_heartbeat()) {
        for (const wire::Span& span : frame->heartbeat().spans()) spans[rank].push_back(span);
      } else if (frame->has_loading()) {
        EXPECT_LE(frame->loading().loaded(), frame->loading().total());
        EXPECT_LE(loaded[rank].loaded(), frame->loading().loaded());
        loaded[rank] = frame->loading();
      } else {
        return *frame;
      }
    }
  }
  wire::Ready ready(int rank) {
    const wire::Frame frame = news(rank);
    EXPECT_TRUE(frame.has_ready()) << frame.ShortDebugString();
    return frame.ready();
  }
  void say(int rank, const wire::Frame& frame) { peers_.at(rank)->say(frame); }
  void say(const wire::Step& step) {
    wire::Frame frame;
    *frame.mutable_step() = step;
    for (const auto& [rank, peer] : peers_) peer->say(frame);
  }
  wire::Encoded encode(int lane, int slot, const std::filesystem::path& path) {
    wire::Frame frame;
    frame.mutable_encode()->set_id(static_cast<uint64_t>(slot) + 70);
    frame.mutable_encode()->set_slot(slot);
    frame.mutable_encode()->mutable_image()->set_path(path.string());
    say(rank_of_lane(mesh_, lane), frame);
    const wire::Frame answer = news(rank_of_lane(mesh_, lane));
    EXPECT_EQ(answer.encoded().id(), static_cast<uint64_t>(slot) + 70) << answer.ShortDebugString();
    return answer.encoded();
  }
  void stop() {
    wire::Frame stop;
    stop.mutable_stop();
    for (const auto& [rank, peer] : peers_) peer->say(stop);
  }
  void hang_up() {
    for (const auto& [rank, peer] : peers_) peer->close();
  }
  /// Until all ranks have ended; throws what the first of them threw.
  void join() {
    for (const auto& [rank, peer] : peers_) {
      while (peer->hear()) continue;  // until it has said all
      peer->close();
    }
    workers_.get();
  }
  int reporter() const { return (mesh_.pp - 1) * mesh_.tp; }

  std::map<int, std::vector<wire::Span>> spans;  // by rank
  std::map<int, wire::Loading> loaded;           // the last
  std::atomic<int> lost = 0;

 private:
  void run_rank(Communicator& comm, const WorkerOptions& options) {
    ControlLinkOptions to;
    to.endpoints = {cat("127.0.0.1:", acceptor_.local_endpoint().port())};
    to.hello.set_rank(comm.rank());
    ControlLink link(to);
    Worker worker(options, read_model_config(kModel), comm, mesh_, coord_of(mesh_, comm.rank()), link,
                  [this](const std::string&) { ++lost; });
    worker.run();
  }

  Mesh mesh_;
  boost::asio::io_context io_;
  tcp::acceptor acceptor_{io_, {boost::asio::ip::make_address("127.0.0.1"), 0}};
  std::map<int, std::unique_ptr<Peer>> peers_;
  std::future<void> workers_;
};

/// Two sequences of a picture each, in one prefill; `images` says where their pictures are.
wire::Step prefill(const ModelConfig& config, int64_t pages_each, const std::vector<wire::Image>& images) {
  wire::Step step;
  step.set_number(1);
  for (int s = 0; s < 2; ++s) {
    wire::Prefill& prefill = *step.add_prefills();
    prefill.set_sequence(s);
    prefill.add_ids(static_cast<int32_t>(config.image_token_id));
    for (int t = 0; t < 4; ++t) prefill.add_ids(10 + t * 3 + s);
    for (int64_t p = 0; p < pages_each; ++p) prefill.add_pages(static_cast<int32_t>(s * pages_each + p));
    *prefill.add_images() = images[static_cast<size_t>(s)];
  }
  return step;
}

wire::Step decode(uint64_t number) {
  wire::Step step;
  step.set_number(number);
  step.add_decodes(0);
  step.add_decodes(1);
  return step;
}

/// What one rank alone says, with the pixels in the step.
std::vector<int32_t> tokens_of_one_rank() {
  const ModelConfig config = read_model_config(kModel);
  EngineOptions options = engine_options();
  options.shared_vision = true;
  const auto solo = make_solo();
  Engine engine(options, config, one_stage(*solo));
  std::vector<wire::Image> images(2);
  const auto side = static_cast<int>(config.vision.image_size);
  for (size_t i = 0; i < 2; ++i) {
    const Image picture = resize_bicubic(read_image(kPictures[i]), side, side);
    images[i].set_rgb(std::string(picture.rgb.begin(), picture.rgb.end()));
  }
  std::vector<int32_t> tokens;
  const int64_t pages = engine.capacity().num_kv_pages() / engine.capacity().max_num_seqs();
  for (uint64_t n = 1; n <= kNewTokens; ++n) {
    const wire::StepDone done = engine.run(n == 1 ? prefill(config, pages, images) : decode(n));
    tokens.insert(tokens.end(), done.tokens().begin(), done.tokens().end());
  }
  return tokens;
}

class WorkerMesh : public testing::TestWithParam<Mesh> {};

TEST_P(WorkerMesh, SaysWhatOneRankAloneSays) {
  const Mesh mesh = GetParam();
  const ModelConfig config = read_model_config(kModel);
  Job job(mesh);
  int64_t pages_each = 0;
  for (int r = 0; r < mesh.world(); ++r) {
    const wire::Ready ready = job.ready(r);
    EXPECT_EQ(ready.capacity().encoder_cache_slots() > 0, has_vision_lane(mesh, coord_of(mesh, r)));
    EXPECT_EQ(ready.embedding_bytes() > 0, ready.capacity().encoder_cache_slots() > 0);
    EXPECT_EQ(ready.kv_bytes() > 0, coord_of(mesh, r).decodes());
    EXPECT_GT(ready.weight_bytes(), 0);
    EXPECT_GT(job.loaded[r].total(), 0);
    EXPECT_EQ(job.loaded[r].loaded(), job.loaded[r].total());
    if (r == 0) pages_each = ready.capacity().num_kv_pages() / ready.capacity().max_num_seqs();
  }
  std::vector<wire::Image> images(2);
  for (int i = 0; i < 2; ++i) {
    const int lane = i % vision_lanes(mesh);
    const wire::Encoded encoded = job.encode(lane, i, kPictures[i]);
    EXPECT_EQ(encoded.error(), "");
    EXPECT_FALSE(encoded.reused());
    images[static_cast<size_t>(i)].set_rank(rank_of_lane(mesh, lane));
    images[static_cast<size_t>(i)].set_slot(i);
  }
  EXPECT_TRUE(job.encode(0, 3, kPictures[0]).reused());
  // All steps ahead of the first answer, as a coordinator does.
  job.say(prefill(config, pages_each, images));
  for (uint64_t n = 2; n <= kNewTokens; ++n) job.say(decode(n));
  job.stop();  // what came before is still done
  std::vector<int32_t> tokens;
  for (uint64_t n = 1; n <= kNewTokens; ++n) {
    const wire::Frame frame = job.news(job.reporter());
    ASSERT_EQ(frame.step_done().number(), n) << frame.ShortDebugString();
    tokens.insert(tokens.end(), frame.step_done().tokens().begin(), frame.step_done().tokens().end());
  }
  job.join();
  EXPECT_EQ(tokens, tokens_of_one_rank());
  EXPECT_EQ(job.lost, 0);
}

std::string mesh_name(const testing::TestParamInfo<Mesh>& mesh) {
  return cat("tp", mesh.param.tp, "pp", mesh.param.pp, "vision", mesh.param.vision_ranks);
}
INSTANTIATE_TEST_SUITE_P(Meshes, WorkerMesh,
                         testing::Values(Mesh{1, 1, 1, 0}, Mesh{2, 1, 1, 0}, Mesh{1, 2, 1, 0},
                                         Mesh{1, 1, 1, 1}, Mesh{2, 2, 1, 1}),
                         mesh_name);

TEST(Worker, HeartbeatsTellWhatItsLanesDid) {
  Job job({.tp = 2, .pp = 1, .replicas = 1, .vision_ranks = 0});
  for (const int rank : {0, 1}) job.ready(rank);
  EXPECT_EQ(job.encode(0, 0, kPictures[0]).error(), "");
  wire::Step step;  // of text alone
  step.set_number(1);
  step.add_prefills()->add_ids(5);
  step.mutable_prefills(0)->add_pages(0);
  job.say(step);
  EXPECT_EQ(job.news(0).step_done().number(), 1u);
  const auto has = [&](wire::Span::Kind kind) {
    return std::any_of(job.spans[0].begin(), job.spans[0].end(), [&](const wire::Span& span) {
      return span.kind() == kind && span.end() > span.begin() && span.number() == 1;
    });
  };
  // A step that is still to come keeps the connection talking: its answer ends the wait for the next
  // heartbeat.
  for (uint64_t n = 2;
       n < 1000 && !(has(wire::Span::STEP) && has(wire::Span::SUM) && has(wire::Span::ENCODE)); ++n) {
    step.set_number(n);
    job.say(step);
    EXPECT_EQ(job.news(0).step_done().number(), n);
  }
  EXPECT_TRUE(has(wire::Span::STEP));
  EXPECT_TRUE(has(wire::Span::SUM));
  EXPECT_TRUE(has(wire::Span::ENCODE));
  job.stop();
  job.join();
}

TEST(Worker, AStepThatSaysStopEndsIt) {
  Job job({});
  job.ready(0);
  wire::Step step;
  step.set_number(1);
  step.set_stop(true);
  job.say(step);
  EXPECT_EQ(job.news(0).step_done().number(), 1u);
  job.join();
  EXPECT_EQ(job.lost, 0);
}

TEST(Worker, WhatCannotBeLoadedIsAFaultOnEveryRank) {
  WorkerOptions options{engine_options(), 1};
  options.engine.model = kSource / "tests/golden/nowhere";
  Job job({.tp = 2, .pp = 1, .replicas = 1, .vision_ranks = 0}, options);
  for (const int rank : {0, 1}) EXPECT_THAT(job.news(rank).fault().reason(), HasSubstr("nowhere"));
  EXPECT_THROW(job.join(), Error);
}

TEST(Worker, AStopBeforeTheModelIsLoadedEndsAllRanksWithoutAFault) {
  bool first = true;
  Job job({.tp = 2, .pp = 1, .replicas = 1, .vision_ranks = 0}, {engine_options(), 1}, [&](Peer& peer) {
    if (!std::exchange(first, false)) return;  // who is welcomed next hears of it from its peer alone
    wire::Frame stop;
    stop.mutable_stop();
    peer.say(stop);
    await_heard(peer);
  });
  for (const int rank : {0, 1}) EXPECT_THROW(job.news(rank), std::runtime_error);  // it left, with no news
  job.join();
  EXPECT_EQ(job.lost, 0);
}

TEST(Worker, AStepThatCannotBeIsAFault) {
  Job job({});
  job.ready(0);
  wire::Step step;
  step.set_number(1);
  step.add_decodes(7);  // no such sequence
  job.say(step);
  EXPECT_NE(job.news(0).fault().reason(), "");
  EXPECT_ANY_THROW(job.join());
}

TEST(Worker, AStepOutOfOrderIsAFault) {
  Job job({});
  job.ready(0);
  job.say(decode(2));
  EXPECT_THAT(job.news(0).fault().reason(), HasSubstr("step 2 came after step 0"));
  EXPECT_ANY_THROW(job.join());
}

TEST(Worker, APictureForARankWithoutAVisionLaneIsAFault) {
  Job job({.tp = 1, .pp = 1, .replicas = 1, .vision_ranks = 1});
  for (const int rank : {0, 1}) job.ready(rank);
  wire::Frame frame;
  frame.mutable_encode()->set_id(1);
  job.say(0, frame);
  EXPECT_THAT(job.news(0).fault().reason(), HasSubstr("no vision lane"));
  job.stop();
  EXPECT_ANY_THROW(job.join());
}

TEST(Worker, ACoordinatorThatIsGoneIsTold) {
  Job job({});
  job.ready(0);
  job.hang_up();
  EXPECT_THROW(job.join(), Error);
  EXPECT_EQ(job.lost, 1);
}

}  // namespace
}  // namespace lapidary
