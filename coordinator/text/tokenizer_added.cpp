#include "coordinator/text/tokenizer_added.h"

#include <algorithm>

#include "coordinator/text/utf8.h"

namespace lapidary {
namespace {

uint64_t edge(int32_t node, unsigned char byte) { return uint64_t(node) << 8 | byte; }

bool touches_word(std::string_view text, size_t begin, size_t end) {
  const bool before = begin > 0 && is_word(last_character(text.substr(0, begin)));
  const bool after = end < text.size() && is_word(first_character(text.substr(end)));
  return before || after;
}

/// Where the white space that ends at `end` begins, not looking before `floor`.
size_t space_before(std::string_view text, size_t end, size_t floor) {
  while (end > floor) {
    const char32_t character = last_character(text.substr(0, end));
    if (!is_space(character)) break;
    do --end;
    while ((static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);
  }
  return end;
}

size_t space_after(std::string_view text, size_t begin) {
  while (begin < text.size() && is_space(first_character(text.substr(begin))))
    begin += utf8_length(text[begin]);
  return begin;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher() : nodes_(1) { roots_.fill(-1); }

int32_t AddedTokenMatcher::child(int32_t node, unsigned char byte) const {
  if (node == 0) return roots_[byte];
  const auto found = edges_.find(edge(node, byte));
  return found == edges_.end() ? -1 : found->second;
}

bool AddedTokenMatcher::add(const AddedToken& token, std::string_view form) {
  int32_t node = 0;
  for (const char c : form) {
    const auto byte = static_cast<unsigned char>(c);
    int32_t next = child(node, byte);
    if (next < 0) {
      next = static_cast<int32_t>(nodes_.size());
      nodes_.emplace_back();
      if (node == 0) {
        roots_[byte] = next;
      } else {
        edges_.emplace(edge(node, byte), next);
      }
    }
    node = next;
  }
  if (node == 0 || nodes_[node].token >= 0) return node == 0;
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back({token.id, token.single_word, token.lstrip, token.rstrip});
  return true;
}

AddedTokenMatcher::Match AddedTokenMatcher::find(std::string_view text, size_t from) const {
  Match match;
  for (size_t begin = from; begin < text.size(); ++begin) {
    int32_t node = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      node = child(node, static_cast<unsigned char>(text[at]));
      if (node < 0) break;
      if (nodes_[node].token >= 0) match = {nodes_[node].token, begin, at + 1};
    }
    if (match.token >= 0) break;
  }
  return match;
}

std::vector<AddedTokenMatcher::Part> AddedTokenMatcher::split(std::string_view text) const {
  std::vector<Part> parts;
  const auto put = [&](size_t begin, size_t end, int32_t id) {
    if (begin < end) parts.push_back({text.substr(begin, end - begin), id});
  };
  size_t done = 0;         // all before it is in a part
  size_t space_until = 0;  // known white space, so that runs of it are walked once
  for (Match match = find(text, 0); match.token >= 0; match = find(text, match.end)) {
    const Flags& token = tokens_[match.token];
    if (token.single_word && touches_word(text, match.begin, match.end)) continue;
    size_t begin = match.begin;
    size_t end = match.end;
    // A token may begin inside the white space that the one before it swallowed; both are kept, as the
    // library does.
    if (token.lstrip) begin = std::max(space_before(text, begin, std::min(done, begin)), done);
    if (token.rstrip) end = space_until = space_after(text, std::max(end, space_until));
    put(done, begin, kPlain);
    put(begin, end, token.id);
    done = end;
  }
  put(done, text.size(), kPlain);
  return parts;
}

}  // namespace lapidary
