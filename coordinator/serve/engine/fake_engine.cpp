#include "coordinator/serve/engine/fake_engine.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "configs/error.h"
#include "configs/json.h"
#include "configs/wire/heartbeat_monitor.h"

namespace lapidary {

FakeScript parse_fake_script(std::string_view text, const std::string& source) {
  constexpr int64_t kMostSequences = 1'000'000;
  constexpr double kLongestMs = 1e6;
  const boost::json::value value = parse_json(text, source);
  const JsonObject object(value, source);
  FakeScript script;
  script.sequences = object.int_or("sequences", script.sequences, 1, kMostSequences);
  script.prefill_ms = object.double_or("prefill_ms", script.prefill_ms);
  script.step_ms = object.double_or("step_ms", script.step_ms);
  script.width = static_cast<int32_t>(object.int_or("width", script.width, 1, INT32_MAX));
  script.height = static_cast<int32_t>(object.int_or("height", script.height, 1, INT32_MAX));
  script.fails_every = object.int_or("fails_every", 0, 0);
  for (const int64_t token : object.ints("tokens", 0, INT32_MAX))
    script.tokens.push_back(static_cast<int32_t>(token));
  if (script.tokens.empty()) fail(object.where("tokens"), " is empty");
  for (const double time : {script.prefill_ms, script.step_ms})
    if (!(time >= 0 && time <= kLongestMs))
      fail(source, ": a time of ", time, " ms, which is not within 0 and ", kLongestMs);
  return script;
}

FakeScript read_fake_script(const std::filesystem::path& file) {
  return parse_fake_script(read_text_file(file), file.string());
}

FakeEngine::FakeEngine(boost::asio::io_context& server, FakeScript script)
    : server_(server), script_(std::move(script)), timer_(server) {}

FakeEngine::~FakeEngine() = default;

uint64_t FakeEngine::submit(Request request, Outputs outputs) {
  const uint64_t id = request.id = next_++;
  waiting_.emplace(request.priority, id);
  requests_.emplace(id, Running{std::move(request), std::make_shared<const Outputs>(std::move(outputs))});
  if (!ticking_) go_on(0);
  return id;
}

void FakeEngine::cancel(uint64_t request) {
  const auto found = requests_.find(request);
  if (found == requests_.end()) return;
  waiting_.erase({found->second.request.priority, request});
  decoding_.erase(request);
  requests_.erase(found);
}

void FakeEngine::go_on(double milliseconds) {
  ticking_ = true;
  timer_.expires_after(nanoseconds_of(milliseconds / 1000));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) step();
  });
}

/// A prefill where there is room for one, which also is a step of all others.
void FakeEngine::step() {
  double took = script_.step_ms;
  const std::vector<uint64_t> now(decoding_.begin(), decoding_.end());
  for (const uint64_t id : now) advance(id);
  if (!waiting_.empty() && decoding_.size() < sequences()) {
    const uint64_t id = waiting_.begin()->second;
    waiting_.erase(waiting_.begin());
    decoding_.insert(id);
    took = std::max(took, script_.prefill_ms);
    advance(id);
  }
  ticking_ = false;
  if (!requests_.empty()) go_on(took);
}

void FakeEngine::advance(uint64_t id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;  // cancelled by who was told of another's token
  Running& running = found->second;
  const auto tell = running.outputs;
  RequestOutput output;
  output.request = id;
  output.width = script_.width;
  output.height = script_.height;
  const int32_t token = script_.tokens[static_cast<size_t>(running.made) % script_.tokens.size()];
  const auto& eos = running.request.eos;
  if (script_.fails_every > 0 && id % static_cast<uint64_t>(script_.fails_every) == 0) {
    output.finish = FinishReason::error;
    output.error = "the script lets this request fail";
  } else if (eos && std::find(eos->begin(), eos->end(), token) != eos->end()) {
    output.finish = FinishReason::eos;
    output.end_token = token;
  } else {
    output.token = token;
    if (++running.made == running.request.max_new_tokens) output.finish = FinishReason::length;
  }
  if (output.finish != FinishReason::no) cancel(id);
  (*tell)(output);
}

void FakeEngine::status(std::function<void(EngineStatus)> then) {
  EngineStatus status;
  status.queued = waiting_.size();
  ReplicaStatus& replica = status.replicas.emplace_back();
  replica.ready = true;
  replica.counts.running = decoding_.size();
  replica.capacity.set_max_num_seqs(script_.sequences);
  boost::asio::post(server_, [then = std::move(then), status = std::move(status)] { then(status); });
}

void FakeEngine::stop(std::function<void()> done) {
  timer_.cancel();
  boost::asio::post(server_, std::move(done));
}

}  // namespace lapidary
