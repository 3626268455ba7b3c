#include "coordinator/fleet/host_addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
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

}  // namespace lapidary
