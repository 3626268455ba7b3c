#pragma once

#include <memory>
#include <string>
#include <vector>

#include "coordinator/serve/openai/answers/answer.h"
#include "coordinator/serve/openai/generation_request.h"

namespace lapidary {

/// How an endpoint writes its answers. Each method gives whole bytes: of a body, or of events.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  virtual std::string whole(const std::vector<Choice>& choices, const Usage& usage) = 0;
  /// What one token adds to one choice. `first`: of that choice.
  virtual std::string event(const Choice& choice, bool first, const Usage& usage) = 0;
  /// After the last choice has ended; `choices` are whole.
  virtual std::string end(const std::vector<Choice>& choices, const Usage& usage) = 0;
  /// In the midst of a stream. `json`: the body that the error would have had; `sentence`: of it.
  virtual std::string error(const std::string& json, const std::string& sentence) = 0;
};

/// What a writer has to know of its request.
struct AnswerContext {
  std::string id;  // without the endpoint's prefix
  int64_t created = 0;
  std::string model;
  std::vector<int32_t> prompt_ids;  // where they are asked for
};
using MakeAnswerWriter = std::unique_ptr<AnswerWriter> (*)(AnswerContext context,
                                                           const GenerationRequest& request);

std::unique_ptr<AnswerWriter> make_chat_writer(AnswerContext context, const GenerationRequest& request);
std::unique_ptr<AnswerWriter> make_completion_writer(AnswerContext context, const GenerationRequest& request);
std::unique_ptr<AnswerWriter> make_response_writer(AnswerContext context, const GenerationRequest& request);

}  // namespace lapidary
