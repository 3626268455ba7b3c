#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>

#include "coordinator/serve/openai/answers/answer_parts.h"
#include "coordinator/serve/openai/answers/chat_answer.h"
#include "coordinator/serve/openai/answers/completion_answer.h"
#include "coordinator/serve/openai/answers/list_answers.h"
#include "coordinator/serve/openai/answers/response_events.h"
#include "coordinator/serve/openai/api_error.h"

namespace lapidary {
namespace {

/// Answers that OpenAI's client was seen to read (scripts/check_openai_answers.py): a line of its type and
/// what it shows, then the answer.
std::map<std::string, std::string> golden_answers() {
  std::ifstream in(std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/openai/answers.txt");
  std::map<std::string, std::string> answers;
  for (std::string name, answer; std::getline(in, name);) {
    if (name.empty() || name.front() == '#') continue;
    std::getline(in, answer);
    answers[name] = answer;
  }
  return answers;
}

void expect_answer(const std::string& name, const std::string& got) {
  static const auto kAnswers = golden_answers();
  const auto expected = kAnswers.find(name);
  if (expected == kAnswers.end() || expected->second != got) ADD_FAILURE() << name << "\n\ngives:    " << got;
}

const AnswerHead kHead{"chatcmpl-1", 1760000000, "paligemma2"};
const Usage kUsage{261, 7, 256, 256};

TokenLogprob token(const std::string& text, double logprob) { return {text, text, logprob, {}}; }

std::vector<TokenLogprob> two_logprobs() {
  TokenLogprob first = token(" cat", -0.25);
  first.top = {token(" cat", -0.25), token(" \"dog\"", -1.5)};
  TokenLogprob half{"\\xc3", "\xc3", -1e-7, {}};
  half.top = {half, token("", -INFINITY)};
  return {first, half};
}

FoundThings two_boxes() {
  FoundThings found{{}, 640, 427};
  found.boxes = {{"cat", {0, 12.509765625, 320.625, 427}, {}}, {"", {1.25, 2, 3, 4}, {}}};
  return found;
}

Choice whole(int64_t index, const std::string& text) {
  Choice choice;
  choice.index = index;
  choice.text = text;
  choice.end = AnswerEnd::stop;
  return choice;
}

TEST(OpenAiAnswers, ChatCompletion) {
  expect_answer("ChatCompletion: a text",
                chat_completion(kHead, std::vector{whole(0, "a cat\n\"é\"")}, kUsage));
  std::vector<Choice> two{whole(0, "a"), whole(1, "")};
  two[0].stopped_by = std::string(" ;");
  two[1].end = AnswerEnd::length;
  expect_answer("ChatCompletion: two texts, one ended by a stop string, one cut",
                chat_completion(kHead, two, kUsage));
  Choice full = whole(0, "<loc0030><loc0000><loc1023><loc0513> cat ; <loc0004>");
  full.logprobs = two_logprobs();
  full.token_ids = {5, 6};
  full.stopped_by = int64_t{108};
  full.found = two_boxes();
  const std::vector<int32_t> prompt_ids{257152, 2, 108};
  expect_answer("ChatCompletion: logprobs, token ids and boxes",
                chat_completion(kHead, std::vector{full}, kUsage, &prompt_ids));
}

TEST(OpenAiAnswers, ChatChunk) {
  Choice delta;
  delta.text = "a";
  expect_answer("ChatCompletionChunk: the first", chat_chunk(kHead, std::vector{delta}, true, {}));
  expect_answer("ChatCompletionChunk: the second", chat_chunk(kHead, std::vector{delta}, false, {}));
  expect_answer("ChatCompletionChunk: with usage to come",
                chat_chunk(kHead, std::vector{delta}, false, {true, {}}));
  expect_answer("ChatCompletionChunk: with usage so far",
                chat_chunk(kHead, std::vector{delta}, false, {true, Usage{261, 2, 0, 256}}));
  Choice last = whole(0, "");
  last.found = two_boxes();
  expect_answer("ChatCompletionChunk: a choice's last", chat_chunk(kHead, std::vector{last}, false, {}));
  expect_answer("ChatCompletionChunk: usage", chat_usage_chunk(kHead, kUsage));
  Choice logged = delta;
  logged.index = 1;
  logged.logprobs = two_logprobs();
  logged.token_ids = {5, 6};
  const std::vector<int32_t> prompt_ids{2, 108};
  expect_answer("ChatCompletionChunk: logprobs and token ids",
                chat_chunk(kHead, std::vector{logged}, true, {}, &prompt_ids));
}

TEST(OpenAiAnswers, Completion) {
  AnswerHead head = kHead;
  head.id = "cmpl-1";
  expect_answer("Completion: a text", completion(head, std::vector{whole(0, "a cat")}, kUsage));
  Choice full = whole(1, " cat\xc3\xa9é!");
  full.logprobs = two_logprobs();
  full.logprobs->push_back({"\\xa9", "\xa9", -0.5, {}});
  full.logprobs->push_back(token("é", -0.5));
  full.logprobs->push_back(token("!", -0.5));
  full.text_before = 10;
  full.token_ids = {5, 6};
  full.found = two_boxes();
  const std::vector<int32_t> prompt_ids{2, 108};
  expect_answer("Completion: logprobs, token ids and boxes",
                completion(head, std::vector{full}, kUsage, &prompt_ids));
  EXPECT_EQ(characters(*full.logprobs), 7);
  Choice delta;
  delta.text = "a";
  expect_answer("CompletionChunk: an event", completion_chunk(head, std::vector{delta}, {}));
  expect_answer("CompletionChunk: an event with usage to come",
                completion_chunk(head, std::vector{delta}, {true, {}}));
  expect_answer("CompletionChunk: usage", completion_chunk(head, {}, {true, kUsage}));
}

ResponseEcho echo() {
  GenerationRequest request;
  request.max_tokens = 20;
  request.sampling.temperature = 0.5;
  request.metadata = {{"a", "b"}};
  request.answer.logprobs = 2;
  return ResponseEcho(request);
}

AnswerHead response_head() { return {"resp_1", 1760000000, "paligemma2"}; }

TEST(OpenAiAnswers, Response) {
  ResponseAnswer answer{response_head(),   "msg_1", ResponseEcho(GenerationRequest()),
                        whole(0, "a cat"), kUsage,  {}};
  expect_answer("Response: a text", response_answer(answer));
  answer.echo = echo();
  answer.choice->end = AnswerEnd::length;
  answer.choice->logprobs = two_logprobs();
  answer.choice->found = two_boxes();
  expect_answer("Response: cut, with logprobs and boxes", response_answer(answer));
}

/// The events of a stream: each type, and the data as the client reads it.
std::vector<std::pair<std::string, std::string>> events_of(std::string_view stream) {
  std::vector<std::pair<std::string, std::string>> events;
  while (!stream.empty()) {
    const size_t end = stream.find("\n\n"), line = stream.find("\ndata: ");
    EXPECT_TRUE(stream.starts_with("event: ") && line < end && end != stream.npos) << stream;
    if (end == stream.npos || line > end) break;
    events.emplace_back(stream.substr(7, line - 7), stream.substr(line + 7, end - line - 7));
    stream.remove_prefix(end + 2);
  }
  return events;
}

TEST(OpenAiAnswers, ResponseEvents) {
  ResponseEvents events(response_head(), "msg_1", echo());
  Choice delta;
  delta.text = "a";
  delta.logprobs = two_logprobs();
  Choice full = whole(0, "a cat");
  full.logprobs = two_logprobs();
  full.found = two_boxes();
  std::string stream = events.begin();
  stream += events.delta(delta);
  delta.text = " cat";
  delta.logprobs.reset();
  stream += events.delta(delta);
  stream += events.finish(full, kUsage);
  int number = 0;
  for (const auto& [type, data] : events_of(stream))
    expect_answer("Event: " + std::to_string(number++) + " is " + type, data);
  EXPECT_EQ(number, 10);
}

TEST(OpenAiAnswers, ResponseThatIsCut) {
  ResponseEvents events(response_head(), "msg_1", echo());
  Choice cut = whole(0, "a");
  cut.end = AnswerEnd::length;
  const auto sent = events_of(events.finish(cut, kUsage));
  ASSERT_EQ(sent.size(), 4u);
  EXPECT_EQ(sent.back().first, "response.incomplete");
  expect_answer("Event: a cut response", sent.back().second);
}

TEST(OpenAiAnswers, ResponseThatFails) {
  ResponseEvents events(response_head(), "msg_1", echo());
  EXPECT_EQ(events_of(events.begin()).size(), 4u);
  const auto sent = events_of(events.fail("the replica is gone"));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent.front().first, "response.failed");
  expect_answer("Event: a failed response", sent.front().second);
}

TEST(OpenAiAnswers, Lists) {
  const ServedModel base{"paligemma2", 1760000000, "/models/pg2", {}, 1024};
  const ServedModel adapter{"birds", 1760000000, "/models/birds", "paligemma2", 1024};
  expect_answer("Model: one", model_answer(base));
  expect_answer("Models: a model and an adapter", models_answer(std::vector{base, adapter}));
  expect_answer("Models: none", models_answer({}));
  const std::vector<int32_t> tokens{2, 9, 108};
  expect_answer("Tokens: ids alone", tokenize_answer(tokens, 1024, {}));
  expect_answer("Tokens: with strings",
                tokenize_answer(tokens, 1024, std::vector<std::string>{"<bos>", "▁a", "\n"}));
  expect_answer("Text: of tokens", detokenize_answer("a \"é\""));
}

TEST(OpenAiAnswers, Errors) {
  expect_answer("Error: no such model", to_json(model_not_found("gpt-4")));
  try {
    require_context(1000, 25, 1024, "max_tokens");
    ADD_FAILURE() << "1025 tokens are taken";
  } catch (const ApiError& error) {
    expect_answer("Error: a long context", to_json(error));
  }
  require_context(1000, 24, 1024, "max_tokens");
  expect_answer("Error: without a code",
                to_json(ApiError(503, "server_error", "", "the server is starting")));
}

TEST(OpenAiAnswers, Events) {
  EXPECT_EQ(sse_event("{}"), "data: {}\n\n");
  EXPECT_EQ(kSseDone, "data: [DONE]\n\n");
}

TEST(OpenAiAnswers, LogprobTokens) {
  const auto tokenizer =
      Tokenizer::from_file(std::filesystem::path(LAPIDARY_SOURCE_DIR) / "configs/demo/model/tokenizer.json");
  const auto named = [&](const char* piece, bool as_id) {
    return logprob_token(tokenizer, tokenizer.id_of(piece).value(), as_id);
  };
  EXPECT_EQ(named("▁a", false).token, " a");
  EXPECT_EQ(named("▁a", false).bytes, " a");
  EXPECT_EQ(named("<0xE2>", false).token, "\\xe2");
  EXPECT_EQ(named("<0xE2>", false).bytes, "\xe2");
  EXPECT_EQ(named("<0x41>", false).token, "A");
  EXPECT_EQ(named("<eos>", false).token, "<eos>");
  EXPECT_EQ(named("<eos>", true).token, "token_id:1");
}

TEST(OpenAiAnswers, NegligibleLogprobs) {
  EXPECT_EQ(finite_logprob(-INFINITY), -9999);
  EXPECT_EQ(finite_logprob(NAN), -9999);
  EXPECT_EQ(finite_logprob(-12345), -9999);
  EXPECT_EQ(finite_logprob(-2.5), -2.5);
}

TEST(JsonWriter, CommasKeysAndNumbers) {
  JsonWriter json;
  json.begin_object().field("a", 1).field("b", 0.1).field("c", 1e-300).field("d", 1e21).field("e", true);
  json.key("f").begin_list().begin_list().end_list().value(2).begin_object().end_object().end_list();
  json.field("g", NAN).field("h", std::optional<int64_t>()).field("i", "\"\n\xff").field("j", 0.5f);
  json.field("k", std::numeric_limits<int64_t>::min()).list_field("l", std::vector<std::string>{"x", "y"});
  EXPECT_EQ(json.end_object().take(),
            R"({"a":1,"b":0.1,"c":1e-300,"d":1e+21,"e":true,"f":[[],2,{}],"g":null,"h":null,"i":"\"\n)"
            "\uFFFD"
            R"(","j":0.5,"k":-9223372036854775808,"l":["x","y"]})");
}

TEST(Answers, AMaskIsRunLengthsAndContoursAndACutBoxSaysSo) {
  FoundThings found{{}, 8, 4};
  DetectedBox& box = found.boxes.emplace_back();
  box.label = "cat";
  box.xyxy = {1, 1, 3, 2};
  box.partial = true;
  box.mask = DetectedMask{4, 8, "02", {{1, 1, 3, 1, 3, 2.5}}};
  JsonWriter json;
  write_found(json, found);
  EXPECT_EQ(json.take(),
            R"([{"label":"cat","box":[1,1,3,2],"box_normalized":[0.125,0.25,0.375,0.5],)"
            R"("mask":{"rle":{"size":[4,8],"counts":"02"},"polygon":[[1,1,3,1,3,2.5]]},"partial":true}])");
}

}  // namespace
}  // namespace lapidary
