#include "coordinator/text/tokenizer_text.h"

#include <optional>

#include "coordinator/text/utf8.h"

namespace lapidary {
namespace {

using Pieces = std::vector<std::string>;

std::string join(const Pieces& pieces, std::string_view between) {
  std::string text;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0) text += between;
    text += pieces[i];
  }
  return text;
}

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return std::nullopt;
}

/// The byte that "<0xHH>" stands for.
std::optional<char> byte_of(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  const auto high = hex_digit(piece[3]);
  const auto low = hex_digit(piece[4]);
  if (!high || !low) return std::nullopt;
  return static_cast<char>(*high << 4 | *low);
}

Pieces apply(const Replace& replace, Pieces pieces) {
  for (std::string& piece : pieces) piece = replace(piece);
  return pieces;
}

Pieces apply(const ByteFallback&, Pieces pieces) {
  Pieces out;
  std::string bytes;
  const auto flush = [&] {
    if (!invalid_utf8(bytes)) {
      out.push_back(bytes);
    } else {
      out.insert(out.end(), bytes.size(), "\uFFFD");
    }
    bytes.clear();
  };
  for (std::string& piece : pieces) {
    if (const auto byte = byte_of(piece)) {
      bytes += *byte;
      continue;
    }
    if (!bytes.empty()) flush();
    out.push_back(std::move(piece));
  }
  if (!bytes.empty()) flush();
  return out;
}

Pieces apply(const Fuse&, Pieces pieces) { return {join(pieces, "")}; }

Pieces apply(const Strip& strip, Pieces pieces) {
  for (std::string& piece : pieces) {
    std::string_view rest = piece;
    for (size_t i = 0; i < strip.start && rest.starts_with(strip.content); ++i)
      rest.remove_prefix(strip.content.size());
    for (size_t i = 0; i < strip.stop && rest.ends_with(strip.content); ++i)
      rest.remove_suffix(strip.content.size());
    piece = std::string(rest);
  }
  return pieces;
}

}  // namespace

std::string Replace::operator()(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  for (size_t at = text.find(pattern); at != std::string_view::npos; at = text.find(pattern, done)) {
    out += text.substr(done, at - done);
    out += content;
    done = at + pattern.size();
  }
  out += text.substr(done);
  return out;
}

std::string Normalizer::operator()(std::string_view text) const {
  std::string out(text);
  for (const auto& step : steps) {
    if (const auto* replace = std::get_if<Replace>(&step)) {
      out = (*replace)(out);
    } else if (!out.empty()) {
      out.insert(0, std::get<Prepend>(step).text);
    }
  }
  return out;
}

std::vector<std::string_view> Splitter::operator()(std::string_view text) const {
  if (pattern.empty()) return {text};
  std::vector<std::string_view> words;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t found = text.find(pattern, begin);
    const size_t end = found == std::string_view::npos ? text.size() : found + pattern.size();
    words.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

std::string Decoder::operator()(std::vector<std::string> pieces) const {
  if (!present) return join(pieces, " ");
  for (const auto& step : steps) {
    pieces = std::visit([&](const auto& what) { return apply(what, std::move(pieces)); }, step);
  }
  return join(pieces, "");
}

bool Decoder::is_local() const {
  bool bytes = false, fused = false;
  for (const auto& step : steps) {
    const bool is_fuse = std::holds_alternative<Fuse>(step);
    const bool is_bytes = std::holds_alternative<ByteFallback>(step);
    if ((fused && !is_fuse) || (bytes && is_bytes)) return false;
    fused = fused || is_fuse;
    bytes = bytes || is_bytes;
  }
  return present;
}

bool Decoder::is_byte(std::string_view piece) const {
  Pieces alone{std::string(piece)};
  for (const auto& step : steps) {
    if (std::holds_alternative<ByteFallback>(step)) return byte_of(alone.front()).has_value();
    alone = std::visit([&](const auto& what) { return apply(what, std::move(alone)); }, step);
  }
  return false;
}

}  // namespace lapidary
