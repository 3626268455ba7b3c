#pragma once

#include <string>
#include <vector>

namespace lapidary {

/// The IP addresses that other hosts may reach this one at, the likeliest first: IPv4 before IPv6, bridges of
/// containers and virtual machines after all others, loopback at the very end.
std::vector<std::string> host_addresses();

/// "10.0.0.1:80", "[::1]:80".
std::string endpoint_text(const std::string& address, int port);

}  // namespace lapidary
