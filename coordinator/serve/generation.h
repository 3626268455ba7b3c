#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/serve/answer_writers.h"
#include "coordinator/serve/engine/engine_client.h"
#include "coordinator/serve/http/http_types.h"
#include "coordinator/serve/model_service.h"
#include "coordinator/serve/openai/answers/text_stream.h"

namespace lapidary {

/// What a generation is told of, and what it tells; all on the server's thread.
struct GenerationParts {
  boost::asio::io_context& io;
  EngineClient& engine;
  const ModelService& model;
  std::shared_ptr<HttpExchange> exchange;
  std::unique_ptr<AnswerWriter> writer;
  GenerationRequest asked;
  PreparedRequest prepared;
  HttpHeaders headers{};       // of the answer
  double timeout_seconds = 0;  // 0: none
  double keep_alive_seconds = 15;
  /// Gives boxes with codes their masks, on another thread, then calls `then` on the server's; empty: none.
  std::function<void(FoundThings found, std::function<void(FoundThings)> then)> make_masks{};
  /// A token came; the seconds since the one before, or of the first since the request arrived.
  std::function<void(bool first, double seconds)> token = [](bool, double) {};
  /// It has ended: "stop", "length", "abort" or "error".
  std::function<void(std::string_view reason, const Usage& usage)> ended = [](std::string_view,
                                                                              const Usage&) {};
};

/// One request to generate, from the engine's outputs to the client's bytes. Lives until it has answered, or
/// its client has left: then its engine requests are cancelled.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  explicit Generation(GenerationParts parts);
  ~Generation();
  void begin();

 private:
  struct OneChoice {
    explicit OneChoice(TextStream stream) : text(std::move(stream)) {}

    uint64_t engine_id = 0;
    TextStream text;
    bool begun = false, ended = false;  // an event has told of it; it is whole
    size_t told = 0;                    // tokens that events have told of
    std::optional<AnswerEnd> end;
    std::variant<std::monostate, std::string, int64_t> stopped_by;
    int32_t width = 0, height = 0;
    FoundThings found;  // once it is whole
  };

  void take(size_t index, const RequestOutput& output);
  void note_token();
  void end_choice(OneChoice& choice, const RequestOutput& output) const;
  void look_for_things(size_t index, std::string text);
  void close_choice(size_t index, std::string text);
  void send_event(size_t index, std::string text);
  Choice choice_of(size_t index, std::string text) const;
  std::vector<Choice> whole_choices() const;
  void finish_all();
  void fail_all(int status, std::string_view code, const std::string& why, bool retry);
  void give_up(std::string_view reason);
  void begin_stream();
  void keep_alive();
  void watch_time();
  Usage usage() const;

  GenerationParts parts_;
  std::vector<OneChoice> choices_;
  boost::asio::steady_timer keeps_alive_, deadline_;
  std::chrono::steady_clock::time_point newest_;
  int32_t reused_images_ = 0;
  size_t running_ = 0;
  bool streaming_ = false;  // its head is out
  bool first_ = true;       // no token came yet
  bool over_ = false;
};

}  // namespace lapidary
