#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "coordinator/serve/openai/answers/stop_matcher.h"
#include "coordinator/text/decode_stream.h"

namespace lapidary {

/// How the tokens of one choice become its text.
struct TextStreamOptions {
  std::vector<std::string> stop;    // none is empty
  bool include_stop = false;        // the text ends with the stop string, not before it
  bool skip_special_tokens = true;  // <loc…> and <seg…> are none
  int64_t min_tokens = 0;           // the text of the first ones takes no part in a stop string
};

/// The tokens of one choice in, its text out, as it can be sent: valid UTF-8, nothing of a stop string, and
/// however the tokens are cut the same text. A pure function of the tokens. The tokenizer must outlive it.
class TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, TextStreamOptions options);

  /// What the next tokens add. Those after a stop string are not taken.
  std::string add(std::span<const int32_t> ids);
  /// No token follows: what was held back.
  std::string finish();

  const std::optional<std::string>& stop_string() const { return stop_; }  // where it ended the text
  const std::string& text() const { return text_; }                        // all that was given
  /// The tokens taken so far, with the one that completed a stop string.
  const std::vector<int32_t>& ids() const { return ids_; }

  /// The tokens begin anew, because another replica makes them: those that were taken already add nothing.
  void restart() { again_ = 0; }
  /// After a restart, another token than before: what was given is of no use. From then on nothing is taken.
  struct Mismatch {
    size_t position;
    int32_t before;
    int32_t now;  // -1: the tokens end here
  };
  const std::optional<Mismatch>& mismatch() const { return mismatch_; }

 private:
  void take(int32_t id);
  void take_text(std::string_view text);
  std::string give(size_t bytes);

  DecodeStream decode_;
  StopMatcher matcher_;
  bool include_stop_;
  size_t min_tokens_;
  std::vector<int32_t> ids_;
  size_t again_ = 0;  // tokens since the last restart, up to ids_.size()
  std::string held_;  // decoded and not given
  std::string text_;
  std::optional<std::string> stop_;
  std::optional<Mismatch> mismatch_;
};

}  // namespace lapidary
