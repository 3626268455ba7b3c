#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/serve/http/http_rig.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const std::string kGet = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

struct RefusedBytes {
  const char* name;
  std::string bytes;
  int status;
};

/// A request that would be taken, were its body taken for the next one.
const std::string kHidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";

std::vector<RefusedBytes> refused_bytes() {
  const auto post = [](const std::string& headers, const std::string& body = "") {
    return "POST /p HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n" + body;
  };
  return {
      {"both lengths", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + kHidden),
       400},
      {"both lengths, turned",
       post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n" + kHidden), 400},
      {"two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "12345" + kHidden), 400},
      {"equal lengths", post("Content-Length: 5\r\nContent-Length: 5\r\n", "12345" + kHidden), 400},
      {"listed lengths", post("Content-Length: 5, 5\r\n", "12345" + kHidden), 400},
      {"plus", post("Content-Length: +5\r\n", "12345" + kHidden), 400},
      {"hexadecimal", post("Content-Length: 0x5\r\n", "12345" + kHidden), 400},
      {"space in length", post("Content-Length: 5 5\r\n", "12345" + kHidden), 400},
      {"negative", post("Content-Length: -1\r\n", kHidden), 400},
      {"empty length", post("Content-Length: \r\n", kHidden), 400},
      {"huge length", post("Content-Length: 99999999999999999999999\r\n", kHidden), 400},
      {"too long", post("Content-Length: 2000000\r\n", kHidden), 413},
      {"identity", post("Transfer-Encoding: identity\r\n", kHidden), 400},
      {"xchunked", post("Transfer-Encoding: xchunked\r\n", kHidden), 400},
      {"chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", kHidden), 400},
      {"gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n" + kHidden), 400},
      {"two encodings",
       post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + kHidden), 400},
      {"encoding with a tab",
       post("Transfer-Encoding: \x0b"
            "chunked\r\n",
            "0\r\n\r\n" + kHidden),
       400},
      {"empty encoding", post("Transfer-Encoding: \r\n", kHidden), 400},
      {"chunked 1.0", "POST /p HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + kHidden,
       400},
      {"fold", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400},
      {"folded with a tab", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n", 400},
      {"first line folded", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400},
      {"two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400},
      {"no host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", 400},
      {"absolute target", "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"authority target", "GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"star", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"bare LF", "GET / HTTP/1.1\nHost: x\n\n", 400},
      {"one bare LF", "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400},
      {"bare CR", "GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", 400},
      {"space before colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
      {"NUL in a value", std::string("GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", 36), 400},
      {"tab in a name", "GET / HTTP/1.1\r\nHost: x\r\nA\tB: c\r\n\r\n", 400},
      {"no name", "GET / HTTP/1.1\r\nHost: x\r\n: c\r\n\r\n", 400},
      {"no colon", "GET / HTTP/1.1\r\nHost: x\r\nABC\r\n\r\n", 400},
      {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505},
      {"http/1.1", "GET / http/1.1\r\nHost: x\r\n\r\n", 400},
      {"no version", "GET /\r\nHost: x\r\n\r\n", 400},
      {"two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"control in target", "GET /a\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"method", "G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"CONNECT", "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 405},
      {"TRACE", "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405},
      {"TLS", std::string("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", 15), 400},
      {"other expectation", post("Expect: more\r\nContent-Length: 5\r\n", "12345" + kHidden), 417},
      {"long head", "GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(20'000, 'a') + "\r\n\r\n", 431},
      {"endless head", "GET /" + std::string(20'000, 'a'), 431},
      {"many headers",
       "GET / HTTP/1.1\r\nHost: x\r\n" +
           [] {
             std::string all;
             for (int i = 0; i < 200; ++i) all += "A: b\r\n";
             return all;
           }() +
           "\r\n",
       431},
      {"chunk extension",
       post("Transfer-Encoding: chunked\r\n",
            "5;a=" + std::string(1000, 'x') + "\r\n12345\r\n0\r\n\r\n" + kHidden),
       400},
      {"huge chunk extension", post("Transfer-Encoding: chunked\r\n", "5;a=" + std::string(100'000, 'x')),
       400},
      {"chunk size", post("Transfer-Encoding: chunked\r\n", "xyz\r\n12345\r\n0\r\n\r\n" + kHidden), 400},
      {"chunk size overflow",
       post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n12345\r\n0\r\n\r\n" + kHidden), 400},
      {"negative chunk", post("Transfer-Encoding: chunked\r\n", "-5\r\n12345\r\n0\r\n\r\n" + kHidden), 400},
      {"chunk without end", post("Transfer-Encoding: chunked\r\n", "5\r\n1234567\r\n0\r\n\r\n" + kHidden),
       400},
      {"chunks too long",
       post("Transfer-Encoding: chunked\r\n", "200000\r\n" + std::string(0x200000, 'x') + "\r\n0\r\n\r\n"),
       413},
  };
}

TEST(HttpServer, WhatTwoReadersCouldTakeDifferentlyIsRefusedAndClosed) {
  HttpRig rig;
  for (const RefusedBytes& refused : refused_bytes()) {
    RawClient client(rig.port());
    client.say(refused.bytes);
    const std::string heard = client.hear_all();
    EXPECT_THAT(heard, StartsWith("HTTP/1.1 " + std::to_string(refused.status) + " ")) << refused.name;
    EXPECT_THAT(heard, HasSubstr("Connection: close\r\n")) << refused.name;
    EXPECT_THAT(heard, HasSubstr("{\"error\":{\"message\":\"")) << refused.name;
    EXPECT_EQ(heard.find("HTTP/1.1 2"), heard.npos) << refused.name << ": " << heard;
    EXPECT_TRUE(client.closed_by_peer()) << refused.name;
  }
  EXPECT_THAT(rig.seen(), IsEmpty());
}

struct TakenBytes {
  const char* name;
  std::string bytes;
  std::vector<std::string> seen;
};

TEST(HttpServer, WhatIsPlainIsTaken) {
  const std::vector<TakenBytes> all{
      {"get", kGet, {"GET / 0"}},
      {"empty lines first", "\r\n\r\n" + kGet, {"GET / 0"}},
      {"pipelined",
       kGet + "POST /b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + kGet,
       {"GET / 0", "POST /b 3", "GET / 0"}},
      {"chunked",
       "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
       "Chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: u\r\n\r\n" +
           kGet,
       {"POST /p 13", "GET / 0"}},
      {"1.0", "GET / HTTP/1.0\r\n\r\n", {"GET / 0"}},
      {"1.0 with a length",
       "POST /p HTTP/1.0\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nab" + kGet,
       {"POST /p 2", "GET / 0"}},
      {"value with space", "GET / HTTP/1.1\r\nHost:   x  \r\nA:\r\n\r\n", {"GET / 0"}},
      {"options", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", {"OPTIONS * 0"}},
      {"odd path", "GET //a/../b%00?x=%20&&= HTTP/1.1\r\nHost: x\r\n\r\n", {"GET //a/../b%00 0"}},
  };
  for (const TakenBytes& taken : all) {
    HttpRig rig;
    RawClient client(rig.port());
    client.say(taken.bytes);
    const std::string heard = client.hear_all(500);
    EXPECT_EQ(rig.seen(), taken.seen) << taken.name << ": " << heard;
    EXPECT_THAT(heard, StartsWith("HTTP/1.1 200 OK\r\n")) << taken.name;
  }
}

}  // namespace
}  // namespace lapidary
