#include "coordinator/fleet/token.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace lapidary {

std::string make_token() {
  std::array<unsigned char, 16> bits;
  if (getrandom(bits.data(), bits.size(), 0) != static_cast<ssize_t>(bits.size()))
    throw std::system_error(errno, std::generic_category(), "no random bits for a token");
  std::string token;
  for (const unsigned char byte : bits) {
    token += "0123456789abcdef"[byte >> 4];
    token += "0123456789abcdef"[byte & 15];
  }
  return token;
}

bool is_same_token(std::string_view expected, std::string_view given) {
  if (expected.empty()) return false;
  volatile unsigned difference = expected.size() != given.size();
  for (size_t i = 0; i < given.size(); ++i)
    difference = difference | static_cast<unsigned char>(given[i] ^ expected[i % expected.size()]);
  return difference == 0;
}

}  // namespace lapidary
