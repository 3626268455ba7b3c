#pragma once

#include <string>
#include <vector>

#include "coordinator/serve/openai/image_reference.h"
#include "coordinator/serve/openai/request_fields.h"

namespace lapidary {

/// What PaliGemma is asked: it knows pictures and one prompt, no turns.
struct Conversation {
  std::string prompt;
  std::vector<ImageReference> images;
};

/// Messages of chat completions, or input items of responses, to a conversation. The rule: one message of the
/// user, whose images come in their order before its one text, wherever the text stands among them. Anything
/// more (a system's text, earlier turns, an assistant's, several texts) throws ApiError, because the model
/// was trained on nothing like it; with limits.flatten_chat all texts are joined instead, in their order, by
/// one newline, without the names of their roles, and all images come first; empty texts are left out. Either
/// way the last message is the user's.
class ConversationReader {
 public:
  explicit ConversationReader(const ApiLimits& limits) : limits_(&limits) {}
  /// A text outside of the messages, as a system's: `instructions`.
  void add_system_text(const std::string& text, const std::string& param);
  void add_user_text(const std::string& text, const std::string& param);
  void add_messages(const boost::json::array& messages, const std::string& param);
  /// Throws also where the text places more or fewer images, by <image>, than there are.
  Conversation finish(const std::string& param);

 private:
  void add_message(const RequestFields& message);
  void add_part(const RequestFields& part, bool from_user);
  void add_text(std::string text, const std::string& param);
  void add_image(const RequestFields& part);
  void require_user(const std::string& role, const std::string& param);

  const ApiLimits* limits_;
  std::vector<std::string> texts_;
  std::vector<ImageReference> images_;
  size_t text_bytes_ = 0;
  bool has_turns_ = false;  // a message of the user, of the assistant
  bool ends_with_user_ = false;
};

/// A field that is a list of images: URLs, or objects with "url" and "detail".
std::vector<ImageReference> read_images(const RequestFields& fields, std::string_view name,
                                        const ApiLimits& limits);

/// Throws ApiError where `prompt` places, by <image>, another number of images than `images`. It may place
/// none where `added`: then they are put before it.
void require_placed_images(std::string_view prompt, size_t images, bool added, const std::string& param);

}  // namespace lapidary
