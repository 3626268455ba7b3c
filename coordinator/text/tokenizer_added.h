#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lapidary {

/// A piece that is cut out of a text before any merging.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // swallows the white space before it
  bool rstrip = false;       // … and after it
  bool normalized = false;   // looked for in the normalised text, in its own normalised form
  bool special = false;      // left out by decode(…, skip_special)
};

/// Finds added tokens in a text: of those that begin first the longest, then on from its end.
class AddedTokenMatcher {
 public:
  static constexpr int32_t kPlain = -1;
  struct Part {
    std::string_view text;
    int32_t id;  // kPlain: no added token
  };

  AddedTokenMatcher();
  /// `form` is what is looked for: the content, or its normalised form. False, and nothing added, where
  /// another token has this form already.
  bool add(const AddedToken& token, std::string_view form);

  /// The text in parts, none of them empty. Valid UTF-8.
  std::vector<Part> split(std::string_view text) const;

 private:
  struct Node {
    int32_t token = -1;  // into tokens_, where a form ends here
  };
  struct Match {
    int32_t token = -1;  // none
    size_t begin = 0;
    size_t end = 0;
  };
  struct Flags {
    int32_t id;
    bool single_word, lstrip, rstrip;
  };

  Match find(std::string_view text, size_t from) const;
  int32_t child(int32_t node, unsigned char byte) const;

  std::vector<Flags> tokens_;
  std::vector<Node> nodes_;                      // a trie over bytes; 0 is the root
  std::array<int32_t, 256> roots_;               // children of the root, where nearly every search ends
  std::unordered_map<uint64_t, int32_t> edges_;  // (node, byte) → child, below the root
};

}  // namespace lapidary
