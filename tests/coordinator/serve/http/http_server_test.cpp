#include "coordinator/serve/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "tests/coordinator/serve/http/http_rig.h"

namespace lapidary {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kGet = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const std::string kHidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";

TEST(HttpServer, BytesMayComeOneByOne) {
  HttpRig rig;
  RawClient client(rig.port());
  const std::string bytes =
      "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" +
      kGet;
  for (const char byte : bytes) ASSERT_TRUE(client.say({&byte, 1}));
  EXPECT_THAT(client.hear_until("body of 0"), HasSubstr("body of 5"));
  EXPECT_THAT(rig.seen(), ElementsAre("POST /p 5", "GET / 0"));
}

TEST(HttpServer, ABodyIsAskedForOnceItsHeadIsTaken) {
  HttpRig rig;
  RawClient client(rig.port());
  client.say("POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(client.hear_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.say("abc");
  EXPECT_THAT(client.hear_until("body of"), HasSubstr("body of 3"));
}

TEST(HttpServer, RulesDecideByTheHeadAlone) {
  HttpRig rig;
  rig.rules = [](const HttpRequest& head) {
    HttpRules rules;
    rules.max_body = head.path == "/large" ? 3'000'000 : 10;
    if (head.path == "/no")
      rules.refusal = std::make_shared<HttpResponse>(error_response(404, "t", "c", "there is no /no"));
    return rules;
  };
  RawClient refused(rig.port());
  refused.say("POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n" + kHidden + "aaaaaaa");
  EXPECT_THAT(refused.hear_all(), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_TRUE(refused.closed_by_peer());

  RawClient kept(rig.port());  // nothing is left unread
  kept.say("GET /no HTTP/1.1\r\nHost: x\r\n\r\n" + kGet);
  EXPECT_THAT(kept.hear_until("body of 0"), HasSubstr("HTTP/1.1 200"));

  RawClient large(rig.port());
  large.say("POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n");
  large.say(std::string(2'000'000, 'x'));
  EXPECT_THAT(large.hear_until("body of"), HasSubstr("body of 2000000"));
  RawClient too_large(rig.port());
  too_large.say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n");
  EXPECT_THAT(too_large.hear_all(), StartsWith("HTTP/1.1 413 "));
}

class CountingSink : public BodySink {
 public:
  explicit CountingSink(size_t& bytes) : bytes_(bytes) {}
  void write(std::string_view piece) override { bytes_ += piece.size(); }

 private:
  size_t& bytes_;
};

TEST(HttpServer, ABodyMayGoToASinkAndIsNeverHeld) {
  size_t bytes = 0;
  HttpServerOptions options;
  options.max_bodies = 1000;  // less than the body
  HttpRig rig(options);
  rig.rules = [&](const HttpRequest& head) {
    HttpRules rules{.max_body = 100'000'000};
    if (head.path == "/sink") rules.sink = std::make_shared<CountingSink>(bytes);
    return rules;
  };
  RawClient client(rig.port());
  client.say("POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n");
  for (int i = 0; i < 20; ++i) client.say(std::string(1'000'000, 'x'));
  EXPECT_THAT(client.hear_until("body of"), HasSubstr("body of 0"));
  EXPECT_EQ(bytes, 20'000'000u);

  RawClient held(rig.port());
  held.say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + std::string(5000, 'x'));
  const std::string heard = held.hear_all();
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(heard, HasSubstr("Retry-After: 1\r\n"));
  RawClient after(rig.port());  // what was held is given back
  after.say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + std::string(900, 'x'));
  EXPECT_THAT(after.hear_until("body of"), HasSubstr("body of 900"));
}

TEST(HttpServer, WhoIsSlowIsClosedAndOthersAreServed) {
  HttpServerOptions options;
  options.head_seconds = 0.3;
  options.body_seconds = 0.3;
  options.idle_seconds = 0.3;
  HttpRig rig(options);
  RawClient idle(rig.port()), head(rig.port()), body(rig.port());
  head.say("GET / HTTP/1.1\r\nHo");
  body.say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
  RawClient quick(rig.port());
  quick.say(kGet);
  EXPECT_THAT(quick.hear_until("body of 0"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(head.hear_all(), StartsWith("HTTP/1.1 408 "));
  EXPECT_THAT(body.hear_all(), StartsWith("HTTP/1.1 408 "));
  EXPECT_EQ(idle.hear_all(), "");
  EXPECT_TRUE(idle.closed_by_peer() && head.closed_by_peer() && body.closed_by_peer());
}

TEST(HttpServer, AStreamComesPieceByPiece) {
  std::promise<std::shared_ptr<HttpExchange>> asked;
  HttpRig rig({}, [&](std::shared_ptr<HttpExchange> exchange) { asked.set_value(std::move(exchange)); });
  RawClient client(rig.port());
  client.say(kGet + kGet);
  const auto exchange = asked.get_future().get();
  asked = {};
  rig.run([&](HttpServer&) { exchange->begin_stream({200, "text/event-stream", {{"X", "y"}}, ""}); });
  const std::string head = client.hear_until("\r\n\r\n");
  EXPECT_THAT(head, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(head, HasSubstr("X: y\r\n"));
  rig.run([&](HttpServer&) { exchange->send("data: 1\n\n"); });
  EXPECT_EQ(client.hear_until("1\n\n\r\n"), "9\r\ndata: 1\n\n\r\n");
  rig.run([&](HttpServer&) {
    exchange->send("x");
    exchange->finish();
  });
  EXPECT_EQ(client.hear_until("0\r\n\r\n"), "1\r\nx\r\n0\r\n\r\n");
  asked.get_future().get();  // the connection is kept
}

TEST(HttpServer, AStreamOfHttp10EndsWithTheConnection) {
  HttpRig rig({}, [](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->begin_stream({200, "text/plain", {}, ""});
    exchange->send("abc");
    exchange->finish();
  });
  RawClient client(rig.port());
  client.say("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(client.hear_all(), EndsWith("Connection: close\r\n\r\nabc"));
  EXPECT_TRUE(client.closed_by_peer());
}

TEST(HttpServer, AClientThatLeavesIsSeenAtOnce) {
  std::promise<void> left;
  std::shared_ptr<HttpExchange> kept;
  std::promise<void> begun;
  HttpRig rig({}, [&](std::shared_ptr<HttpExchange> exchange) {
    exchange->when_gone([&] { left.set_value(); });
    exchange->begin_stream({200, "text/plain", {}, ""});
    kept = std::move(exchange);
    begun.set_value();
  });
  {
    RawClient client(rig.port());
    client.say(kGet);
    client.hear_until("\r\n\r\n");
    begun.get_future().get();
  }
  EXPECT_EQ(left.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  rig.run([&](HttpServer& server) {
    EXPECT_TRUE(kept->gone());
    kept->send("more");  // nothing
    kept->finish();
    EXPECT_EQ(server.in_progress(), 0u);
    EXPECT_EQ(server.connections(), 0u);
    kept.reset();
  });
}

TEST(HttpServer, AReaderThatIsTooSlowIsDropped) {
  HttpServerOptions options;
  options.max_unsent = size_t{1} << 20;
  std::promise<void> left;
  std::promise<std::shared_ptr<HttpExchange>> asked;
  HttpRig rig(options, [&](std::shared_ptr<HttpExchange> exchange) {
    exchange->when_gone([&] { left.set_value(); });
    exchange->begin_stream({200, "text/plain", {}, ""});
    asked.set_value(std::move(exchange));
  });
  RawClient client(rig.port());
  client.say(kGet);
  const auto exchange = asked.get_future().get();
  for (int i = 0; i < 1000; ++i)  // more than the system's buffers take
    rig.run([&](HttpServer&) { exchange->send(std::string(64 << 10, 'x')); });
  EXPECT_EQ(left.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

TEST(HttpServer, AReaderThatTakesNothingIsDroppedInTime) {
  HttpServerOptions options;
  options.write_seconds = 0.3;
  options.max_unsent = size_t{1} << 30;
  std::promise<void> left;
  HttpRig rig(options,
              [&, kept = std::shared_ptr<HttpExchange>()](std::shared_ptr<HttpExchange> exchange) mutable {
                exchange->when_gone([&] { left.set_value(); });
                exchange->begin_stream({200, "text/plain", {}, ""});
                exchange->send(std::string(64 << 20, 'x'));  // more than the system's buffers take
                kept = std::move(exchange);
              });
  RawClient client(rig.port());
  client.say(kGet);
  EXPECT_EQ(left.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

TEST(HttpServer, AnExchangeThatNobodyAnswersClosesItsConnection) {
  HttpRig rig({}, [](const std::shared_ptr<HttpExchange>&) {});
  RawClient client(rig.port());
  client.say(kGet);
  EXPECT_EQ(client.hear_all(), "");
  EXPECT_TRUE(client.closed_by_peer());
}

TEST(HttpServer, DrainingEndsConnectionsWithTheirAnswers) {
  std::promise<std::shared_ptr<HttpExchange>> asked;
  HttpRig rig({}, [&](std::shared_ptr<HttpExchange> exchange) { asked.set_value(std::move(exchange)); });
  RawClient idle(rig.port()), busy(rig.port());
  busy.say(kGet);
  const auto exchange = asked.get_future().get();
  rig.run([&](HttpServer& server) {
    EXPECT_EQ(server.in_progress(), 1u);
    server.drain();
    server.stop_accepting();
  });
  EXPECT_EQ(idle.hear_all(), "");
  EXPECT_TRUE(idle.closed_by_peer());
  rig.run([&](HttpServer&) { exchange->respond({200, "text/plain", {}, "late"}); });
  EXPECT_THAT(busy.hear_all(), AllOf(HasSubstr("Connection: close\r\n"), EndsWith("late")));
}

TEST(HttpServer, MoreConnectionsThanMayBeAreClosed) {
  HttpServerOptions options;
  options.max_connections = 2;
  HttpRig rig(options);
  RawClient first(rig.port()), second(rig.port());
  first.say(kGet);
  second.say(kGet);
  first.hear_until("body of 0");
  second.hear_until("body of 0");
  RawClient third(rig.port());
  EXPECT_EQ(third.hear_all(), "");
  EXPECT_TRUE(third.closed_by_peer());
  first.close();
  for (int tries = 0; tries < 100; ++tries) {
    RawClient fourth(rig.port());
    fourth.say(kGet);
    if (!fourth.hear_until("body of 0").empty()) return;
  }
  FAIL() << "no room after a client has left";
}

}  // namespace
}  // namespace lapidary
