#include "coordinator/fleet/host_addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace {

/// Nothing for what is no IP address, or good on one link only.
std::optional<std::string> text_of(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text;
  if (address == nullptr) return std::nullopt;
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    return inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
  }
  if (address->sa_family != AF_INET6) return std::nullopt;
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
  if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) return std::nullopt;
  return inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
}

int unlikeliness(const ifaddrs& interface) {
  if (interface.ifa_flags & IFF_LOOPBACK) return 4;
  int value = interface.ifa_addr->sa_family == AF_INET ? 0 : 1;
  for (const std::string_view bridge : {"docker", "br-", "virbr", "veth", "cni", "podman"})
    if (std::string_view(interface.ifa_name).starts_with(bridge)) value += 2;
  return value;
}

}  // namespace

std::vector<std::string> host_addresses() {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return {"127.0.0.1"};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(first, &freeifaddrs);
  std::vector<std::pair<int, std::string>> found;
  for (const ifaddrs* i = first; i != nullptr; i = i->ifa_next)
    if (const auto text = text_of(i->ifa_addr); text && (i->ifa_flags & IFF_UP))
      found.emplace_back(unlikeliness(*i), *text);
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> addresses;
  for (auto& [order, text] : found) addresses.push_back(std::move(text));
  return addresses;
}

std::string endpoint_text(const std::string& address, int port) {
  return address.find(':') == address.npos ? cat(address, ":", port) : cat("[", address, "]:", port);
}

ListenAddress parse_listen_address(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos) fail("'", text, "' is no ADDRESS:PORT");
  ListenAddress listen{text.substr(0, colon), 0};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, listen.port);
  if (error != std::errc() || stop != end)
    fail("'", text.substr(colon + 1), "' is no port, a number from 0 to 65535");
  const bool bracketed = listen.address.starts_with('[') && listen.address.ends_with(']');
  if (bracketed) listen.address = listen.address.substr(1, listen.address.size() - 2);
  std::array<unsigned char, sizeof(in6_addr)> bytes;
  if (inet_pton(bracketed ? AF_INET6 : AF_INET, listen.address.c_str(), bytes.data()) != 1)
    fail("'", text.substr(0, colon), "' is no IP address of this host, such as 127.0.0.1 or [::1]");
  return listen;
}

}  // namespace lapidary
