#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/json/value.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/serve/answer_writers.h"
#include "coordinator/serve/engine/engine_client.h"
#include "coordinator/serve/http/http_server.h"
#include "coordinator/serve/metrics.h"
#include "coordinator/serve/model_service.h"
#include "coordinator/serve/openai/api_limits.h"

namespace lapidary {

struct ApiServerOptions {
  HttpServerOptions http;
  ApiLimits limits;
  std::vector<std::string> api_keys;   // any of them opens /v1; none: it is open
  std::filesystem::path local_media;   // file:// URLs below it are read; empty: none are
  size_t max_queued_requests = 1024;   // beyond the sequences that run; more are answered 429
  double request_timeout_seconds = 0;  // 0: none
  double keep_alive_seconds = 15;      // of silence, after which a stream that waits says a comment
  std::string metrics_prefix = "lapidary_";
  /// A box's codes as a mask of its picture, of that many pixels; any thread. Empty: no masks are made.
  std::function<std::optional<DetectedMask>(const DetectedBox& box, int64_t width, int64_t height)>
      make_mask{};
};

/// The API over HTTP: routes, who may ask, what is taken, and what becomes of it. On one thread, which also
/// hears the engine; requests are read and tokenised on a few others.
class ApiServer {
 public:
  /// Listens. All that is referred to outlives this.
  ApiServer(boost::asio::io_context& io, const ApiServerOptions& options, const ModelService& model,
            EngineClient& engine, ServeMetrics& metrics, std::function<void(const std::string&)> log);
  ~ApiServer();

  HttpServer& http() { return *http_; }
  /// Not ready any more, for balancers; still serving.
  void announce_end() { leaving_ = true; }
  /// New requests are answered 503.
  void refuse_new() { refusing_ = true; }

 private:
  using Exchange = std::shared_ptr<HttpExchange>;
  using Handler = void (ApiServer::*)(Exchange);
  struct Route {
    const char* method;
    const char* path;
    Handler handler;
    bool open;        // also without a key
    size_t max_body;  // bytes; 0: as images may be
  };
  static const std::vector<Route>& routes();

  HttpRules rules(const HttpRequest& head) const;
  void handle(Exchange exchange);
  bool may_ask(const HttpRequest& request) const;
  size_t largest_body() const;

  void chat_completions(Exchange exchange);
  void completions(Exchange exchange);
  void responses(Exchange exchange);
  void models(Exchange exchange);
  void page(Exchange exchange);
  void health(Exchange exchange);
  void ready(Exchange exchange);
  void version(Exchange exchange);
  void show_metrics(Exchange exchange);
  void tokenize(Exchange exchange);
  void detokenize(Exchange exchange);
  void cluster(Exchange exchange);

  using Parse = GenerationRequest (*)(const boost::json::value&, const ApiLimits&);
  /// Reads the body by `parse` on another thread, then begins the generation.
  void generate(Exchange exchange, Parse parse, MakeAnswerWriter make_writer);
  void begin(Exchange exchange, GenerationRequest asked, PreparedRequest prepared,
             MakeAnswerWriter make_writer);
  void make_masks(FoundThings found, std::function<void(FoundThings)> then);
  /// Answers by `work` of the body, on another thread; what it throws is the answer too.
  void answer_beside(Exchange exchange, std::function<std::string(const boost::json::value& body)> work);
  void check_model(const std::string& name) const;
  void read_media(std::vector<ImageReference>& images) const;
  /// Why no request is taken now; none: it is.
  std::shared_ptr<HttpResponse> unavailable() const;

  boost::asio::io_context& io_;
  const ApiServerOptions options_;
  const ModelService& model_;
  EngineClient& engine_;
  ServeMetrics& metrics_;
  const std::function<void(const std::string&)> log_;
  bool leaving_ = false, refusing_ = false;
  size_t reading_ = 0;  // requests that are being read
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  boost::asio::thread_pool readers_{2};
  std::unique_ptr<HttpServer> http_;
};

}  // namespace lapidary
