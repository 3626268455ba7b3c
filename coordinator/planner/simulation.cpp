#include "coordinator/planner/simulation.h"

#include <deque>
#include <optional>
#include <queue>

#include "configs/error.h"
#include "configs/wire/framing.h"
#include "coordinator/telemetry/stopwatch.h"

namespace lapidary {
namespace {

constexpr int32_t kEndToken = 1;

int32_t token_of(uint64_t request, int64_t position) {
  uint64_t x = request * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(position);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return static_cast<int32_t>((x >> 33) % 60);
}

}  // namespace

wire::StepDone BenchWorkers::run(const wire::Step& step) {
  wire::StepDone done;
  done.set_number(step.number());
  done.mutable_tokens()->Reserve(step.decodes_size() + step.prefills_size());
  for (const int32_t slot : step.decodes()) {
    Sequence& sequence = sequence_slots_[static_cast<size_t>(slot)];
    done.add_tokens(token_of(sequence.request, sequence.sampled++));
  }
  for (const wire::Prefill& prefill : step.prefills()) {
    sequence_slots_[static_cast<size_t>(prefill.sequence())] = {prefill.request(), 1};
    done.add_tokens(token_of(prefill.request(), 0));
  }
  return done;
}

BenchClient::BenchClient(int64_t requests, size_t prompt, int64_t length)
    : prompt_(std::make_shared<std::vector<int32_t>>(prompt + 1, 7)),
      eos_(std::make_shared<std::vector<int32_t>>(1, kEndToken)),
      length_(length),
      received_(static_cast<size_t>(requests)) {}

Request BenchClient::request(int64_t index) const {
  auto source = std::make_shared<wire::ImageSource>();
  source->set_path(cat("/data/shards/", index / 1000, ".tar"));
  source->set_offset(index % 1000 * 200'000);
  source->set_in_tar(true);
  Request request;
  request.id = static_cast<uint64_t>(index);
  request.ids = prompt_;
  request.images.push_back({std::to_string(index), std::move(source)});
  request.max_new_tokens = length_;
  request.eos = eos_;
  return request;
}

void BenchClient::take(const RequestOutput& event) {
  int32_t& received = received_.at(event.request);
  if (received < 0) fail("the check failed: request ", event.request, " is answered after its end");
  const int32_t token = token_of(event.request, received);
  const FinishReason finish = token == kEndToken        ? FinishReason::eos
                              : received + 1 == length_ ? FinishReason::length
                                                        : FinishReason::no;
  if (event.finish != finish || event.token.value_or(kEndToken) != token)
    fail("the check failed: token ", received, " of request ", event.request, " is ",
         event.token.value_or(kEndToken), ", not ", token);
  ++tokens_;
  ++received;
  if (finish == FinishReason::no) return;
  received = -1;
  ++ended_;
}

namespace {

/// Virtual time: what each replica's lanes are at, and a heap of what ends next.
class Simulation {
 public:
  Simulation(const SimulatedReplica& model, int replicas, int64_t images)
      : model_(model),
        images_(images),
        client_(images, 8, 64),
        dispatcher_({.queue = static_cast<size_t>(images), .deaths = 5}) {
    for (int i = 0; i < replicas; ++i) {
      replicas_.emplace_back(model.config);
      dispatcher_.join(i, model.config);
    }
  }

  Simulated run() {
    for (int64_t i = 0; i < images_; ++i) {
      Request request = client_.request(i);
      coordinator_ += seconds_of([&] { dispatcher_.submit(std::move(request)); });
    }
    act();
    while (!ends_.empty()) {
      const End end = ends_.top();
      ends_.pop();
      now_ = end.time;
      if (end.job > 0)
        encoded(end);
      else
        stepped(end.replica);
      act();
    }
    if (client_.ended() != images_ || dispatcher_.unfinished() > 0)
      fail("the check failed: ", client_.ended(), " of ", images_, " requests have ended");
    return {now_, coordinator_, steps_, client_.tokens()};
  }

 private:
  struct Replica {
    explicit Replica(const SchedulerConfig& config) : workers(config) {}
    BenchWorkers workers;
    std::deque<wire::Step> steps;               // the first one runs
    std::unordered_map<int32_t, double> lanes;  // when each is free
  };
  struct End {
    double time = 0;
    int replica = 0;
    uint64_t job = 0;  // 0: a step
    bool operator<(const End& other) const { return time > other.time; }
  };

  void encoded(const End& end) {
    wire::Encoded done;
    done.set_id(end.job);
    done.SerializeToString(&bytes_);
    coordinator_ += seconds_of([&] {
      wire::Encoded received;
      received.ParseFromString(bytes_);
      dispatcher_.encoded(end.replica, received);
    });
  }

  void stepped(int index) {
    Replica& replica = replicas_[static_cast<size_t>(index)];
    replica.workers.run(replica.steps.front()).SerializeToString(&bytes_);
    replica.steps.pop_front();
    if (!replica.steps.empty()) start(index);
    coordinator_ += seconds_of([&] {
      wire::StepDone received;
      received.ParseFromString(bytes_);
      events_ = dispatcher_.finish(index, received);
    });
    for (const RequestOutput& event : events_) client_.take(event);
  }

  /// Sends what there is to do.
  void act() {
    std::optional<Actions> actions;
    while (true) {
      coordinator_ += seconds_of([&] { actions = dispatcher_.poll(); });
      if (!actions) return;
      for (const LaneEncode& order : actions->encodes) {
        coordinator_ += seconds_of([&] { frame_ = encode_frame(order.encode, order.image); });
        encode(actions->replica, order);
      }
      for (const wire::Step& step : actions->steps) {
        coordinator_ += seconds_of([&] { step.SerializeToString(&bytes_); });
        queue(actions->replica);
      }
    }
  }

  void encode(int replica, const LaneEncode& order) {
    double& free = replicas_[static_cast<size_t>(replica)].lanes[order.rank];
    free = std::max(free, now_) + model_.encode;
    ends_.push({free, replica, order.encode.id()});
  }

  /// The step that bytes_ holds.
  void queue(int replica) {
    std::deque<wire::Step>& steps = replicas_[static_cast<size_t>(replica)].steps;
    steps.emplace_back().ParseFromString(bytes_);
    ++steps_;
    if (steps.size() == 1) start(replica);
  }

  void start(int replica) {
    const wire::Step& step = replicas_[static_cast<size_t>(replica)].steps.front();
    ends_.push({now_ + (step.decodes_size() > 0 ? model_.decode : 0) + step.prefills_size() * model_.prefill,
                replica, 0});
  }

  const SimulatedReplica& model_;
  int64_t images_;
  BenchClient client_;
  Dispatcher dispatcher_;
  std::vector<Replica> replicas_;
  std::priority_queue<End> ends_;
  double now_ = 0;
  double coordinator_ = 0;  // seconds; what workers and clients do is not its time
  uint64_t steps_ = 0;
  EncodedFrame frame_;
  std::string bytes_;  // a message as it is sent
  std::vector<RequestOutput> events_;
};

}  // namespace

Simulated simulate(const SimulatedReplica& model, int replicas, int64_t images) {
  return Simulation(model, replicas, images).run();
}

}  // namespace lapidary
