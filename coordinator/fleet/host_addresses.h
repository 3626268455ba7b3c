#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lapidary {

/// The IP addresses that other hosts may reach this one at, the likeliest first: IPv4 before IPv6, bridges of
/// containers and virtual machines after all others, loopback at the very end.
std::vector<std::string> host_addresses();

/// "10.0.0.1:80", "[::1]:80".
std::string endpoint_text(const std::string& address, int port);

/// Where a coordinator waits for workers.
struct ListenAddress {
  std::string address;  // an IP address of this host, IPv6 without brackets
  uint16_t port = 0;    // 0: any that is free
};

/// Of "10.0.0.1:80" or "[::1]:80". Throws a sentence for anything else: a host's name, a port beyond 65535.
ListenAddress parse_listen_address(const std::string& text);

}  // namespace lapidary
