#include "coordinator/serve/openai/base64.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace lapidary {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint32_t kBad = 64;

constexpr auto kValues = [] {
  std::array<uint8_t, 256> values{};
  values.fill(kBad);
  for (size_t i = 0; i < kAlphabet.size(); ++i)
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<uint8_t>(i);
  return values;
}();

uint32_t value_of(char c) { return kValues[static_cast<unsigned char>(c)]; }

size_t padding(std::string_view text) { return text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0; }

}  // namespace

size_t base64_bytes(std::string_view text) {
  const size_t room = (text.size() + 3) / 4 * 3;
  return room - std::min(padding(text), room);
}

Base64Result decode_base64(std::string_view text) {
  const size_t digits = text.size() - padding(text);
  Base64Result result{std::string(base64_bytes(text), '\0'), std::nullopt};
  char* out = result.bytes.data();
  uint32_t group = 0;
  for (size_t at = 0; at < digits; ++at) {
    const uint32_t value = value_of(text[at]);
    if (value == kBad) return {"", at};
    group = group << 6 | value;
    if (at % 4 != 3) continue;
    for (const int shift : {16, 8, 0}) *out++ = static_cast<char>(group >> shift);
    group = 0;
  }
  const size_t rest = digits % 4;
  if (text.size() % 4 != 0 || rest == 1) return {"", text.size()};
  if (rest == 2) {
    if ((group & 0xf) != 0) return {"", digits - 1};
    *out++ = static_cast<char>(group >> 4);
  } else if (rest == 3) {
    if ((group & 0x3) != 0) return {"", digits - 1};
    for (const int shift : {10, 2}) *out++ = static_cast<char>(group >> shift);
  }
  return result;
}

}  // namespace lapidary
