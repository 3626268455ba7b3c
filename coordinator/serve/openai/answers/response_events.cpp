#include "coordinator/serve/openai/answers/response_events.h"

#include <utility>

namespace lapidary {
namespace {

/// An event's type stands before its data, too.
std::string end_event(std::string_view type, JsonWriter json) {
  return std::string("event: ")
      .append(type)
      .append("\ndata: ")
      .append(json.end_object().take())
      .append("\n\n");
}

}  // namespace

ResponseEvents::ResponseEvents(AnswerHead head, std::string message_id, ResponseEcho echo)
    : answer_{std::move(head), std::move(message_id), std::move(echo), {}, {}, {}} {}

JsonWriter ResponseEvents::begin_event(std::string_view type) {
  JsonWriter json;
  json.begin_object().field("type", type).field("sequence_number", number_++);
  return json;
}

/// Of the one text of the one message.
void ResponseEvents::write_place(JsonWriter& json) const {
  json.field("item_id", answer_.message_id).field("output_index", 0).field("content_index", 0);
}

std::string ResponseEvents::response_event(std::string_view type) {
  JsonWriter json = begin_event(type);
  write_response(json.key("response"), answer_);
  return end_event(type, std::move(json));
}

std::string ResponseEvents::item_event(std::string_view type) {
  JsonWriter json = begin_event(type);
  json.field("output_index", 0);
  write_response_item(json.key("item"), answer_);
  return end_event(type, std::move(json));
}

std::string ResponseEvents::part_event(std::string_view type) {
  JsonWriter json = begin_event(type);
  write_place(json);
  write_response_part(json.key("part"), answer_);
  return end_event(type, std::move(json));
}

std::string ResponseEvents::text_done() {
  constexpr std::string_view kType = "response.output_text.done";
  JsonWriter json = begin_event(kType);
  write_place(json);
  json.field("text", answer_.choice->text);
  write_response_logprobs(json.key("logprobs"), answer_.choice->logprobs);
  return end_event(kType, std::move(json));
}

std::string ResponseEvents::begin() {
  std::string events = response_event("response.created");
  events += response_event("response.in_progress");
  events += item_event("response.output_item.added");
  return events += part_event("response.content_part.added");
}

std::string ResponseEvents::delta(const Choice& added) {
  constexpr std::string_view kType = "response.output_text.delta";
  JsonWriter json = begin_event(kType);
  write_place(json);
  json.field("delta", added.text);
  write_response_logprobs(json.key("logprobs"), added.logprobs);
  return end_event(kType, std::move(json));
}

std::string ResponseEvents::finish(const Choice& whole, const Usage& usage) {
  answer_.choice = whole;
  answer_.usage = usage;
  std::string events = text_done();
  events += part_event("response.content_part.done");
  events += item_event("response.output_item.done");
  return events +=
         response_event(whole.end == AnswerEnd::length ? "response.incomplete" : "response.completed");
}

std::string ResponseEvents::fail(const std::string& sentence) {
  answer_.error = sentence;
  return response_event("response.failed");
}

}  // namespace lapidary
