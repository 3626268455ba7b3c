// Routes of ApiServer that generate nothing: what the server is and does, tokens, the page.
#include <utility>

#include "configs/version.h"
#include "coordinator/serve/api_server.h"
#include "coordinator/serve/openai/answers/list_answers.h"
#include "coordinator/serve/openai/json_writer.h"
#include "coordinator/serve/openai/tokenize_request.h"
#include "coordinator/serve/page/page.h"
#include "coordinator/serve/refusals.h"

namespace lapidary {

void ApiServer::models(Exchange exchange) {
  if (!engine_.ready())
    return exchange->respond(busy(503, "not_ready", "no replica of the model is ready yet"));
  std::vector<ServedModel> served;
  for (const std::string& name : model_.names)
    served.push_back({name, model_.created, model_.names.front(), {}, model_.max_model_len});
  exchange->respond({200, "application/json", {}, models_answer(served)});
}

void ApiServer::page(Exchange exchange) {
  const auto file = page_file(exchange->request().path);
  exchange->respond({200,
                     std::string(file->type),
                     {{"Content-Security-Policy", std::string(kPagePolicy)},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Cache-Control", "no-cache"}},
                     std::string(file->bytes)});
}

void ApiServer::health(Exchange exchange) {
  exchange->respond({200, "application/json", {}, R"({"live":true})"});
}

void ApiServer::ready(Exchange exchange) {
  if (leaving_ || refusing_ || !engine_.ready())
    return exchange->respond(
        busy(503, "not_ready", leaving_ || refusing_ ? "the server is ending" : "no replica is ready yet"));
  exchange->respond({200, "application/json", {}, R"({"ready":true})"});
}

void ApiServer::version(Exchange exchange) {
  exchange->respond({200, "application/json", {}, cat(R"({"version":")", program_version(), R"("})")});
}

void ApiServer::show_metrics(Exchange exchange) {
  engine_.status([this, exchange](const EngineStatus& status) {
    exchange->respond({200,
                       "text/plain; version=0.0.4; charset=utf-8",
                       {},
                       metrics_.text(options_.metrics_prefix, status, engine_.unfinished())});
  });
}

void ApiServer::tokenize(Exchange exchange) {
  answer_beside(std::move(exchange), [this](const boost::json::value& body) {
    const TokenizeRequest asked = parse_tokenize(body, options_.limits);
    check_model(asked.model);
    GenerationRequest as_if;
    as_if.prompt = asked.prompt;
    as_if.add_special_tokens = asked.add_special_tokens;
    as_if.images = asked.images;
    const std::vector<int32_t> ids = prompt_ids(model_, as_if);
    std::optional<std::vector<std::string>> texts;
    if (asked.return_token_strs) {
      texts.emplace();
      for (const int32_t id : ids) texts->emplace_back(model_.tokenizer.token(id));
    }
    return tokenize_answer(ids, model_.max_model_len, texts);
  });
}

void ApiServer::detokenize(Exchange exchange) {
  answer_beside(std::move(exchange), [this](const boost::json::value& body) {
    const DetokenizeRequest asked = parse_detokenize(body, options_.limits);
    check_model(asked.model);
    return detokenize_answer(model_.tokenizer.decode(asked.tokens, false));
  });
}

void ApiServer::cluster(Exchange exchange) {
  engine_.status([this, exchange](const EngineStatus& status) {
    JsonWriter json;
    json.begin_object().field("model", model_.names.front()).key("replicas").begin_list();
    for (const ReplicaStatus& replica : status.replicas) {
      json.begin_object().field("id", replica.replica).field("state", replica.ready ? "ready" : "loading");
      json.field("restarts", replica.restarts).field("running", replica.counts.running);
      json.key("kv_pages").begin_object();
      json.field("used", replica.capacity.num_kv_pages() - static_cast<int64_t>(replica.counts.free_pages));
      json.field("total", replica.capacity.num_kv_pages()).end_object();
      json.key("ranks").begin_list();
      for (size_t rank = 0; rank < replica.ranks.size(); ++rank) {
        json.begin_object().field("rank", rank).field("description", replica.ranks[rank].description());
        json.end_object();
      }
      json.end_list().end_object();
    }
    json.end_list().field("queued", status.queued).field("unfinished", engine_.unfinished());
    exchange->respond({200, "application/json", {}, json.end_object().take()});
  });
}

}  // namespace lapidary
