#include "worker/control/control_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/support/control_rig.h"
#include "tests/support/error_text.h"

namespace lapidary {
namespace {

using boost::asio::ip::tcp;
using testing::HasSubstr;

ControlLinkOptions to(std::vector<std::string> endpoints, int replica = 0, int rank = 0) {
  ControlLinkOptions options;
  options.endpoints = std::move(endpoints);
  options.hello = ServerRig::hello(replica, rank);
  return options;
}

ControlLinkEvents noting(Journal& journal) {
  ControlLinkEvents events;
  events.received = [&journal](const wire::Frame& frame) {
    journal.add(frame.has_step() ? cat("step ", frame.step().number()) : frame_name(frame));
  };
  events.lost = [&journal](const std::string& why) { journal.add("lost: " + why); };
  return events;
}

wire::Frame step(uint64_t number) {
  wire::Frame frame;
  frame.mutable_step()->set_number(number);
  return frame;
}

/// A place where somebody listens without being a coordinator.
struct Listener {
  boost::asio::io_context io;
  tcp::acceptor acceptor{io, {boost::asio::ip::make_address("127.0.0.1"), 0}};
  std::string endpoint() { return cat("127.0.0.1:", acceptor.local_endpoint().port()); }
};

/// A place where nobody does.
std::string closed_endpoint() { return Listener().endpoint(); }

TEST(ControlLink, FramesOfManyThreadsArriveInTheOrderOfEach) {
  ServerRig rig;
  Journal journal;
  ControlLink link(to(rig.endpoints()));
  EXPECT_EQ(link.welcome().dead_after_seconds(), 60);
  link.start(noting(journal));
  constexpr uint64_t kThreads = 4, kFrames = 500;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t)
    threads.emplace_back([&link, t] {
      for (uint64_t i = 0; i < kFrames; ++i) link.send(step_done(t * kFrames + i));
    });
  for (uint64_t i = 0; i < kFrames; ++i) rig.send(0, 0, step(i));
  for (std::thread& thread : threads) thread.join();
  rig.journal.await("step_done", kThreads * kFrames);
  std::vector<uint64_t> next(kThreads, 0);
  for (const std::string& line : rig.journal.holding("step_done")) {
    const uint64_t number = std::stoull(line.substr(line.rfind(' ')));
    EXPECT_EQ(number % kFrames, next[number / kFrames]++);
  }
  for (uint64_t i = 0; i < kFrames; ++i) EXPECT_EQ(journal.await("step", i + 1), cat("step ", i));
}

TEST(ControlLink, ManyRanksLiveInOneProcess) {
  ControlServerOptions options = ServerRig::options();
  options.mesh = {.tp = 8, .pp = 1, .replicas = 4, .vision_ranks = 0};
  ServerRig rig(options);
  Journal journal;
  std::vector<std::thread> ranks;
  for (int i = 0; i < 32; ++i)
    ranks.emplace_back([&, i] {
      ControlLinkOptions mine = to(rig.endpoints(), i / 8, i % 8);
      *mine.hello.mutable_mesh() = to_wire(options.mesh);
      ControlLink link(mine);
      link.start(noting(journal));
      link.send(step_done(static_cast<uint64_t>(i)));
      journal.await("stop", 32);
    });
  rig.journal.await("step_done", 32);
  rig.run([&](ControlServer& server) { server.stop(false, [&rig] { rig.journal.add("all have gone"); }); });
  for (std::thread& rank : ranks) rank.join();
  rig.journal.await("all have gone");
  EXPECT_TRUE(rig.journal.holding("lost").empty());
  EXPECT_TRUE(journal.holding("lost").empty());
}

TEST(ControlLink, HeartbeatsTakeAlongWhatTheProviderAdds) {
  ServerRig rig;
  Journal journal;
  ControlLink link(to(rig.endpoints()));
  ControlLinkEvents events = noting(journal);
  events.beating = [](wire::Heartbeat& beat) {
    beat.add_busy(1);
    beat.add_busy(2);
  };
  link.start(events);
  EXPECT_THAT(rig.journal.await("received 0/0 heartbeat", 3), HasSubstr("busy 2"));
}

TEST(ControlLink, ACoordinatorThatIsGoneIsLost) {
  ServerRig rig;
  Journal journal;
  ControlLink link(to(rig.endpoints()));
  link.start(noting(journal));
  rig.journal.await("heartbeat");
  rig.destroy();
  EXPECT_THAT(journal.await("lost"), HasSubstr("lost: the coordinator "));
}

TEST(ControlLink, ACoordinatorThatFallsSilentIsLost) {
  Listener listener;
  Journal journal;
  std::thread coordinator([&] {
    Peer peer(listener.acceptor);
    EXPECT_TRUE(peer.hear()->has_hello());
    wire::Frame welcome;
    welcome.mutable_welcome()->set_heartbeat_seconds(0.02);
    welcome.mutable_welcome()->set_dead_after_seconds(0.2);
    // The first step comes in the same packet: it waits until somebody listens.
    peer.say(encode_frame(welcome).bytes() + encode_frame(step(1)).bytes());
    journal.await("lost");
  });
  ControlLink link(to({listener.endpoint()}));
  link.start(noting(journal));
  EXPECT_EQ(journal.await("lost"), "lost: the coordinator was silent for 0.2 s");
  EXPECT_EQ(journal.holding("step 1").size(), 1u);
  coordinator.join();
}

TEST(ControlLink, AnEndThatIsExpectedIsNoLoss) {
  ServerRig rig;
  Journal journal;
  ControlLink told(to(rig.endpoints(), 0, 0)), expecting(to(rig.endpoints(), 0, 1));
  told.start(noting(journal));
  expecting.start(noting(journal));
  expecting.expect_end();
  wire::Frame stop;
  stop.mutable_stop();
  rig.send(0, 0, stop);
  journal.await("stop");
  ControlLink other(to(rig.endpoints(), 1, 0));
  other.start(noting(journal));
  rig.destroy();
  journal.await("lost");  // the third, which was closed together with the others
  EXPECT_EQ(journal.holding("lost").size(), 1u);
}

TEST(ControlLink, WhatIsSaidLastArrives) {
  ServerRig rig;
  Journal journal;
  for (int i = 0; i < 20; ++i) {
    {
      ControlLink link(to(rig.endpoints()));
      link.start(noting(journal));
      wire::Frame fault;
      fault.mutable_fault()->set_reason(std::string(100'000, 'x') + cat(" no memory ", i));
      link.send(fault);
    }
    rig.journal.await(cat(" no memory ", i));
    rig.journal.await("lost 0/0", static_cast<size_t>(i) + 1);
    rig.run([](ControlServer& server) { server.drop_replica(0); });
  }
  EXPECT_TRUE(journal.holding("lost").empty());
}

TEST(ControlLink, ARefusalIsTheErrorUnlessAnotherCoordinatorWelcomes) {
  ServerRig rig;
  ControlServerOptions options = ServerRig::options();
  options.token = "another job's";
  ServerRig other(options);
  EXPECT_EQ(error_of([&] {
              ControlLink link(to({closed_endpoint(), other.endpoints()[0]}));
            }),
            cat("the coordinator refused this rank: ", other.endpoints()[0], ": wrong token"));
  const ControlLink link(to({other.endpoints()[0], rig.endpoints()[0]}));
  rig.journal.await("joined 0/0");
}

TEST(ControlLink, EveryEndpointThatCannotBeReachedIsNamed) {
  ControlLinkOptions options = to({closed_endpoint(), "no-such-host.invalid:80"});
  options.connect_seconds = 0.2;
  const std::string error = error_of([&] { ControlLink link(options); });
  EXPECT_THAT(error, HasSubstr("no coordinator was found within 0.2 s: " + options.endpoints[0] +
                               ": Connection refused"));
  EXPECT_THAT(error, HasSubstr("no-such-host.invalid:80: "));
  EXPECT_EQ(error_of([&] { ControlLink link(to({"localhost"})); }),
            "\"localhost\" is no host:port of a coordinator");
}

TEST(ControlLink, WhoDoesNotAnswerOrIsNoCoordinatorIsPassedOver) {
  ServerRig rig;
  Listener silent, closing;
  std::thread closer([&] { Peer(closing.acceptor).hear(); });
  ControlLinkOptions options = to({silent.endpoint(), closing.endpoint(), rig.endpoints()[0]});
  options.answer_seconds = 0.3;
  const ControlLink link(options);
  rig.journal.await("joined 0/0");
  closer.join();
}

TEST(ControlLink, TriesUntilTheCoordinatorListens) {
  Listener reserved;
  const std::string endpoint = reserved.endpoint();
  ControlServerOptions options = ServerRig::options();
  options.port = reserved.acceptor.local_endpoint().port();
  reserved.acceptor.close();
  std::atomic<bool> dialing = false;
  std::thread rank([&] {
    dialing = true;
    const ControlLink link(to({endpoint}));
  });
  while (!dialing) std::this_thread::yield();
  ServerRig rig(options);
  rank.join();
  rig.journal.await("joined 0/0");
}

}  // namespace
}  // namespace lapidary
