#include "worker/lanes/worker.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "configs/error.h"
#include "configs/failure_text.h"
#include "kernels/thread_pool.h"
#include "sharding/comm/launch_environment.h"
#include "sharding/comm/timed_comm.h"
#include "worker/engine/engine.h"
#include "worker/engine/memory_plan.h"
#include "worker/engine/vision_tower.h"
#include "worker/lanes/decoder_lane.h"
#include "worker/lanes/span_recorder.h"
#include "worker/lanes/vision_lane.h"

namespace lapidary {
namespace {

std::string reason_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return failure_text(error);
  } catch (...) {
    return "an unknown failure";
  }
}

/// What ends loading once the coordinator has said stop: all ranks of the replica hear of it as of any other
/// failure to load, and none of them takes it for one.
constexpr const char* kToldToEnd = "the job ended before the model was loaded";

/// Reading a picture takes less time than encoding it, so more threads than a few only take cores away.
int threads_that_read(int wanted) {
  constexpr int kMax = 8;
  return wanted > 0 ? wanted : std::clamp(available_cores() / std::max(1, local_size()), 1, kMax);
}

}  // namespace

ImageMemory image_memory(int64_t wanted) {
  constexpr double kMax = 1e12;  // where the host does not say
  if (wanted > 0) return divide_image_memory(wanted);
  return divide_image_memory(
      static_cast<int64_t>(std::min(kMax, available_memory() / 2 / std::max(1, local_size()))));
}

class Worker::Impl : private StepExecutor {
 public:
  Impl(const WorkerOptions& options, const ModelConfig& config, Communicator& replica, const Mesh& mesh,
       const MeshCoord& coord, ControlLink& link, Lost lost);
  ~Impl() override;
  void run();

 private:
  /// What the link's thread calls; it outlives the worker, which leaves when it ends.
  struct Door {
    std::mutex mutex;
    Impl* worker;
  };

  // The decoder lane's executor: the engine, and which step the communicator's times belong to.
  void start(const wire::Step& step) override {
    step_ = step.number();
    engine_->start(step);
  }
  bool ready() override { return engine_->ready(); }
  wire::StepDone finish() override { return engine_->finish(); }
  bool progress() override { return replica_->progress(); }

  void start_link();
  void load(const WorkerOptions& options, const ModelConfig& config);
  Rescue rescue();
  LaneTower make_tower(const EngineOptions& options, const ModelConfig& config);
  void report_loading(int64_t loaded, int64_t total);
  void report_ready();
  void report_done(wire::StepDone done);
  void fill(wire::Heartbeat& beat);
  void receive(wire::Frame frame);
  void lose(const std::string& why);
  void fault(std::exception_ptr failure);

  Mesh mesh_;
  MeshCoord coord_;
  ControlLink& link_;
  Lost lost_;
  SpanRecorder recorder_;
  uint64_t step_ = 0;  // that runs; of the decoder lane's thread

  std::unique_ptr<Communicator> replica_;  // measured
  std::unique_ptr<Communicator> tp_;
  std::optional<Engine> engine_;
  std::optional<VisionTower> tower_;
  std::optional<EncoderCache> slots_;
  DecoderLane decoder_;
  std::unique_ptr<VisionLane> vision_;  // assigned with the door's mutex held
  ImageMemory image_memory_{};          // of it

  int64_t engine_bytes_ = 0, tower_bytes_ = 0, reported_ = 0;  // of loading
  std::atomic<bool> told_to_end_ = false;
  bool loaded_ = false;
  std::mutex mutex_;            // of failure_
  std::exception_ptr failure_;  // the first one
  std::shared_ptr<Door> door_;
};

Worker::Impl::Impl(const WorkerOptions& options, const ModelConfig& config, Communicator& replica,
                   const Mesh& mesh, const MeshCoord& coord, ControlLink& link, Lost lost)
    : mesh_(mesh),
      coord_(coord),
      link_(link),
      lost_(std::move(lost)),
      recorder_(link.welcome().spans()),
      replica_(make_timed(replica,
                          [this](CommWork work, int64_t begin, int64_t end) {
                            if (step_ == 0) return;  // loading
                            const bool receive = work == CommWork::receive;
                            recorder_.add(receive ? wire::Span::RECEIVE : wire::Span::SUM, begin, end, step_);
                          })),
      decoder_(*this, recorder_, [this](wire::StepDone done) { report_done(std::move(done)); }),
      door_(std::make_shared<Door>()) {
  door_->worker = this;
  start_link();
  try {
    load(options, config);
    loaded_ = true;
  } catch (...) {
    if (reason_of(std::current_exception()) == kToldToEnd) return;
    fault(std::current_exception());
    const std::lock_guard lock(door_->mutex);
    door_->worker = nullptr;
    throw;
  }
}

Worker::Impl::~Impl() {
  const std::lock_guard lock(door_->mutex);
  door_->worker = nullptr;
}

void Worker::Impl::start_link() {
  const auto at_door = [door = door_](const auto& body) {
    const std::lock_guard lock(door->mutex);
    if (door->worker) body(*door->worker);
  };
  link_.start(
      {[at_door](wire::Frame frame) { at_door([&](Impl& worker) { worker.receive(std::move(frame)); }); },
       [at_door](const std::string& why) { at_door([&](Impl& worker) { worker.lose(why); }); },
       [at_door](wire::Heartbeat& beat) { at_door([&](Impl& worker) { worker.fill(beat); }); }});
}

void Worker::Impl::load(const WorkerOptions& options, const ModelConfig& config) {
  const bool sees = has_vision_lane(mesh_, coord_);
  // Asked on every rank: what is wrong with the options then fails on all, and none waits for the others.
  const auto vision_bytes = static_cast<int64_t>(vision_weight_bytes(
      config, PaliGemma::plan_for(config, 0, 1), resolve_dtype(options.engine.dtype, config)));
  tower_bytes_ = sees ? vision_bytes : 0;
  // A rank that only encodes is a group of its own.
  tp_ = replica_->split(coord_.decodes() ? coord_.stage : mesh_.pp + coord_.rank);
  engine_.emplace(
      options.engine, config, Group{*replica_, *tp_, mesh_, coord_},
      [this](int64_t loaded, int64_t total) {
        engine_bytes_ = total;
        report_loading(loaded, total + tower_bytes_);
      },
      rescue());
  agree(*replica_, [&] {
    if (!sees) return;
    VisionLane::Parts parts;
    parts.make_tower = [&] { return make_tower(options.engine, config); };
    parts.done = [this](wire::Encoded encoded) {
      wire::Frame frame;
      *frame.mutable_encoded() = std::move(encoded);
      link_.send(frame);
    };
    parts.failed = [this](std::exception_ptr failure) { fault(std::move(failure)); };
    parts.read_threads = threads_that_read(options.read_threads);
    parts.memory = image_memory_ = image_memory(options.image_memory_bytes);
    auto lane = std::make_unique<VisionLane>(std::move(parts), recorder_);
    const std::lock_guard lock(door_->mutex);
    vision_ = std::move(lane);
  });
}

/// A rank whose GPU waits for one that is gone: the coordinator hears of it, and the process ends like one
/// that has lost the coordinator.
Rescue Worker::Impl::rescue() {
  Rescue rescue;
  if (const double seconds = link_.welcome().step_deadline_seconds(); seconds > 0)
    rescue.deadline_seconds = seconds;
  rescue.lost = [this](const std::string& why) { fault(std::make_exception_ptr(Error(why))); };
  rescue.end = [this] {
    constexpr std::chrono::milliseconds kFarewell{200};  // in which the sentence goes out
    std::this_thread::sleep_for(kFarewell);
    const std::lock_guard lock(mutex_);
    lost_(failure_ ? reason_of(failure_) : "the communicators of the GPU did not end");
  };
  return rescue;
}

LaneTower Worker::Impl::make_tower(const EngineOptions& options, const ModelConfig& config) {
  tower_.emplace(options, config, coord_.decodes(), [this](int64_t loaded, int64_t total) {
    report_loading(engine_bytes_ + loaded, engine_bytes_ + total);
  });
  slots_.emplace(tower_->backend(), engine_->capacity().encoder_cache_slots(), tower_->tokens(),
                 tower_->hidden());
  engine_->read_slots(&*slots_);
  return {image_steps(options.model, config, options.profile, options.images), tower_->images(),
          &tower_->backend(), &*slots_,
          [this](Tensor out, std::span<const uint8_t* const> rgb) { tower_->encode(out, rgb); }};
}

/// At every percent: weights are read tensor by tensor, and there are thousands. Throws where there is
/// nothing to load them for any more.
void Worker::Impl::report_loading(int64_t loaded, int64_t total) {
  if (told_to_end_) fail(kToldToEnd);
  if (loaded < total && loaded - reported_ < total / 100) return;
  reported_ = loaded;
  wire::Frame frame;
  frame.mutable_loading()->set_loaded(loaded);
  frame.mutable_loading()->set_total(total);
  link_.send(frame);
}

void Worker::Impl::report_ready() {
  const Memory memory = engine_->memory();
  wire::Frame frame;
  wire::Ready& ready = *frame.mutable_ready();
  ready.set_description(engine_->describe());
  *ready.mutable_capacity() = engine_->capacity();
  ready.mutable_capacity()->set_encoder_cache_slots(slots_ ? slots_->count() : 0);
  ready.set_weight_bytes(static_cast<int64_t>(memory.weights + (tower_ ? tower_->weight_bytes() : 0)));
  ready.set_kv_bytes(static_cast<int64_t>(memory.kv));
  ready.set_embedding_bytes(static_cast<int64_t>(memory.embeddings + (slots_ ? slots_->bytes() : 0)));
  ready.set_workspace_bytes(
      static_cast<int64_t>(memory.workspace + (tower_ ? tower_->workspace_bytes() : 0)));
  ready.set_encode_bytes(image_memory_.received);
  link_.send(frame);
}

/// All ranks run a step, one tells: the first that has the tokens. After a failure there are none: a device
/// whose collectives were ended goes on with whatever their memory holds.
void Worker::Impl::report_done(wire::StepDone done) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
  }
  if (coord_.stage != mesh_.pp - 1 || coord_.tp_rank != 0) return;
  wire::Frame frame;
  *frame.mutable_step_done() = std::move(done);
  link_.send(frame);
}

void Worker::Impl::run() {
  if (!loaded_) return link_.expect_end();
  report_ready();
  try {
    decoder_.run();
  } catch (...) {
    fault(std::current_exception());
  }
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  link_.expect_end();
  wire::Frame frame;  // what happened since the last heartbeat
  fill(*frame.mutable_heartbeat());
  link_.send(frame);
}

void Worker::Impl::fill(wire::Heartbeat& beat) {
  recorder_.take(beat);
  if (!vision_) return;
  beat.set_image_bytes(vision_->image_bytes());
  beat.set_image_bytes_limit(image_memory_.received + image_memory_.files + image_memory_.decoding);
}

void Worker::Impl::receive(wire::Frame frame) {
  try {
    if (frame.has_step()) decoder_.add(std::move(*frame.mutable_step()));
    if (frame.has_stop()) {
      told_to_end_ = true;
      decoder_.finish();
    }
    if (!frame.has_encode()) return;
    if (!vision_) throw std::logic_error("a picture came to a rank that has no vision lane");
    vision_->add(std::move(*frame.mutable_encode()));
  } catch (...) {
    fault(std::current_exception());
  }
}

void Worker::Impl::lose(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::make_exception_ptr(Error(why));
  }
  lost_(why);
  decoder_.stop();
}

/// From any lane: the coordinator hears of the first failure, and the decoder lane ends.
void Worker::Impl::fault(std::exception_ptr failure) {
  wire::Frame frame;
  frame.mutable_fault()->set_reason(reason_of(failure));
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    failure_ = std::move(failure);
  }
  link_.send(frame);
  decoder_.stop();
}

Worker::Worker(const WorkerOptions& options, const ModelConfig& config, Communicator& replica,
               const Mesh& mesh, const MeshCoord& coord, ControlLink& link, Lost lost)
    : impl_(std::make_unique<Impl>(options, config, replica, mesh, coord, link, std::move(lost))) {}

Worker::~Worker() = default;

void Worker::run() { impl_->run(); }

}  // namespace lapidary
