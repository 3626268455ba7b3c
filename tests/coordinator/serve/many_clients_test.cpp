#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "configs/error.h"
#include "coordinator/serve/engine/fake_engine.h"
#include "tests/coordinator/serve/api_rig.h"

/// As many clients as a team has, without a model.
namespace lapidary {
namespace {

using ::testing::HasSubstr;

FakeScript script_of(const std::string& text, int64_t sequences) {
  FakeScript script;
  script.sequences = sequences;
  script.prefill_ms = 0;
  script.step_ms = 1;
  script.tokens = ApiRig<FakeEngine>::demo_model().tokenizer.encode(text);
  return script;
}

/// Of the events of one answer.
std::string text_of(const std::string& heard) {
  const std::string before = "\"content\":\"";
  std::string text;
  for (size_t at = heard.find(before); at != heard.npos; at = heard.find(before, at)) {
    at += before.size();
    text += heard.substr(at, heard.find('"', at) - at);
  }
  return text;
}

TEST(ManyClients, AThousandStreamsAreHeldAndEachIsWhole) {
  rlimit descriptors{};  // both ends are this process's
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &descriptors), 0);
  descriptors.rlim_cur = descriptors.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &descriptors), 0);
  ASSERT_GT(descriptors.rlim_max, 2100u);
  ApiServerOptions options;
  options.max_queued_requests = 2000;
  ApiRig<FakeEngine> rig(options, [](boost::asio::io_context& server) {
    return std::make_unique<FakeEngine>(server, script_of("a beach by day under a cloud", 1000));
  });
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 1000; ++i) {
    clients.push_back(std::make_unique<RawClient>(rig.port()));
    ASSERT_TRUE(clients.back()->connected()) << i;
    ASSERT_TRUE(clients.back()->say(chat(R"(,"stream":true,"max_tokens":40,"ignore_eos":true)"))) << i;
  }
  const std::string first = clients.front()->hear_until("[DONE]");
  EXPECT_THAT(first, HasSubstr("\"finish_reason\":\"length\""));
  const std::string whole = text_of(first);
  EXPECT_GT(whole.size(), 100u);
  for (size_t i = 1; i < clients.size(); ++i)
    ASSERT_EQ(text_of(clients[i]->hear_until("[DONE]")), whole) << "client " << i;
}

TEST(ManyClients, WhoWaitsForASequenceGetsOneInItsTurn) {
  ApiServerOptions options;
  options.max_queued_requests = 2000;
  ApiRig<FakeEngine> rig(options, [](boost::asio::io_context& server) {
    return std::make_unique<FakeEngine>(server, script_of("a beach", 8));
  });
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(std::make_unique<RawClient>(rig.port()));
    clients.back()->say(chat(R"(,"max_tokens":5,"ignore_eos":true)"));
    if (i % 5 == 4) clients.back()->close();
  }
  for (size_t i = 0; i < clients.size(); ++i)
    if (i % 5 != 4) {
      ASSERT_THAT(clients[i]->hear_until("}}"), HasSubstr("\"completion_tokens\":5,")) << "client " << i;
    }
  EXPECT_EQ(rig.run([](FakeEngine& engine) { return engine.unfinished(); }), 0u);
}

TEST(ManyClients, AScriptIsReadOrRefused) {
  EXPECT_EQ(parse_fake_script(R"({"tokens": [5, 6], "step_ms": 2.5})", "s").step_ms, 2.5);
  for (const char* wrong :
       {"", "[]", "{}", R"({"tokens": []})", R"({"tokens": [-1]})", R"({"tokens": ["a"]})",
        R"({"tokens": [1], "step_ms": -1})", R"({"tokens": [1], "sequences": 0})"})
    EXPECT_THROW(parse_fake_script(wrong, "s"), Error) << wrong;
}

}  // namespace
}  // namespace lapidary
