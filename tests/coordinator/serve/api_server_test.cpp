#include "coordinator/serve/api_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/serve/api_rig.h"

namespace lapidary {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using Puppet = ApiRig<PuppetEngine>;

std::vector<int32_t> ids(const Puppet& rig, const std::string& text) { return rig.tokenizer().encode(text); }

/// How often `what` is in `text`.
size_t count(const std::string& text, const std::string& what) {
  size_t times = 0;
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + what.size())) ++times;
  return times;
}

TEST(ApiServer, TheRoleWaitsForTheFirstTokenAndEachTokenIsAnEvent) {
  Puppet rig;
  RawClient client(rig.port());
  client.say(chat(R"(,"stream":true,"max_tokens":9)"));
  rig.wait_for_requests(1);
  EXPECT_EQ(client.hear_all(300), "");  // a refusal could still be an ordinary one
  const auto tokens = ids(rig, "a beach by day");
  ASSERT_GT(tokens.size(), 2u);
  for (const int32_t token : tokens) rig.run([&](PuppetEngine& engine) { engine.token(1, token); });
  rig.run([&](PuppetEngine& engine) { engine.end(1); });
  const std::string heard = client.hear_until("[DONE]");
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_EQ(count(heard, "data: {"), tokens.size() + 1);
  EXPECT_EQ(count(heard, "\"role\":\"assistant\""), 1u);
  EXPECT_EQ(count(heard, "\"finish_reason\":\"stop\""), 1u);
  EXPECT_EQ(rig.run([](PuppetEngine& engine) { return engine.requests.front().max_new_tokens; }), 9);
}

TEST(ApiServer, ADeadReplicasTokensAreNotSaidAgain) {
  Puppet rig;
  RawClient client(rig.port());
  client.say(chat(R"(,"stream":true)"));
  rig.wait_for_requests(1);
  const auto tokens = ids(rig, "a beach by day");
  rig.run([&](PuppetEngine& engine) {
    engine.token(1, tokens[0]);
    engine.token(1, tokens[1]);
    engine.restart(1);
    for (const int32_t token : tokens) engine.token(1, token);
    engine.end(1);
  });
  const std::string heard = client.hear_until("[DONE]");
  EXPECT_EQ(count(heard, "data: {"), tokens.size() + 1) << heard;
}

TEST(ApiServer, AnotherTextAfterADeathIsAnError) {
  Puppet rig;
  RawClient client(rig.port());
  client.say(chat(R"(,"stream":true)"));
  rig.wait_for_requests(1);
  const auto tokens = ids(rig, "a beach by day");
  rig.run([&](PuppetEngine& engine) {
    engine.token(1, tokens[0]);
    engine.restart(1);
    engine.token(1, tokens[1]);
  });
  EXPECT_THAT(client.hear_until("[DONE]"), HasSubstr("went on with another text"));
}

TEST(ApiServer, SilenceInTheQueueIsBrokenByComments) {
  ApiServerOptions options;
  options.keep_alive_seconds = 0.1;
  Puppet rig(options);
  RawClient client(rig.port());
  client.say(chat(R"(,"stream":true)"));
  const std::string begun = client.hear_until(": keep-alive\n\n");
  EXPECT_THAT(begun, StartsWith("HTTP/1.1 200 OK\r\n"));
  client.hear_until(": keep-alive\n\n");
  rig.run([](PuppetEngine& engine) { engine.fail(1, "a.jpg: no picture", false); });
  EXPECT_THAT(client.hear_until("[DONE]"), HasSubstr("data: {\"error\":{\"message\":\"a.jpg: no picture\""));
}

TEST(ApiServer, ARequestThatFailsIsToldWhoseFaultItIs) {
  Puppet rig;
  RawClient own(rig.port()), theirs(rig.port());
  own.say(chat());
  rig.wait_for_requests(1);
  rig.run([](PuppetEngine& engine) { engine.fail(1, "a.jpg: no picture", false); });
  EXPECT_THAT(own.hear_until("}}"), AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("x-should-retry: false"),
                                          HasSubstr("invalid_image")));
  theirs.say(chat());
  rig.wait_for_requests(2);
  rig.run([](PuppetEngine& engine) { engine.fail(2, "given up", true); });
  EXPECT_THAT(theirs.hear_until("}}"), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("x-should-retry: true"),
                                             HasSubstr("Retry-After: ")));
}

TEST(ApiServer, AClientThatLeavesEndsItsWork) {
  Puppet rig;
  {
    RawClient client(rig.port());
    client.say(chat(R"(,"n":3)"));
    rig.wait_for_requests(3);
  }
  for (int tries = 0; tries < 2000; ++tries) {
    if (rig.run([](PuppetEngine& engine) { return engine.cancelled; }) == 3) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  FAIL() << "its requests go on";
}

TEST(ApiServer, AnAnswerThatTakesTooLongIsNotToBeRetried) {
  ApiServerOptions options;
  options.request_timeout_seconds = 0.2;
  Puppet rig(options);
  RawClient client(rig.port());
  client.say(chat());
  EXPECT_THAT(client.hear_until("}}"), AllOf(StartsWith("HTTP/1.1 504 "), HasSubstr("x-should-retry: false"),
                                             HasSubstr("--request-timeout")));
  EXPECT_EQ(rig.run([](PuppetEngine& engine) { return engine.cancelled; }), 1u);
}

TEST(ApiServer, MoreThanMayWaitAreToldToComeAgain) {
  ApiServerOptions options;
  options.max_queued_requests = 1;  // beside the two that run
  Puppet rig(options);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<RawClient>(rig.port()));
    clients.back()->say(chat());
    rig.wait_for_requests(static_cast<size_t>(i) + 1);
  }
  RawClient fourth(rig.port());
  fourth.say(chat());
  EXPECT_THAT(fourth.hear_all(), AllOf(StartsWith("HTTP/1.1 429 "), HasSubstr("Retry-After: 1\r\n"),
                                       HasSubstr("\"code\":\"queue_full\"")));
  rig.run([](PuppetEngine& engine) { engine.end(1); });
  clients.front()->hear_until("}}");
  RawClient fifth(rig.port());
  fifth.say(chat());
  rig.wait_for_requests(4);
}

TEST(ApiServer, WithoutAReplicaNobodyIsLetIn) {
  Puppet rig;
  rig.run([](PuppetEngine& engine) { engine.is_ready = false; });
  for (const std::string& bytes : {chat(), std::string("GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"),
                                   std::string("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")}) {
    RawClient client(rig.port());
    client.say(bytes);
    EXPECT_THAT(client.hear_until("}}"), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("Retry-After: 1\r\n")));
  }
  RawClient client(rig.port());
  client.say("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.hear_until("}"), StartsWith("HTTP/1.1 200 "));
}

TEST(ApiServer, BodiesThatAreNotForTheirRouteAreRefusedByTheirHead) {
  Puppet rig;
  for (const std::string& bytes :
       {std::string("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"),
        std::string("POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n")}) {
    RawClient client(rig.port());
    client.say(bytes);
    EXPECT_THAT(client.hear_all(), StartsWith("HTTP/1.1 413 "));
  }
  RawClient deep(rig.port());
  deep.say(post_bytes("/v1/chat/completions", std::string(100'000, '[')));
  EXPECT_THAT(deep.hear_until("}}"), StartsWith("HTTP/1.1 400 "));
}

}  // namespace
}  // namespace lapidary
