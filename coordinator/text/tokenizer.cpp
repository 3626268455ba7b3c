#include "coordinator/text/tokenizer.h"

#include <algorithm>

#include "configs/error.h"
#include "configs/json.h"
#include "coordinator/text/tokenizer_read.h"
#include "coordinator/text/utf8.h"

namespace lapidary {

Tokenizer Tokenizer::from_file(const std::filesystem::path& file_or_folder) {
  const bool folder = std::filesystem::is_directory(file_or_folder);
  const auto file = folder ? file_or_folder / "tokenizer.json" : file_or_folder;
  return from_json(read_text_file(file), file.string());
}

Tokenizer Tokenizer::from_json(std::string_view json, const std::string& source) {
  return Tokenizer(read_tokenizer(json, source), source);
}

Tokenizer::Tokenizer(TokenizerParts parts, const std::string& source)
    : normalizer_(std::move(parts.normalizer)),
      splitter_(std::move(parts.splitter)),
      bpe_(std::move(parts.bpe)),
      decoder_(std::move(parts.decoder)),
      size_(bpe_.vocabulary().size()),
      remarks_(std::move(parts.remarks)) {
  std::unordered_set<std::string> special_contents;
  for (const AddedToken& token : parts.added) {
    if (token.special) special_contents.insert(token.content);
    add_token(token, source);
  }
  // The library asks whether what a token decodes from, not what it is written as, is special.
  for (const AddedToken& token : parts.added) {
    const auto other = decoded_as_.find(token.id);
    if (special_contents.contains(other == decoded_as_.end() ? token.content : other->second))
      special_.insert(token.id);
  }
}

void Tokenizer::add_token(const AddedToken& token, const std::string& source) {
  if (!bpe_.vocabulary().holds(token.id)) {
    extra_.emplace(token.id, token.content);
    extra_ids_.emplace(token.content, token.id);
    size_ = std::max(size_, token.id + 1);
  }
  const std::string form = token.normalized ? normalizer_(token.content) : token.content;
  if (form != token.content) decoded_as_.emplace(token.id, form);
  AddedTokenMatcher& matcher = token.normalized ? normalized_ : raw_;
  if (!matcher.add(token, form)) {
    fail(source, ": added_tokens: '", token.content, "' (id ", token.id,
         ") is, normalised, the same as another one");
  }
}

std::vector<int32_t> Tokenizer::encode(std::string_view utf8) const {
  require_utf8(utf8, "the text");
  std::vector<int32_t> ids;
  for (const auto& part : raw_.split(utf8)) {
    if (part.id == AddedTokenMatcher::kPlain) {
      encode_plain(part.text, ids);
    } else {
      ids.push_back(part.id);
    }
  }
  return ids;
}

void Tokenizer::encode_plain(std::string_view text, std::vector<int32_t>& ids) const {
  const std::string normalized = normalizer_(text);
  for (const auto& part : normalized_.split(normalized)) {
    if (part.id != AddedTokenMatcher::kPlain) {
      ids.push_back(part.id);
      continue;
    }
    for (const std::string_view word : splitter_(part.text)) bpe_.encode(word, ids);
  }
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> pieces;
  pieces.reserve(ids.size());
  for (const int32_t id : ids)
    if (const auto piece = decoded_piece(id, skip_special)) pieces.emplace_back(*piece);
  return decoder_(std::move(pieces));
}

std::optional<std::string_view> Tokenizer::decoded_piece(int32_t id, bool skip_special) const {
  if (!holds(id) || (skip_special && is_special(id))) return std::nullopt;
  const auto other = decoded_as_.find(id);
  return other == decoded_as_.end() ? token(id) : std::string_view(other->second);
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  if (const auto id = bpe_.vocabulary().id_of(token)) return id;
  const auto extra = extra_ids_.find(std::string(token));
  if (extra == extra_ids_.end()) return std::nullopt;
  return extra->second;
}

std::string_view Tokenizer::token(int32_t id) const {
  if (bpe_.vocabulary().holds(id)) return bpe_.vocabulary().piece(id);
  const auto extra = extra_.find(id);
  if (extra == extra_.end())
    fail("token id ", id, " is not in the vocabulary, whose ids go from 0 to ", size() - 1);
  return extra->second;
}

size_t Tokenizer::longest_piece() const {
  size_t longest = bpe_.vocabulary().longest();
  for (const auto& [id, piece] : extra_) longest = std::max(longest, piece.size());
  return longest;
}

bool Tokenizer::is_special(int32_t id) const { return special_.contains(id); }

}  // namespace lapidary
