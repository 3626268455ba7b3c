#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>

#include "coordinator/serve/engine/engine_client.h"

namespace lapidary {

/// What a fake engine does: {"sequences": 8, "prefill_ms": 5, "step_ms": 2, "tokens": [ids], "width",
/// "height", "fails_every": 0}; all but "tokens" may be left out. Each request is answered with the tokens,
/// from the first again where it wants more than there are; with "fails_every" n, each n-th ends with an
/// error.
struct FakeScript {
  int64_t sequences = 8;
  double prefill_ms = 5;  // of one request; one after the other
  double step_ms = 2;     // in which all that run get a token
  std::vector<int32_t> tokens;
  int32_t width = 640, height = 480;
  int64_t fails_every = 0;
};
FakeScript parse_fake_script(std::string_view text, const std::string& source);
FakeScript read_fake_script(const std::filesystem::path& file);

/// An engine without a model: a script's tokens at a script's times, for a thousand clients on a laptop.
class FakeEngine : public EngineClient {
 public:
  FakeEngine(boost::asio::io_context& server, FakeScript script);
  ~FakeEngine() override;

  uint64_t submit(Request request, Outputs outputs) override;
  void cancel(uint64_t request) override;
  bool ready() const override { return true; }
  size_t sequences() const override { return static_cast<size_t>(script_.sequences); }
  size_t unfinished() const override { return requests_.size(); }
  void status(std::function<void(EngineStatus)> then) override;
  void stop(std::function<void()> done) override;

 private:
  struct Running {
    Request request;
    std::shared_ptr<const Outputs> outputs;
    int64_t made = 0;
  };

  void step();
  void go_on(double milliseconds);
  /// The request's next token; it may have ended behind it.
  void advance(uint64_t id);

  boost::asio::io_context& server_;
  const FakeScript script_;
  boost::asio::steady_timer timer_;
  bool ticking_ = false;
  std::map<uint64_t, Running> requests_;
  std::set<std::pair<int32_t, uint64_t>> waiting_;  // by priority
  std::set<uint64_t> decoding_;
  uint64_t next_ = 1;
};

}  // namespace lapidary
