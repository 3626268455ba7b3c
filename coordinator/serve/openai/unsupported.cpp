#include "coordinator/serve/openai/unsupported.h"

#include "coordinator/serve/openai/api_error.h"

namespace lapidary {
namespace {

namespace json = boost::json;

constexpr UnsupportedField kEverywhere[] = {
    {"tools", kEmpty},
    {"tool_choice", kNone | kAuto},
    {"functions", kEmpty},
    {"function_call", kNone | kAuto},
    {"logit_bias", kEmpty},
    {"frequency_penalty", kZero},
    {"presence_penalty", kZero},
    {"length_penalty", kOne},
    {"use_beam_search", kFalse},
    {"bad_words", kEmpty},
    {"allowed_token_ids", kNothing},
    {"logits_processors", kEmpty},
    {"prompt_logprobs", kNothing},
    {"truncate_prompt_tokens", kNothing},
    {"structured_outputs", kNothing},
    {"structural_tag", kNothing},
    {"guided_json", kNothing},
    {"guided_regex", kNothing},
    {"guided_choice", kNothing},
    {"guided_grammar", kNothing},
    {"audio", kNothing},
    {"prediction", kNothing},
    {"web_search_options", kNothing},
    {"store", kFalse},
    {"documents", kEmpty},
    {"chat_template", kNothing},
    {"chat_template_kwargs", kEmpty},
    {"add_generation_prompt", kTrue},
    {"continue_final_message", kFalse},
    {"mm_processor_kwargs", kEmpty},
    {"kv_transfer_params", kEmpty},
};

unsigned kind_of(const json::value& value) {
  if (const auto* list = value.if_array()) return list->empty() ? kEmpty : kNothing;
  if (const auto* object = value.if_object()) return object->empty() ? kEmpty : kNothing;
  if (value.is_bool()) return value.get_bool() ? kTrue : kFalse;
  if (value.is_number()) {
    const auto number = value.to_number<double>();
    return number == 0 ? kZero : number == 1 ? kOne : kNothing;
  }
  if (!value.is_string()) return kNothing;
  const std::string_view text = value.get_string();
  return text.empty()         ? kEmpty
         : text == "none"     ? kNone
         : text == "auto"     ? kAuto
         : text == "disabled" ? kDisabled
                              : kNothing;
}

}  // namespace

void refuse_unsupported(const RequestFields& fields, std::span<const UnsupportedField> known) {
  for (const UnsupportedField& field : known) {
    const json::value* value = fields.find(field.name);
    if (value && (kind_of(*value) & field.harmless) == 0)
      refuse(fields.param(field.name), "unsupported_parameter", fields.param(field.name), " is ",
             shown(*value), ", which this server does not support");
  }
}

void refuse_unsupported(const RequestFields& fields) { refuse_unsupported(fields, kEverywhere); }

void require_text_format(const RequestFields& parent, std::string_view name) {
  const auto format = parent.object(name);
  if (!format) return;
  const auto type = format->text("type");
  if (!type) format->refuse_missing("type");
  if (*type != "text")
    refuse(format->param("type"), "unsupported_value", format->param("type"), " is ", shown(*type),
           ", but this server answers with 'text' alone");
}

}  // namespace lapidary
