#include "coordinator/serve/chat_writer.h"

#include <utility>

#include "coordinator/serve/openai/answers/answer_parts.h"
#include "coordinator/serve/openai/answers/chat_answer.h"

namespace lapidary {
namespace {

class ChatWriter final : public AnswerWriter {
 public:
  ChatWriter(AnswerHead head, const AnswerFields& fields, std::vector<int32_t> prompt_ids)
      : head_(std::move(head)), fields_(fields), prompt_ids_(std::move(prompt_ids)) {}

  std::string whole(const std::vector<Choice>& choices, const Usage& usage) override {
    return chat_completion(head_, choices, usage, prompt_ids());
  }

  std::string event(const Choice& choice, bool first, const Usage& usage) override {
    StreamUsage said{fields_.include_usage, {}};
    if (fields_.continuous_usage_stats) said.so_far = usage;
    return sse_event(chat_chunk(head_, std::span(&choice, 1), first, said, first ? prompt_ids() : nullptr));
  }

  std::string end(const Usage& usage) override {
    std::string events = fields_.include_usage ? sse_event(chat_usage_chunk(head_, usage)) : "";
    return events.append(kSseDone);
  }

  std::string error(const std::string& json) override { return sse_event(json).append(kSseDone); }

 private:
  const std::vector<int32_t>* prompt_ids() const { return fields_.return_token_ids ? &prompt_ids_ : nullptr; }

  const AnswerHead head_;
  const AnswerFields fields_;
  const std::vector<int32_t> prompt_ids_;
};

}  // namespace

std::unique_ptr<AnswerWriter> make_chat_writer(AnswerHead head, const AnswerFields& fields,
                                               std::vector<int32_t> prompt_ids) {
  return std::make_unique<ChatWriter>(std::move(head), fields, std::move(prompt_ids));
}

}  // namespace lapidary
