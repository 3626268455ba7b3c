#include "coordinator/serve/openai/messages.h"

#include <algorithm>

#include "coordinator/serve/openai/api_error.h"
#include "coordinator/serve/openai/unsupported.h"

namespace lapidary {
namespace {

namespace json = boost::json;

constexpr std::string_view kOnlyOneTurn =
    "PaliGemma is asked one text about its images; --flatten-chat joins several to one";

constexpr UnsupportedField kOfMessages[] = {
    {"tool_calls", kEmpty}, {"function_call", kNothing}, {"audio", kNothing}};

[[noreturn]] void refuse_turn(const std::string& param, const std::string& what) {
  refuse(param, "unsupported_value", param, " is ", what, ", but ", kOnlyOneTurn);
}

[[noreturn]] void refuse_part(const RequestFields& part, const std::string& type) {
  refuse(part.param("type"), "unsupported_value", part.param("type"), " is ", shown(type),
         ", but only text and images are read");
}

bool is_text(const std::string& type) {
  return type == "text" || type == "input_text" || type == "output_text";
}

bool is_image(const std::string& type) { return type == "image_url" || type == "input_image"; }

/// Accepted and without effect: the model sees each picture at its one size.
void check_detail(const RequestFields& fields) {
  const auto detail = fields.text("detail");
  constexpr std::string_view kKnown[] = {"auto", "low", "high", "original"};
  if (detail && std::find(std::begin(kKnown), std::end(kKnown), *detail) == std::end(kKnown))
    refuse(fields.param("detail"), "invalid_value", fields.param("detail"), " is ", shown(*detail),
           ", not 'auto', 'low', 'high' or 'original'");
}

/// A URL, or {"url", "detail"}.
void add_image_value(const json::value& value, const std::string& param, const ApiLimits& limits,
                     std::vector<ImageReference>& images) {
  if (static_cast<int64_t>(images.size()) == limits.max_images)
    refuse(param, "array_above_max_length", param, " is image ", images.size() + 1, ", more than ",
           limits.max_images);
  if (value.is_string()) {
    images.push_back(read_image_url(value.get_string(), param, limits));
    return;
  }
  if (!value.is_object()) refuse_type(param, value, "a string or an object");
  const RequestFields fields(value, param);
  check_detail(fields);
  const json::value* url = fields.find("url");
  if (!url) fields.refuse_missing("url");
  images.push_back(read_image_url(to_text_view(*url, fields.param("url")), fields.param("url"), limits));
}

}  // namespace

void ConversationReader::add_system_text(const std::string& text, const std::string& param) {
  if (text.empty()) return;
  if (!limits_->flatten_chat) refuse_turn(param, "a text of the system");
  add_text(text, param);
}

void ConversationReader::add_user_text(const std::string& text, const std::string& param) {
  require_user("user", param);
  add_text(text, param);
}

void ConversationReader::add_messages(const json::array& messages, const std::string& param) {
  for (size_t i = 0; i < messages.size(); ++i)
    add_message(RequestFields(messages[i], cat(param, "[", i, "]")));
}

void ConversationReader::add_message(const RequestFields& message) {
  if (const auto type = message.text("type"); type && *type != "message")
    refuse(message.param("type"), "unsupported_value", message.param("type"), " is ", shown(*type),
           ", but only a 'message' is read");
  const auto role = message.text("role");
  if (!role) message.refuse_missing("role");
  const bool system = *role == "system" || *role == "developer";
  if (!system) require_user(*role, message.param("role"));
  refuse_unsupported(message, kOfMessages);
  const json::value* content = message.find("content");
  if (!content) message.refuse_missing("content");
  const std::string place = message.param("content");
  if (content->is_string()) {
    const std::string text = to_text(*content, place, limits_->max_text_bytes);
    return system ? add_system_text(text, place) : add_text(text, place);
  }
  if (!content->is_array()) refuse_type(place, *content, "a string or a list");
  const json::array& parts = content->get_array();
  for (size_t i = 0; i < parts.size(); ++i) {
    const RequestFields part(parts[i], cat(place, "[", i, "]"));
    if (system)
      add_system_text(part.text("text", limits_->max_text_bytes).value_or(""), part.param("text"));
    else
      add_part(part, *role == "user");
  }
}

void ConversationReader::require_user(const std::string& role, const std::string& param) {
  const bool user = role == "user";
  if (!user && role != "assistant")
    refuse(param, "unsupported_value", param, " is ", shown(role),
           ", not 'user', 'system', 'developer' or 'assistant'");
  if (!limits_->flatten_chat && !user) refuse_turn(param, "'assistant', an earlier turn");
  if (!limits_->flatten_chat && has_turns_) refuse_turn(param, "that of a second turn");
  has_turns_ = true;
  ends_with_user_ = user;
}

void ConversationReader::add_part(const RequestFields& part, bool from_user) {
  const auto type = part.text("type");
  if (!type) part.refuse_missing("type");
  if (is_text(*type)) {
    const auto text = part.text("text", limits_->max_text_bytes);
    if (!text) part.refuse_missing("text");
    return add_text(*text, part.param("text"));
  }
  if (!is_image(*type) || !from_user) refuse_part(part, *type);
  add_image(part);
}

void ConversationReader::add_text(std::string text, const std::string& param) {
  if (text.empty()) return;
  if (!limits_->flatten_chat && !texts_.empty()) refuse_turn(param, "a second text");
  text_bytes_ += text.size() + 1;
  if (text_bytes_ > limits_->max_text_bytes + 1)
    refuse(param, "string_above_max_length", "the texts have together ", text_bytes_ - 1,
           " bytes, more than ", limits_->max_text_bytes);
  texts_.push_back(std::move(text));
}

/// {"image_url": {"url", "detail"}}, or the URL itself; the detail may then stand beside it.
void ConversationReader::add_image(const RequestFields& part) {
  if (part.find("file_id"))
    refuse(part.param("file_id"), "unsupported_parameter", part.param("file_id"),
           " is not supported; give the image by its URL");
  const json::value* image = part.find("image_url");
  if (!image) part.refuse_missing("image_url");
  check_detail(part);
  add_image_value(*image, part.param("image_url"), *limits_, images_);
}

Conversation ConversationReader::finish(const std::string& param) {
  if (!has_turns_)
    refuse(param, "invalid_value", param, " holds no message of the user, but the last one must be");
  if (!ends_with_user_)
    refuse(param, "invalid_value", param, " ends with a message of the assistant, not of the user");
  Conversation conversation{"", std::move(images_)};
  for (const std::string& text : texts_) {
    if (!conversation.prompt.empty()) conversation.prompt += '\n';
    conversation.prompt += text;
  }
  require_placed_images(conversation.prompt, conversation.images.size(), true, param);
  return conversation;
}

std::vector<ImageReference> read_images(const RequestFields& fields, std::string_view name,
                                        const ApiLimits& limits) {
  std::vector<ImageReference> images;
  const json::array* list = fields.list(name);
  for (size_t i = 0; list && i < list->size(); ++i)
    add_image_value((*list)[i], cat(fields.param(name), "[", i, "]"), limits, images);
  return images;
}

void require_placed_images(std::string_view prompt, size_t images, bool added, const std::string& param) {
  constexpr std::string_view kImage = "<image>";
  size_t placed = 0;
  for (size_t at = prompt.find(kImage); at != prompt.npos; at = prompt.find(kImage, at + kImage.size()))
    ++placed;
  if (placed != images && !(placed == 0 && added))
    refuse(param, "invalid_value", "the text places ", placed, " images by <image>, but ", images,
           images == 1 ? " is" : " are", " given");
}

}  // namespace lapidary
