#include "coordinator/serve/openai/answers/list_answers.h"

#include "coordinator/serve/openai/json_writer.h"

namespace lapidary {
namespace {

void write_model(JsonWriter& json, const ServedModel& model) {
  json.begin_object().field("id", model.id).field("object", "model").field("created", model.created);
  json.field("owned_by", "lapidary").field("root", model.root).field("parent", model.parent);
  json.field("max_model_len", model.max_model_len).key("permission").begin_list().end_list().end_object();
}

}  // namespace

std::string models_answer(std::span<const ServedModel> models) {
  JsonWriter json;
  json.begin_object().field("object", "list").key("data").begin_list();
  for (const ServedModel& model : models) write_model(json, model);
  return json.end_list().end_object().take();
}

std::string model_answer(const ServedModel& model) {
  JsonWriter json;
  write_model(json, model);
  return json.take();
}

std::string tokenize_answer(std::span<const int32_t> tokens, int64_t max_model_len,
                            const std::optional<std::vector<std::string>>& token_strs) {
  JsonWriter json;
  json.begin_object().field("count", tokens.size()).field("max_model_len", max_model_len);
  json.list_field("tokens", tokens);
  if (token_strs) {
    json.list_field("token_strs", *token_strs);
  } else {
    json.field("token_strs", JsonNull{});
  }
  return json.end_object().take();
}

std::string detokenize_answer(std::string_view text) {
  JsonWriter json;
  return json.begin_object().field("prompt", text).end_object().take();
}

}  // namespace lapidary
