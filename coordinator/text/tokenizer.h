#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "coordinator/text/tokenizer_added.h"
#include "coordinator/text/tokenizer_bpe.h"
#include "coordinator/text/tokenizer_text.h"

namespace lapidary {

struct TokenizerParts;

/// Text to token ids and back, as the Hugging Face `tokenizers` library does it for a tokenizer.json of
/// Gemma's kind (BPE with byte fallback). Its post-processor, truncation and padding are left alone: no
/// special tokens are added. Immutable: any number of threads may use one.
class Tokenizer {
 public:
  /// Reads a tokenizer.json, or the one in a folder. Throws one sentence that names the file and the field.
  static Tokenizer from_file(const std::filesystem::path& file_or_folder);
  /// `source` begins every error.
  static Tokenizer from_json(std::string_view json, const std::string& source = "tokenizer.json");

  /// Throws where the text is not valid UTF-8, naming the byte. Near-linear in its length, whatever it holds.
  std::vector<int32_t> encode(std::string_view utf8) const;

  /// Valid UTF-8. Ids without a piece are passed over, as the library does; `skip_special` leaves out special
  /// tokens
  /// (<bos>, <image>, …), not <loc…> and <seg…>.
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;
  /// What `decode` makes of an id before pieces are joined; none: it passes it over.
  std::optional<std::string_view> decoded_piece(int32_t id, bool skip_special) const;
  const Decoder& decoder() const { return decoder_; }

  std::optional<int32_t> id_of(std::string_view token) const;
  /// The piece as it stands in the file ("▁the"). Throws for an id that no piece has.
  std::string_view token(int32_t id) const;
  bool holds(int32_t id) const { return bpe_.vocabulary().holds(id) || extra_.contains(id); }
  bool is_special(int32_t id) const;
  /// Bytes of the longest piece: no token stands for more of a text. A walk over all of them.
  size_t longest_piece() const;
  /// One more than the largest id.
  int32_t size() const { return size_; }

  /// What the file says otherwise than the library takes it, a sentence each, for whoever talks with the
  /// user.
  const std::vector<std::string>& remarks() const { return remarks_; }

 private:
  explicit Tokenizer(TokenizerParts parts, const std::string& source);
  void add_token(const AddedToken& token, const std::string& source);
  void encode_plain(std::string_view text, std::vector<int32_t>& ids) const;

  Normalizer normalizer_;
  Splitter splitter_;
  Bpe bpe_;
  Decoder decoder_;
  AddedTokenMatcher raw_;         // looked for first, in the text as it came
  AddedTokenMatcher normalized_;  // then these, in what is left, normalised
  int32_t size_;
  std::unordered_map<int32_t, std::string> extra_;  // added tokens that the vocabulary lacks
  std::unordered_map<std::string, int32_t> extra_ids_;
  std::unordered_map<int32_t, std::string>
      decoded_as_;  // added tokens that are written otherwise than they decode
  std::unordered_set<int32_t> special_;
  std::vector<std::string> remarks_;
};

}  // namespace lapidary
