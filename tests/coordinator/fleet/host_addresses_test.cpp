#include "coordinator/fleet/host_addresses.h"

#include <gtest/gtest.h>

#include "configs/error.h"

namespace lapidary {
namespace {

std::string error_of(const std::string& text) {
  try {
    parse_listen_address(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ListenAddress, IsAnAddressAndAPort) {
  EXPECT_EQ(parse_listen_address("10.0.0.1:80").address, "10.0.0.1");
  EXPECT_EQ(parse_listen_address("10.0.0.1:65535").port, 65535);
  EXPECT_EQ(parse_listen_address("[::1]:0").address, "::1");
  EXPECT_EQ(parse_listen_address("[::1]:0").port, 0);
}

TEST(ListenAddress, AnythingElseIsRefusedWithWhatIsWrong) {
  EXPECT_EQ(error_of("10.0.0.1"), "'10.0.0.1' is no ADDRESS:PORT");
  for (const char* port : {"65536", "99999", "-1", "abc", "", "80x", " 80", "99999999999999999999"})
    EXPECT_EQ(error_of(std::string("10.0.0.1:") + port),
              std::string("'") + port + "' is no port, a number from 0 to 65535");
  for (const char* address : {"", "host", "10.0.0", "::1", "[10.0.0.1]", "10.0.0.1:80"})
    EXPECT_EQ(error_of(std::string(address) + ":80"),
              std::string("'") + address + "' is no IP address of this host, such as 127.0.0.1 or [::1]");
}

}  // namespace
}  // namespace lapidary
