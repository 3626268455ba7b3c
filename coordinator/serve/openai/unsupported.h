#pragma once

#include <span>
#include <string_view>

#include "coordinator/serve/openai/request_fields.h"

namespace lapidary {

/// Values of a field that change nothing, joined by |. Null and an absent field never do.
enum Harmless : unsigned {
  kNothing = 0,
  kEmpty = 1,  // a list, object or string without anything in it
  kFalse = 2,
  kTrue = 4,
  kZero = 8,
  kOne = 16,
  kNone = 32,       // "none"
  kAuto = 64,       // "auto"
  kDisabled = 128,  // "disabled"
};

/// A field of OpenAI's or vLLM's that is known and not done.
struct UnsupportedField {
  std::string_view name;
  unsigned harmless;
};

/// Throws ApiError, whose param is the field, for each that would change the answer: better refused than
/// passed over.
void refuse_unsupported(const RequestFields& fields, std::span<const UnsupportedField> known);

/// The fields that all endpoints have.
void refuse_unsupported(const RequestFields& fields);

/// {"type": "text"} alone is done.
void require_text_format(const RequestFields& parent, std::string_view name);

}  // namespace lapidary
