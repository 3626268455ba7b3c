#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "configs/model/generation_config.h"
#include "coordinator/serve/api_server.h"
#include "tests/coordinator/serve/http/http_rig.h"
#include "tests/support/io_thread.h"

namespace lapidary {

/// An engine that does what a test says. On the server's thread.
class PuppetEngine : public EngineClient {
 public:
  uint64_t submit(Request request, Outputs outputs) override {
    requests.push_back(std::move(request));
    running[++last] = std::move(outputs);
    return last;
  }
  void cancel(uint64_t request) override { cancelled += running.erase(request) > 0; }
  bool ready() const override { return is_ready; }
  size_t sequences() const override { return 2; }
  size_t unfinished() const override { return running.size(); }
  void status(std::function<void(EngineStatus)> then) override { then({}); }
  void stop(std::function<void()> done) override { done(); }

  void token(uint64_t request, int32_t token, FinishReason finish = FinishReason::no) {
    RequestOutput output;
    output.request = request;
    output.token = token;
    output.finish = finish;
    say(output);
  }
  void restart(uint64_t request) {
    RequestOutput output;
    output.request = request;
    output.restarted = true;
    say(output);
  }
  void end(uint64_t request) {
    RequestOutput output;
    output.request = request;
    output.finish = FinishReason::eos;
    output.end_token = 1;
    say(output);
  }
  void fail(uint64_t request, const std::string& error, bool crashed) {
    RequestOutput output;
    output.request = request;
    output.finish = FinishReason::error;
    output.error = error;
    output.crashed = crashed;
    say(output);
  }

  std::vector<Request> requests;
  std::map<uint64_t, Outputs> running;
  uint64_t last = 0;
  size_t cancelled = 0;
  bool is_ready = true;

 private:
  void say(const RequestOutput& output) {
    const auto found = running.find(output.request);
    if (found == running.end()) return;
    const Outputs tell = found->second;
    if (output.finish != FinishReason::no) running.erase(found);
    tell(output);
  }
};

/// The API over the demo model's tokenizer and an engine of the test's.
template <class Engine>
class ApiRig {
 public:
  using MakeEngine = std::function<std::unique_ptr<Engine>(boost::asio::io_context& server)>;
  explicit ApiRig(
      ApiServerOptions options = {},
      const MakeEngine& make_engine = [](boost::asio::io_context&) { return std::make_unique<Engine>(); })
      : model_(demo_model()) {
    options.http.port = 0;
    thread_.run([&] {
      engine_ = make_engine(thread_.io());
      server_ = std::make_unique<ApiServer>(thread_.io(), options, model_, *engine_, metrics_,
                                            [](const std::string&) {});
    });
    port_ = thread_.run([this] { return server_->http().port(); });
  }
  ~ApiRig() {
    thread_.run([this] {
      server_.reset();
      engine_.reset();
    });
  }

  uint16_t port() const { return port_; }
  template <class Task>
  auto run(Task task) {
    return thread_.run([&] { return task(*engine_); });
  }
  /// Until the engine has had so many requests.
  void wait_for_requests(size_t count) {
    for (int tries = 0; tries < 2000; ++tries) {
      if (run([&](Engine& engine) { return engine.requests.size() >= count; })) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL() << "no " << count << " requests came";
  }

  static ModelService demo_model() {
    const auto folder = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "configs/demo/model";
    ModelConfig config = read_model_config(folder);
    GenerationConfig generation = default_generation_config(config);
    ModelService model{{"demo"}, std::move(config), std::move(generation), Tokenizer::from_file(folder), 512,
                       7};
    model.longest_piece = model.tokenizer.longest_piece();
    return model;
  }
  const Tokenizer& tokenizer() const { return model_.tokenizer; }

 private:
  IoThread thread_;
  const ModelService model_;
  ServeMetrics metrics_{"demo"};
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ApiServer> server_;
  uint16_t port_ = 0;
};

/// The bytes of a request of `json` to `path`.
inline std::string post_bytes(const std::string& path, const std::string& json,
                              const std::string& headers = "") {
  return "POST " + path + " HTTP/1.1\r\nHost: x\r\n" + headers +
         "Content-Length: " + std::to_string(json.size()) + "\r\n\r\n" + json;
}
inline std::string chat(const std::string& more = "") {
  return post_bytes("/v1/chat/completions",
                    R"({"messages":[{"role":"user","content":"answer en what"}])" + more + "}");
}

}  // namespace lapidary
