#include "coordinator/serve/answer_writers.h"

#include <utility>

#include "coordinator/serve/openai/answers/answer_parts.h"
#include "coordinator/serve/openai/answers/chat_answer.h"
#include "coordinator/serve/openai/answers/completion_answer.h"
#include "coordinator/serve/openai/answers/response_answer.h"
#include "coordinator/serve/openai/answers/response_events.h"

namespace lapidary {
namespace {

AnswerHead head_of(const AnswerContext& context, const char* prefix) {
  return {prefix + context.id, context.created, context.model};
}

/// Of /v1/chat/completions and /v1/completions, which differ in what they call things.
class ChoicesWriter : public AnswerWriter {
 public:
  ChoicesWriter(AnswerHead head, AnswerContext context, const AnswerFields& fields)
      : head_(std::move(head)), fields_(fields), prompt_ids_(std::move(context.prompt_ids)) {}

  std::string end(const std::vector<Choice>&, const Usage& usage) override {
    std::string events = fields_.include_usage ? sse_event(usage_event(usage)) : "";
    return events.append(kSseDone);
  }
  std::string error(const std::string& json, const std::string&) override {
    return sse_event(json).append(kSseDone);
  }

 protected:
  virtual std::string usage_event(const Usage& usage) const = 0;
  const std::vector<int32_t>* prompt_ids() const { return fields_.return_token_ids ? &prompt_ids_ : nullptr; }
  StreamUsage said(const Usage& usage) const {
    StreamUsage said{fields_.include_usage, {}};
    if (fields_.continuous_usage_stats) said.so_far = usage;
    return said;
  }

  const AnswerHead head_;
  const AnswerFields fields_;

 private:
  const std::vector<int32_t> prompt_ids_;
};

class ChatWriter final : public ChoicesWriter {
 public:
  using ChoicesWriter::ChoicesWriter;
  std::string whole(const std::vector<Choice>& choices, const Usage& usage) override {
    return chat_completion(head_, choices, usage, prompt_ids());
  }
  std::string event(const Choice& choice, bool first, const Usage& usage) override {
    return sse_event(
        chat_chunk(head_, std::span(&choice, 1), first, said(usage), first ? prompt_ids() : nullptr));
  }

 private:
  std::string usage_event(const Usage& usage) const override { return chat_usage_chunk(head_, usage); }
};

class CompletionWriter final : public ChoicesWriter {
 public:
  CompletionWriter(AnswerHead head, AnswerContext context, const GenerationRequest& request)
      : ChoicesWriter(std::move(head), std::move(context), request.answer),
        before_(request.answer.echo ? request.prompt : "") {}
  std::string whole(const std::vector<Choice>& choices, const Usage& usage) override {
    std::vector<Choice> echoed = choices;
    for (Choice& choice : echoed) choice.text.insert(0, before_);
    return completion(head_, echoed, usage, prompt_ids());
  }
  std::string event(const Choice& choice, bool first, const Usage& usage) override {
    Choice echoed = choice;
    if (first) echoed.text.insert(0, before_);
    return sse_event(
        completion_chunk(head_, std::span(&echoed, 1), said(usage), first ? prompt_ids() : nullptr));
  }

 private:
  std::string usage_event(const Usage& usage) const override {
    return completion_chunk(head_, {}, {true, usage});
  }
  const std::string before_;
};

class ResponseWriter final : public AnswerWriter {
 public:
  ResponseWriter(AnswerContext context, const GenerationRequest& request)
      : answer_{head_of(context, "resp_"), "msg_" + context.id, ResponseEcho(request), {}, {}, {}},
        events_(answer_.head, answer_.message_id, answer_.echo) {}

  std::string whole(const std::vector<Choice>& choices, const Usage& usage) override {
    answer_.choice = choices.front();
    answer_.usage = usage;
    return response_answer(answer_);
  }
  std::string event(const Choice& choice, bool first, const Usage&) override {
    std::string bytes = first ? events_.begin() : "";
    begun_ = true;
    return choice.text.empty() ? bytes : bytes + events_.delta(choice);
  }
  std::string end(const std::vector<Choice>& choices, const Usage& usage) override {
    return events_.finish(choices.front(), usage);
  }
  std::string error(const std::string&, const std::string& sentence) override {
    return (begun_ ? "" : events_.begin()) + events_.fail(sentence);
  }

 private:
  ResponseAnswer answer_;
  ResponseEvents events_;
  bool begun_ = false;
};

}  // namespace

std::unique_ptr<AnswerWriter> make_chat_writer(AnswerContext context, const GenerationRequest& request) {
  AnswerHead head = head_of(context, "chatcmpl-");
  return std::make_unique<ChatWriter>(std::move(head), std::move(context), request.answer);
}

std::unique_ptr<AnswerWriter> make_completion_writer(AnswerContext context,
                                                     const GenerationRequest& request) {
  AnswerHead head = head_of(context, "cmpl-");
  return std::make_unique<CompletionWriter>(std::move(head), std::move(context), request);
}

std::unique_ptr<AnswerWriter> make_response_writer(AnswerContext context, const GenerationRequest& request) {
  return std::make_unique<ResponseWriter>(std::move(context), request);
}

}  // namespace lapidary
