#include "coordinator/serve/api_server.h"

#include <openssl/crypto.h>

#include <array>
#include <boost/asio/post.hpp>
#include <chrono>
#include <random>
#include <utility>

#include "configs/error.h"
#include "coordinator/serve/generation.h"
#include "coordinator/serve/local_media.h"
#include "coordinator/serve/openai/chat_request.h"
#include "coordinator/serve/openai/completion_request.h"
#include "coordinator/serve/openai/response_request.h"
#include "coordinator/serve/refusals.h"

namespace lapidary {
namespace {

uint64_t random_seed() {
  std::random_device random;
  return (uint64_t{random()} << 32) | random();
}

int64_t seconds_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// In constant time: how much of a wrong key is right shows in no clock.
bool same_key(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

const std::vector<ApiServer::Route>& ApiServer::routes() {
  constexpr size_t kNoBody = 4096, kText = size_t{4} << 20;
  static const std::vector<Route> all{
      {"POST", "/v1/chat/completions", &ApiServer::chat_completions, false, 0},
      {"POST", "/v1/completions", &ApiServer::completions, false, 0},
      {"POST", "/v1/responses", &ApiServer::responses, false, 0},
      {"GET", "/v1/models", &ApiServer::models, false, kNoBody},
      {"POST", "/tokenize", &ApiServer::tokenize, false, kText},
      {"POST", "/detokenize", &ApiServer::detokenize, false, kText},
      {"GET", "/", &ApiServer::page, true, kNoBody},
      {"GET", "/page.css", &ApiServer::page, true, kNoBody},
      {"GET", "/page.js", &ApiServer::page, true, kNoBody},
      {"GET", "/health", &ApiServer::health, true, kNoBody},
      {"GET", "/v2/health/live", &ApiServer::health, true, kNoBody},
      {"GET", "/ready", &ApiServer::ready, true, kNoBody},
      {"GET", "/v2/health/ready", &ApiServer::ready, true, kNoBody},
      {"GET", "/version", &ApiServer::version, true, kNoBody},
      {"GET", "/metrics", &ApiServer::show_metrics, true, kNoBody},
      {"GET", "/cluster", &ApiServer::cluster, false, kNoBody},
  };
  return all;
}

ApiServer::ApiServer(boost::asio::io_context& io, const ApiServerOptions& options, const ModelService& model,
                     EngineClient& engine, ServeMetrics& metrics, std::function<void(const std::string&)> log)
    : io_(io), options_(options), model_(model), engine_(engine), metrics_(metrics), log_(std::move(log)) {
  HttpServerEvents events;
  events.rules = [this](const HttpRequest& head) { return rules(head); };
  events.request = [this](Exchange exchange) { handle(std::move(exchange)); };
  http_ = std::make_unique<HttpServer>(io, options.http, std::move(events));
}

ApiServer::~ApiServer() {
  *alive_ = false;
  readers_.join();
}

/// Images come as base64, a third larger, beside texts.
size_t ApiServer::largest_body() const {
  return static_cast<size_t>(options_.limits.max_images) * options_.limits.max_image_bytes / 3 * 4 +
         2 * options_.limits.max_text_bytes;
}

bool ApiServer::may_ask(const HttpRequest& request) const {
  if (options_.api_keys.empty()) return true;
  constexpr std::string_view kBearer = "Bearer ";
  std::string_view given = request.header("Authorization");
  if (given.substr(0, kBearer.size()) != kBearer) return false;
  given.remove_prefix(kBearer.size());
  bool may = false;
  for (const std::string& key : options_.api_keys) may |= same_key(given, key);  // all are looked at
  return may;
}

HttpRules ApiServer::rules(const HttpRequest& head) const {
  const auto refusal = [&head](HttpResponse response) {
    HttpRules rules;
    response.headers.emplace_back("x-request-id", request_id_of(head));
    rules.refusal = std::make_shared<const HttpResponse>(std::move(response));
    return rules;
  };
  const Route* of_path = nullptr;
  std::string allowed;
  for (const Route& route : routes()) {
    if (head.path != route.path) continue;
    if (head.method == route.method || (head.method == "HEAD" && std::string_view(route.method) == "GET"))
      of_path = &route;
    allowed += cat(allowed.empty() ? "" : ", ", route.method);
  }
  if (allowed.empty())
    return refusal(response_of(ApiError{404, "invalid_request_error", "unknown_url",
                                        cat("there is no ", head.method, " ", head.path, " here")}));
  if (of_path == nullptr) {
    HttpResponse response = response_of(ApiError{405, "invalid_request_error", "method_not_allowed",
                                                 cat(head.path, " takes ", allowed, ", not ", head.method)});
    response.headers.emplace_back("Allow", allowed);
    return refusal(std::move(response));
  }
  if (!of_path->open && !may_ask(head)) {
    HttpResponse response = response_of(
        {401, "invalid_request_error", "invalid_api_key", "the API key is missing or none of this server's"});
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
    return refusal(std::move(response));
  }
  if (of_path->max_body == 0)
    if (const auto response = unavailable()) return refusal(*response);
  HttpRules rules;
  rules.max_body = of_path->max_body > 0 ? of_path->max_body : largest_body();
  return rules;
}

void ApiServer::handle(Exchange exchange) {
  const HttpRequest& request = exchange->request();
  for (const Route& route : routes())
    if (request.path == route.path && (request.method == route.method ||
                                       (request.method == "HEAD" && std::string_view(route.method) == "GET")))
      return (this->*route.handler)(std::move(exchange));
}

std::shared_ptr<HttpResponse> ApiServer::unavailable() const {
  if (refusing_) return std::make_shared<HttpResponse>(busy(503, "shutting_down", "the server is ending"));
  if (!engine_.ready())
    return std::make_shared<HttpResponse>(busy(503, "not_ready", "no replica of the model is ready yet"));
  const size_t most = engine_.sequences() + options_.max_queued_requests;
  if (engine_.unfinished() + reading_ < most) return nullptr;
  metrics_.refused("max_num_queued_reqs");
  return std::make_shared<HttpResponse>(
      busy(429, "queue_full",
           cat("as many requests wait as may (--max-queued-requests ", options_.max_queued_requests, ")")));
}

// ---- generation

void ApiServer::chat_completions(Exchange exchange) {
  generate(std::move(exchange), parse_chat_completion, make_chat_writer);
}

void ApiServer::completions(Exchange exchange) {
  generate(std::move(exchange), parse_completion, make_completion_writer);
}

void ApiServer::responses(Exchange exchange) {
  generate(std::move(exchange), parse_response_request, make_response_writer);
}

void ApiServer::generate(Exchange exchange, Parse parse, MakeAnswerWriter make_writer) {
  if (const auto response = unavailable()) return exchange->respond(*response);
  ++reading_;
  boost::asio::post(
      readers_, [this, alive = alive_, exchange = std::move(exchange), parse, make_writer]() mutable {
        std::shared_ptr<HttpResponse> refusal;
        GenerationRequest asked;
        PreparedRequest prepared;
        try {
          asked = parse(parse_body(exchange->request().body), options_.limits);
          exchange->request().body = {};  // a picture is held once
          check_model(asked.model);
          read_media(asked.images);
          prepared = prepare(model_, asked, random_seed());
        } catch (...) {
          refusal = std::make_shared<HttpResponse>(response_of(std::current_exception()));
        }
        // An exchange belongs to the server's thread, to its end.
        boost::asio::post(io_, [this, alive, exchange = std::move(exchange), make_writer, refusal,
                                asked = std::move(asked), prepared = std::move(prepared)]() mutable {
          if (!*alive) return;
          --reading_;
          if (refusal) {
            refusal->headers.emplace_back("x-request-id", request_id_of(exchange->request()));
            return exchange->respond(std::move(*refusal));
          }
          begin(std::move(exchange), std::move(asked), std::move(prepared), make_writer);
        });
      });
}

void ApiServer::begin(Exchange exchange, GenerationRequest asked, PreparedRequest prepared,
                      MakeAnswerWriter make_writer) {
  if (exchange->gone()) return;
  const auto arrived = std::chrono::steady_clock::now();
  const auto images = static_cast<int64_t>(prepared.request.images.size());
  const int64_t n = asked.n;
  auto writer =
      make_writer({random_id(), seconds_now(), asked.model.empty() ? model_.names.front() : asked.model,
                   std::move(prepared.prompt_ids)},
                  asked);
  const std::string request_id =
      asked.request_id.empty() ? request_id_of(exchange->request()) : asked.request_id;
  GenerationParts parts{
      io_, engine_, model_, std::move(exchange), std::move(writer), std::move(asked), std::move(prepared)};
  parts.headers = {{"x-request-id", request_id}};
  parts.timeout_seconds = options_.request_timeout_seconds;
  parts.keep_alive_seconds = options_.keep_alive_seconds;
  if (options_.make_mask)
    parts.make_masks = [this](FoundThings found, std::function<void(FoundThings)> then) {
      make_masks(std::move(found), std::move(then));
    };
  parts.token = [this](bool first, double seconds) { metrics_.token(first, seconds); };
  parts.ended = [this, arrived, images, n](std::string_view reason, const Usage& usage) {
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - arrived;
    metrics_.ended(reason, took.count(), usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens,
                   images, n);
  };
  std::make_shared<Generation>(std::move(parts))->begin();
}

void ApiServer::make_masks(FoundThings found, std::function<void(FoundThings)> then) {
  boost::asio::post(
      readers_, [this, alive = alive_, found = std::move(found), then = std::move(then)]() mutable {
        for (DetectedBox& box : found.boxes) box.mask = options_.make_mask(box, found.width, found.height);
        boost::asio::post(io_, [alive, found = std::move(found), then = std::move(then)]() mutable {
          if (*alive) then(std::move(found));
        });
      });
}

void ApiServer::check_model(const std::string& name) const {
  if (!name.empty() && !model_.has_name(name)) throw model_not_found(name);
}

void ApiServer::read_media(std::vector<ImageReference>& images) const {
  for (ImageReference& image : images) {
    if (image.kind == ImageReference::Kind::url)
      refuse(image.param, "invalid_image_url", "no URL is fetched here: send the image as a data URL");
    if (image.kind == ImageReference::Kind::file)
      read_local_image(image, options_.local_media, options_.limits.max_image_bytes);
  }
}

void ApiServer::answer_beside(Exchange exchange, std::function<std::string(const boost::json::value&)> work) {
  boost::asio::post(readers_, [this, alive = alive_, exchange = std::move(exchange),
                               work = std::move(work)]() mutable {
    HttpResponse response;
    try {
      response.body = work(parse_body(exchange->request().body));
    } catch (...) {
      response = response_of(std::current_exception());
    }
    boost::asio::post(io_, [alive, exchange = std::move(exchange), response = std::move(response)]() mutable {
      if (*alive) exchange->respond(std::move(response));
    });
  });
}

}  // namespace lapidary
