#pragma once

#include <string>
#include <string_view>

#include "coordinator/serve/openai/answers/response_answer.h"

namespace lapidary {

/// The events of one streamed response, in OpenAI's order and numbered from 0: begin, delta as often as there
/// is text, then finish or fail. Each gives what is to be sent, whole events. Unlike a chat's stream no
/// [DONE] ends it.
class ResponseEvents {
 public:
  ResponseEvents(AnswerHead head, std::string message_id, ResponseEcho echo);

  /// response.created, in_progress, output_item.added, content_part.added.
  std::string begin();
  /// response.output_text.delta.
  std::string delta(const Choice& added);
  /// response.output_text.done, content_part.done, output_item.done, and completed or incomplete. `whole` has
  /// all text and all logprobs.
  std::string finish(const Choice& whole, const Usage& usage);
  /// response.failed.
  std::string fail(const std::string& sentence);

 private:
  JsonWriter begin_event(std::string_view type);
  void write_place(JsonWriter& json) const;
  std::string response_event(std::string_view type);
  std::string item_event(std::string_view type);
  std::string part_event(std::string_view type);
  std::string text_done();

  ResponseAnswer answer_;
  int64_t number_ = 0;
};

}  // namespace lapidary
