#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "worker/control/control_link.h"

namespace lapidary {

/// A replica of one rank that answers at once, over the real control plane: each sequence says its request's
/// number (modulo 1000, plus 10) once and ends.
class MockWorker {
 public:
  static constexpr int32_t kEnd = 1;
  struct Behaviour {
    int64_t sequences = 64;
    int replica = 0;
    std::string token = "secret";
    Mesh mesh{};
    bool answers_steps = true;
    int64_t dies_after_steps = -1;  // -1: never
    /// Changes what is said, before it is.
    std::function<void(wire::Frame&)> tells = [](wire::Frame&) {};
    /// Whether the picture at this path can be encoded.
    std::function<bool(const std::string& path)> readable = [](const std::string&) { return true; };
  };

  MockWorker(std::vector<std::string> endpoints, Behaviour behaviour) : behaviour_(std::move(behaviour)) {
    ControlLinkOptions options;
    options.endpoints = std::move(endpoints);
    options.hello.set_version("test");
    wire::Setting& setting = *options.hello.add_settings();
    setting.set_name("dtype");
    setting.set_value("model");
    options.hello.set_token(behaviour_.token);
    options.hello.mutable_mesh()->set_tp(1);
    options.hello.mutable_mesh()->set_pp(1);
    options.hello.mutable_mesh()->set_replicas(behaviour_.mesh.replicas);
    options.hello.set_replica(behaviour_.replica);
    link_ = std::make_unique<ControlLink>(std::move(options));
    link_->start({[this](wire::Frame frame) { receive(frame); }, [this](const std::string&) { end(); }, {}});
    wire::Frame loading;
    loading.mutable_loading()->set_loaded(10);
    loading.mutable_loading()->set_total(10);
    say(loading);
    wire::Frame beat;
    beat.mutable_heartbeat()->set_clock(1);
    say(beat);
    wire::Frame ready;  // last: what it is asked from now on is answered on another thread
    *ready.mutable_ready()->mutable_capacity() = capacity(behaviour_);
    say(ready);
  }

  static wire::Capacity capacity(const Behaviour& behaviour) {
    wire::Capacity capacity;
    capacity.set_max_num_seqs(behaviour.sequences);
    capacity.set_max_num_batched_tokens(16 * behaviour.sequences);
    capacity.set_num_kv_pages(behaviour.sequences);
    capacity.set_kv_page_tokens(64);
    capacity.set_encoder_cache_slots(2 * behaviour.sequences);
    capacity.set_max_step_images(behaviour.sequences);
    capacity.set_max_model_len(64);
    capacity.set_num_layers(2);
    capacity.set_image_tokens(4);
    return capacity;
  }

  /// Until the coordinator is gone or wants no more.
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
  }
  int64_t prefills() const { return prefills_; }

 private:
  void receive(const wire::Frame& frame) {
    if (frame.has_stop()) return end();
    wire::Frame answer;
    if (frame.has_encode()) {
      wire::Encoded& done = *answer.mutable_encoded();
      done.set_id(frame.encode().id());
      const std::string& path = frame.encode().image().path();
      if (behaviour_.readable(path)) {
        done.set_width(64);
        done.set_height(32);
      } else {
        done.set_error(path + ": no picture");
      }
    } else if (frame.has_step() && behaviour_.answers_steps) {
      if (behaviour_.dies_after_steps >= 0 && steps_++ >= behaviour_.dies_after_steps) return end();
      wire::StepDone& done = *answer.mutable_step_done();
      done.set_number(frame.step().number());
      for (int i = 0; i < frame.step().decodes_size(); ++i) done.add_tokens(kEnd);
      for (const wire::Prefill& prefill : frame.step().prefills())
        done.add_tokens(static_cast<int32_t>(10 + prefill.request() % 1000));
      prefills_ += frame.step().prefills_size();
    } else {
      return;
    }
    say(answer);
  }

  void say(wire::Frame& frame) {
    behaviour_.tells(frame);
    link_->send(frame);
  }

  void end() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
  }

  Behaviour behaviour_;
  int64_t steps_ = 0;
  std::atomic<int64_t> prefills_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::unique_ptr<ControlLink> link_;  // ends first: its thread calls this
};

}  // namespace lapidary
