#include "coordinator/fleet/control_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/support/control_rig.h"
#include "tests/support/error_text.h"

namespace lapidary {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

wire::Frame heartbeat(int64_t clock) {
  wire::Frame frame;
  frame.mutable_heartbeat()->set_clock(clock);
  return frame;
}

std::string header(uint32_t length) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(length >> (8 * i));
  return bytes;
}

std::string refusal(ServerRig& rig, const wire::Hello& hello) {
  Peer peer(rig.port());
  peer.say(hello);
  const std::string reason = peer.refusal();
  EXPECT_FALSE(peer.hear());
  return reason;
}

void expect_next_worker_joins(ServerRig& rig) {
  Peer worker(rig.port());
  worker.say(ServerRig::hello(1, 1));
  EXPECT_TRUE(worker.is_welcome());
  rig.journal.await("joined 1/1");
}

TEST(ControlServer, AWorkerSaysHelloIsWelcomedAndHeard) {
  ServerRig rig;
  Peer worker(rig.port());
  worker.say(ServerRig::hello(1, 0));
  const auto answer = worker.hear();
  ASSERT_TRUE(answer && answer->has_welcome());
  EXPECT_EQ(answer->welcome().dead_after_seconds(), 60);
  EXPECT_EQ(answer->welcome().step_deadline_seconds(), 300);
  rig.journal.await("joined 1/0");
  for (uint64_t number = 1; number <= 100; ++number) worker.say(step_done(number));
  for (uint64_t number = 1; number <= 100; ++number)
    EXPECT_THAT(rig.journal.await("step_done", number), EndsWith(cat("received 1/0 step_done ", number)));
}

TEST(ControlServer, AFrameGoesToOneRankOrToAWholeReplica) {
  ServerRig rig;
  Peer first(rig.port()), second(rig.port());
  first.say(ServerRig::hello(0, 0));
  second.say(ServerRig::hello(0, 1));
  EXPECT_TRUE(first.is_welcome() && second.is_welcome());
  wire::Frame step, encode;
  step.mutable_step()->set_number(9);
  encode.mutable_encode()->set_id(4);
  rig.run([&](ControlServer& server) {
    server.send(0, 1, encode_frame(encode));
    server.send(0, encode_frame(step));
    server.send(1, encode_frame(step));  // nobody is there
  });
  EXPECT_EQ(first.hear_news()->step().number(), 9u);
  EXPECT_EQ(second.hear_news()->encode().id(), 4u);
  EXPECT_EQ(second.hear_news()->step().number(), 9u);
}

TEST(ControlServer, RefusedWorkersAreToldWhatDiffers) {
  ServerRig rig;
  const auto with = [&](const std::function<void(wire::Hello&)>& change) {
    wire::Hello hello = ServerRig::hello(0, 0);
    change(hello);
    return refusal(rig, hello);
  };
  EXPECT_EQ(with([](auto& h) { h.set_version("0.9"); }),
            "the worker is of version 0.9, the coordinator of 1.0");
  EXPECT_EQ(with([](auto& h) { h.mutable_settings(0)->set_value("beef"); }),
            "the worker was started with --dtype beef, the coordinator with cafe");
  EXPECT_EQ(with([](auto& h) { h.clear_settings(); }), "the worker does not say its --dtype");
  EXPECT_EQ(
      with([](auto& h) { h.mutable_mesh()->set_tp(4); }),
      "the worker was started with --tp 4 --pp 1 --replicas 2 --vision-ranks 0, the coordinator with --tp 2 "
      "--pp 1 --replicas 2 --vision-ranks 0");
  EXPECT_EQ(with([](auto& h) { h.set_replica(2); }),
            "replica 2 is not one of the 2 of the job, which count from 0");
  EXPECT_EQ(with([](auto& h) { h.set_rank(-1); }),
            "rank -1 is not one of the 2 of the job, which count from 0");
  EXPECT_EQ(rig.journal.holding("log: refused 127.0.0.1:").size(), 6u);
  EXPECT_TRUE(rig.journal.holding("joined").empty());
}

wire::Hello hello_with(int replica, int rank, const std::string& computes_with) {
  wire::Hello hello = ServerRig::hello(replica, rank);
  hello.set_computes_with(computes_with);
  return hello;
}

TEST(ControlServer, RanksOfAReplicaComputeAlikeAndReplicasThatDoNotAreTold) {
  ServerRig rig;
  Peer first(rig.port()), second(rig.port());
  first.say(hello_with(0, 0, "avx512"));
  EXPECT_TRUE(first.is_welcome());
  EXPECT_EQ(refusal(rig, hello_with(0, 1, "avx2")),
            "rank 1 computes with avx2, rank 0 of its replica with avx512: give all of them the same --isa "
            "and --device");
  second.say(hello_with(1, 0, "avx2"));
  EXPECT_TRUE(second.is_welcome());
  rig.journal.await("joined 1/0");
  EXPECT_EQ(rig.journal.holding("replica 1 computes with avx2, replica 0 with avx512").size(), 1u);
}

TEST(ControlServer, WhoHasAnotherTokenLearnsNothingElse) {
  ServerRig rig;
  EXPECT_EQ(refusal(rig, wire::Hello()), "wrong token");
  wire::Hello hello = ServerRig::hello(7, 7);
  hello.set_token("secre");
  hello.set_version("\xff");
  EXPECT_EQ(refusal(rig, hello), "wrong token");
  EXPECT_EQ(rig.journal.holding(": wrong token").size(), 2u);
}

TEST(ControlServer, ARankJoinsOnceUntilItsReplicaIsDropped) {
  ServerRig rig;
  Peer first(rig.port());
  first.say(ServerRig::hello(0, 1));
  EXPECT_TRUE(first.is_welcome());
  EXPECT_THAT(refusal(rig, ServerRig::hello(0, 1)),
              HasSubstr("replica 0 rank 1 has joined already, from 127.0.0.1:"));
  rig.run([](ControlServer& server) { server.drop_replica(0); });
  EXPECT_FALSE(first.hear_news());
  Peer second(rig.port());
  second.say(ServerRig::hello(0, 1));
  EXPECT_TRUE(second.is_welcome());
  rig.journal.await("joined 0/1", 2);
  EXPECT_TRUE(rig.journal.holding("lost").empty());
}

TEST(ControlServer, ALostRankStaysOutUntilItsReplicaIsDropped) {
  ServerRig rig;
  Peer first(rig.port());
  first.say(ServerRig::hello(0, 1));
  EXPECT_TRUE(first.is_welcome());
  first.close();
  EXPECT_THAT(rig.journal.await("lost 0/1"), HasSubstr("lost 0/1: "));
  EXPECT_EQ(refusal(rig, ServerRig::hello(0, 1)),
            "replica 0 rank 1 was lost, and its replica has not ended yet");
  rig.run([](ControlServer& server) {
    EXPECT_FALSE(server.has_joined(0, 1));
    server.drop_replica(0);
  });
  Peer second(rig.port());
  second.say(ServerRig::hello(0, 1));
  EXPECT_TRUE(second.is_welcome());
}

TEST(ControlServer, BytesThatAreNoHelloEndTheirConnectionAlone) {
  ServerRig rig;
  Peer worker(rig.port());
  worker.say(ServerRig::hello(0, 0));
  EXPECT_TRUE(worker.is_welcome());
  std::mt19937 random(1);
  std::string noise = header(1000);
  while (noise.size() < 1004) noise += static_cast<char>(random());
  for (const std::string& bytes :
       {header(0xffffffff), header((64 << 10) + 1), header(0), noise, std::string("GET / HTTP/1.1\r\n\r\n"),
        encode_frame(step_done(1)).bytes()}) {
    Peer peer(rig.port());
    peer.say(bytes);
    EXPECT_FALSE(peer.hear());
  }
  EXPECT_EQ(rig.journal.holding("sent a frame of 4294967295 bytes, at most 65536 are allowed").size(), 1u);
  EXPECT_EQ(rig.journal.holding("said step_done before hello").size(), 1u);
  EXPECT_EQ(rig.journal.holding("log: ").size(), 6u);
  worker.say(step_done(3));
  rig.journal.await("received 0/0 step_done 3");
}

TEST(ControlServer, HalfAHelloThenTheEndIsNoted) {
  ServerRig rig;
  wire::Frame frame;
  *frame.mutable_hello() = ServerRig::hello(0, 0);
  const std::string bytes = encode_frame(frame).bytes();
  for (const size_t size : {size_t{2}, bytes.size() / 2}) {
    Peer peer(rig.port());
    peer.say(bytes.substr(0, size));
    peer.close();
  }
  rig.journal.await("has not joined: closed the connection within a frame", 2);
  EXPECT_TRUE(rig.journal.holding("joined 0/0").empty());
}

TEST(ControlServer, WhoSaysNoWholeHelloInTimeIsClosed) {
  ControlServerOptions options = ServerRig::options();
  options.hello_seconds = 0.1;
  ServerRig rig(options);
  Peer silent(rig.port()), slow(rig.port());
  slow.say(header(100) + "half");
  EXPECT_FALSE(silent.hear());
  EXPECT_FALSE(slow.hear());
  EXPECT_EQ(rig.journal.holding("has not said hello within 0.1 s").size(), 2u);
}

TEST(ControlServer, ThousandsOfConnectionsNeitherFillTheLogNorKeepAWorkerOut) {
  ControlServerOptions options = ServerRig::options();
  options.max_pending = 50;
  ServerRig rig(options);
  Peer worker(rig.port());
  worker.say(ServerRig::hello(0, 0));
  EXPECT_TRUE(worker.is_welcome());
  std::vector<std::unique_ptr<Peer>> crowd;
  for (int i = 0; i < 3000; ++i) {
    crowd.push_back(std::make_unique<Peer>(rig.port()));
    // The one that has just been pushed out is closed: no more than fifty are held at any time.
    if (i < 50) continue;
    EXPECT_FALSE(crowd[static_cast<size_t>(i) - 50]->hear());
    crowd[static_cast<size_t>(i) - 50].reset();
  }
  expect_next_worker_joins(rig);
  worker.say(step_done(5));
  rig.journal.await("received 0/0 step_done 5");
  EXPECT_EQ(rig.journal.holding("log: ").size(), 20u);
}

TEST(ControlServer, AWorkerThatSaysWhatNoWorkerSaysIsLost) {
  ControlServerOptions options = ServerRig::options();
  options.frame_limit = 1000;
  ServerRig rig(options);
  std::vector<std::unique_ptr<Peer>> workers;
  for (int i = 0; i < 4; ++i) {
    workers.push_back(std::make_unique<Peer>(rig.port()));
    workers.back()->say(ServerRig::hello(i / 2, i % 2));
    EXPECT_TRUE(workers.back()->is_welcome());
  }
  wire::Frame stop;
  stop.mutable_stop();
  workers[0]->say(stop);
  workers[1]->say(header(3) + "\xff\xff\xff");
  workers[2]->say(header(1001));
  workers[3]->say(header(10));
  workers[3]->close();
  EXPECT_EQ(rig.journal.await("lost 0/0"), "lost 0/0: sent stop, which no worker sends");
  EXPECT_EQ(rig.journal.await("lost 0/1"), "lost 0/1: sent a frame of 3 bytes that cannot be read");
  EXPECT_EQ(rig.journal.await("lost 1/0"), "lost 1/0: sent a frame of 1001 bytes, at most 1000 are allowed");
  rig.journal.await("lost 1/1");
  EXPECT_EQ(rig.journal.holding("lost").size(), 4u);
}

TEST(ControlServer, ASilentWorkerIsDeadAndOneThatBeatsIsNot) {
  ControlServerOptions options = ServerRig::options();
  options.dead_after_seconds = 3;
  ServerRig rig(options);
  Peer beating(rig.port()), silent(rig.port());
  beating.say(ServerRig::hello(0, 0));
  silent.say(ServerRig::hello(0, 1));
  EXPECT_TRUE(beating.is_welcome() && silent.is_welcome());
  // A heartbeat for each of the coordinator's, until it has closed the other connection.
  while (rig.journal.holding("lost").empty()) {
    ASSERT_TRUE(beating.hear());
    beating.say(heartbeat(1));
  }
  EXPECT_EQ(rig.journal.await("lost"), "lost 0/1: was silent for 3 s");
  EXPECT_TRUE(rig.journal.holding("lost 0/0").empty());
}

TEST(ControlServer, HeartbeatsCarryTheOtherClockBack) {
  ServerRig rig;
  Peer worker(rig.port());
  worker.say(ServerRig::hello(0, 0));
  EXPECT_TRUE(worker.is_welcome());
  worker.say(heartbeat(12345));
  rig.journal.await("received 0/0 heartbeat clock 12345");
  auto beat = worker.hear();
  while (beat && beat->heartbeat().echo() == 0) beat = worker.hear();
  ASSERT_TRUE(beat);
  EXPECT_EQ(beat->heartbeat().echo(), 12345);
  EXPECT_GE(beat->heartbeat().echo_delay(), 0);
  EXPECT_GT(beat->heartbeat().clock(), 0);
}

TEST(ControlServer, AWorkerThatDoesNotReadIsLostBeforeMemoryRunsOut) {
  ControlServerOptions options = ServerRig::options();
  options.queue_limit = size_t{32} << 20;
  ServerRig rig(options);
  Peer worker(rig.port());
  worker.say(ServerRig::hello(0, 0));
  EXPECT_TRUE(worker.is_welcome());
  wire::Frame large;
  large.mutable_encode()->mutable_image()->set_data(std::string(size_t{8} << 20, 'x'));
  for (int i = 0; i < 20; ++i) rig.send(0, 0, large);
  EXPECT_THAT(rig.journal.await("lost 0/0"), HasSubstr("does not read: "));
  EXPECT_EQ(rig.journal.holding("lost").size(), 1u);
}

TEST(ControlServer, StopComesAfterAllElseAndWaitsForWhatWorkersSayLast) {
  ServerRig rig;
  Peer worker(rig.port());
  worker.say(ServerRig::hello(0, 0));
  EXPECT_TRUE(worker.is_welcome());
  wire::Frame step;
  step.mutable_step()->set_number(1);
  rig.send(0, 0, step);
  rig.run([&](ControlServer& server) { server.stop(false, [&rig] { rig.journal.add("stopped"); }); });
  EXPECT_TRUE(worker.hear_news()->has_step());
  EXPECT_TRUE(worker.hear_news()->has_stop());
  EXPECT_TRUE(rig.journal.holding("stopped").empty());
  worker.say(step_done(1));
  worker.close();
  rig.journal.await("stopped");
  EXPECT_EQ(rig.journal.holding("step_done 1").size(), 1u);
  EXPECT_TRUE(rig.journal.holding("lost").empty());
}

TEST(ControlServer, StopDoesNotWaitForAWorkerForEver) {
  ControlServerOptions options = ServerRig::options();
  options.dead_after_seconds = 0.3;
  ServerRig rig(options);
  Peer worker(rig.port());
  worker.say(ServerRig::hello(0, 0));
  EXPECT_TRUE(worker.is_welcome());
  rig.run([&](ControlServer& server) { server.stop(false, [&rig] { rig.journal.add("stopped"); }); });
  rig.journal.await("stopped");
  EXPECT_TRUE(rig.journal.holding("lost").empty());
}

TEST(ControlServer, WhoJoinsAfterTheStopIsToldToo) {
  ServerRig rig;
  rig.run([&](ControlServer& server) { server.stop(true, [&rig] { rig.journal.add("stopped"); }); });
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_TRUE(rig.journal.holding("stopped").empty());
    Peer worker(rig.port());
    worker.say(ServerRig::hello(rank / 2, rank % 2));
    EXPECT_TRUE(worker.is_welcome());
    EXPECT_TRUE(worker.hear_news()->has_stop());
  }
  rig.journal.await("stopped");
  EXPECT_TRUE(rig.journal.holding("joined").empty());
  EXPECT_TRUE(rig.journal.holding("lost").empty());
}

TEST(ControlServer, WithoutAllOfThemAStopIsDoneAndStillTellsWhoComes) {
  ServerRig rig;
  rig.run([&](ControlServer& server) { server.stop(false, [&rig] { rig.journal.add("stopped"); }); });
  rig.journal.await("stopped");
  Peer late(rig.port());
  late.say(ServerRig::hello(1, 1));
  EXPECT_TRUE(late.is_welcome());
  EXPECT_TRUE(late.hear_news()->has_stop());
}

TEST(ControlServer, AStopDoesNotWaitForEverForRanksThatNeverCome) {
  ControlServerOptions options = ServerRig::options();
  options.dead_after_seconds = 0.3;
  ServerRig rig(options);
  rig.run([&](ControlServer& server) { server.stop(true, [&rig] { rig.journal.add("stopped"); }); });
  rig.journal.await("stopped");
}

TEST(ControlServer, ListensWhereWorkersCanReachIt) {
  ServerRig local;
  EXPECT_EQ(local.endpoints(), std::vector<std::string>{cat("127.0.0.1:", local.port())});
  ControlServerOptions options = ServerRig::options();
  options.local = false;
  ServerRig everywhere(options);
  const std::vector<std::string> endpoints = everywhere.endpoints();
  EXPECT_THAT(endpoints, testing::Contains(cat("127.0.0.1:", everywhere.port())));
  int rank = 0;
  for (const std::string& endpoint : endpoints) {
    std::string address = endpoint.substr(0, endpoint.rfind(':'));
    if (address.front() == '[') address = address.substr(1, address.size() - 2);
    Peer worker(address, everywhere.port());
    worker.say(ServerRig::hello(rank / 2, rank % 2));
    EXPECT_TRUE(worker.is_welcome()) << endpoint;
    if (++rank == 4) break;
  }
}

TEST(ControlServer, APortThatIsTakenIsNamed) {
  ServerRig rig;
  ControlServerOptions options = ServerRig::options();
  options.port = rig.port();
  EXPECT_EQ(error_of([&] { ServerRig second(options); }),
            cat("cannot listen on 127.0.0.1:", rig.port(), ": Address already in use"));
}

}  // namespace
}  // namespace lapidary
