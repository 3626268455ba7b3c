#pragma once

#include <memory>
#include <string>

#include "coordinator/serve/http/head_check.h"
#include "coordinator/serve/http/http_types.h"

namespace lapidary {

/// What an answer needs of its connection.
class AnswerPipe {
 public:
  virtual ~AnswerPipe() = default;
  virtual bool open() const = 0;
  virtual void write(std::string bytes) = 0;
  /// More waits for the client than may.
  virtual bool behind() const = 0;
  /// Closes it, a little later.
  virtual void drop() = 0;
  /// The answer is whole.
  virtual void answered() = 0;
  virtual bool draining() const = 0;
};

/// The bytes of a whole answer. `head_only`: of a HEAD request.
std::string response_bytes(const HttpResponse& response, bool head_only, bool close);

/// A request and its answer, over a connection.
class Exchange final : public HttpExchange {
 public:
  Exchange(std::shared_ptr<AnswerPipe> pipe, const RequestHead& head);
  ~Exchange() override;

  HttpRequest& request() override { return request_; }
  void respond(HttpResponse response) override;
  void begin_stream(HttpResponse head) override;
  void send(std::string piece) override;
  void finish() override;
  void when_gone(std::function<void()> left) override;
  bool gone() const override { return left_; }

  // The connection's:
  void leave();
  /// Outlives the exchange.
  struct State {
    bool closes = false;  // the connection, behind the answer
    bool whole = false;
    bool forgotten = false;  // nobody is left who could answer
  };
  const std::shared_ptr<State>& state() const { return state_; }

 private:
  void end();

  const std::shared_ptr<AnswerPipe> pipe_;
  HttpRequest request_;
  const bool http_11_;
  const bool head_only_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();
  bool begun_ = false, left_ = false;
  std::function<void()> when_gone_;
};

}  // namespace lapidary
