#include "configs/hostfile.h"

#include <gtest/gtest.h>

#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

using Hosts = std::vector<HostSlots>;

TEST(Hostfile, HostsSlotsAndComments) {
  EXPECT_EQ(parse_hostfile("# the cluster\n"
                           "a slots=4\n"
                           "b.example.org\tslots = 2 max_slots=8  # half\n"
                           "\r\n"
                           "c\r\n"
                           "a slots=3",
                           "hosts"),
            (Hosts{{"a", 7}, {"b.example.org", 2}, {"c", 1}}));
}

TEST(Hostfile, WhatCannotBeReadIsNamedWithItsLine) {
  const auto error = [](const std::string& text) { return error_of([&] { parse_hostfile(text, "hosts"); }); };
  EXPECT_EQ(error("a\nb slots=x"), "hosts, line 2: \"x\" is no number of slots");
  EXPECT_EQ(error("a slots=-1"), "hosts, line 1: \"-1\" is no number of slots");
  EXPECT_EQ(error("a slots=99999999999"), "hosts, line 1: \"99999999999\" is no number of slots");
  EXPECT_EQ(error("a 4"), "hosts, line 1: \"4\" is not of the form slots=4");
  EXPECT_EQ(error("a sockets=2"), "hosts, line 1: \"sockets\" is not known, only slots and max_slots are");
  EXPECT_EQ(error("# nobody\n"), "hosts names no host");
}

TEST(Hostfile, AFileThatIsNotThereIsNamed) {
  const TempFolder folder;
  EXPECT_EQ(read_hostfile(folder.write("hosts", "a slots=2\n")), (Hosts{{"a", 2}}));
  EXPECT_EQ(error_of([] { read_hostfile("/no/such/hosts"); }), "cannot read the hostfile /no/such/hosts");
  EXPECT_EQ(error_of([&] { read_hostfile(folder.path()); }),
            "cannot read the hostfile " + folder.path().string());
  EXPECT_EQ(error_of([] { read_hostfile("/dev/zero"); }),
            "the hostfile /dev/zero has more than 16777216 bytes: it is none");
}

TEST(Hostfile, RanksFillTheHostsInOrder) {
  const Hosts hosts = {{"a", 3}, {"none", 0}, {"b", 2}, {"c", 4}};
  EXPECT_EQ(deal_hosts(hosts, 2, 4), (std::vector<Hosts>{{{"a", 3}, {"b", 1}}, {{"b", 1}, {"c", 3}}}));
  EXPECT_EQ(deal_hosts({{"a", 8}}, 2, 4), (std::vector<Hosts>{{{"a", 4}}, {{"a", 4}}}));
}

TEST(Hostfile, TooFewSlotsAreSaidWithBothNumbers) {
  EXPECT_EQ(error_of([] {
              deal_hosts({{"a", 3}, {"b", 4}}, 2, 4);
            }),
            "the hosts have 7 slots, but 2 replicas of 4 ranks need 8");
}

}  // namespace
}  // namespace lapidary
