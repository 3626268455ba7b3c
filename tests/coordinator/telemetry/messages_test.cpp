#include "coordinator/telemetry/messages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <regex>
#include <string>

namespace lapidary {
namespace {

/// What standard error may be: something to write to, and the other end of it.
struct Ends {
  int read = -1, write = -1;
  Ends() = default;
  Ends(const Ends&) = delete;
  ~Ends() {
    ::close(read);
    ::close(write);
  }
};

void make_pipe(Ends& ends) {
  int both[2];
  ASSERT_EQ(::pipe(both), 0);
  ends.read = both[0];
  ends.write = both[1];
}

void make_socket(Ends& ends) {
  int both[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, both), 0);
  ends.read = both[0];
  ends.write = both[1];
}

void make_terminal(Ends& ends) {
  ASSERT_EQ(::openpty(&ends.read, &ends.write, nullptr, nullptr, nullptr), 0);
}

class MessagesTest : public testing::TestWithParam<void (*)(Ends&)> {};

/// All that is there, and what the messages still hold. A terminal hands over what was written a little
/// later.
std::string read_all(int fd, Messages& messages) {
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  std::string text;
  std::array<char, 4096> block;
  for (int idle = 0; idle < 3;) {
    const ssize_t size = ::read(fd, block.data(), block.size());
    if (size > 0) {
      text.append(block.data(), static_cast<size_t>(size));
      idle = 0;
    } else {
      ++idle;
    }
    messages.flush(0.05);
    pollfd more{fd, POLLIN, 0};
    if (idle > 0) ::poll(&more, 1, 300);
  }
  return text;
}

/// What the notices say together: where a terminal's buffer empties in between there are several.
int64_t left_out(const std::string& text) {
  const std::regex notice("([0-9]+) messages? (was|were) left out while nobody read them");
  int64_t sum = 0;
  for (std::sregex_iterator at(text.begin(), text.end(), notice), end; at != end; ++at)
    sum += std::stoll((*at)[1]);
  return sum;
}

TEST_P(MessagesTest, NobodyWhoDoesNotReadIsWaitedFor) {
  Ends ends;
  GetParam()(ends);
  Messages messages(ends.write);
  const auto begin = std::chrono::steady_clock::now();
  const std::string line = "a line of progress, one of many that nobody reads\n";
  for (int i = 0; i < 20'000; ++i) messages.show(line);
  for (int i = 0; i < 20'000; ++i) messages.say("a message, one of many that nobody reads\n");
  messages.flush(0.1);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(took.count(), 10);
  const int64_t dropped = messages.dropped();
  EXPECT_GT(dropped, 10'000);

  const std::string text = read_all(ends.read, messages);
  EXPECT_EQ(text.rfind("a line of progress", 0), 0u);
  EXPECT_EQ(left_out(text), dropped);
  messages.say("the last one");
  EXPECT_NE(read_all(ends.read, messages).find("the last one"), text.npos);
}

TEST_P(MessagesTest, WhatIsReadComesWholeAndInOrder) {
  Ends ends;
  GetParam()(ends);
  Messages messages(ends.write);
  messages.show("one ");
  messages.say("two ");
  messages.show("three");
  EXPECT_EQ(read_all(ends.read, messages), "one two three");
  EXPECT_EQ(messages.dropped(), 0);
}

std::string name_of(const testing::TestParamInfo<void (*)(Ends&)>& kind) {
  constexpr const char* kNames[] = {"Pipe", "Socket", "Terminal"};
  return kNames[kind.index];
}

INSTANTIATE_TEST_SUITE_P(Kinds, MessagesTest, testing::Values(&make_pipe, &make_socket, &make_terminal),
                         name_of);

TEST(Messages, TheDescriptionThatOthersShareStaysAsItIs) {
  Ends ends;
  make_pipe(ends);
  const int before = ::fcntl(ends.write, F_GETFL);
  Messages messages(ends.write);
  messages.say("text");
  EXPECT_EQ(::fcntl(ends.write, F_GETFL), before);
}

TEST(Messages, AFileGetsAll) {
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  {
    Messages messages(::fileno(file));
    for (int i = 0; i < 1000; ++i) messages.show("0123456789");
    EXPECT_EQ(messages.dropped(), 0);
  }
  EXPECT_EQ(::lseek(::fileno(file), 0, SEEK_END), 10'000);
  std::fclose(file);
}

}  // namespace
}  // namespace lapidary
