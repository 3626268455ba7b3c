#include "coordinator/serve/openai/request_fields.h"

#include <algorithm>
#include <cmath>

#include "coordinator/serve/openai/api_error.h"

namespace lapidary {
namespace {

namespace json = boost::json;

constexpr size_t kMostShown = 60;  // bytes

void require_range(const std::string& param, auto number, auto least, auto most, bool closed,
                   const char* kind) {
  if (number > most) {
    refuse(param, cat(kind, "_above_max_value"), param, " is ", number, ", more than ", most);
  } else if (number < least || (!closed && number == least)) {
    refuse(param, cat(kind, "_below_min_value"), param, " is ", number,
           closed ? ", less than " : ", not more than ", least);
  }
}

}  // namespace

json::value parse_body(std::string_view body) {
  json::error_code error;
  json::parser parser;  // its options: nested at most 32 deep, UTF-8, no comments
  const size_t read = parser.write({body.data(), body.size()}, error);
  if (error)
    throw ApiError(
        400, "invalid_request_error", "invalid_json",
        cat("the body is not valid JSON at byte ", read, " of ", body.size(), " (", error.message(), ")"));
  json::value value = parser.release();
  const RequestFields checked(value);
  return value;
}

std::string shown(std::string_view text) {
  if (text.size() <= kMostShown) return cat("'", text, "'");
  size_t end = kMostShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // between two characters
  return cat("'", text.substr(0, end), "…'");
}

std::string shown(const json::value& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (value.is_double()) return cat(value.get_double());
  if (value.is_string()) return shown(std::string_view(value.get_string()));
  return json::serialize(value);
}

void refuse_type(const std::string& param, const json::value& value, std::string_view wanted) {
  refuse(param, "invalid_type", param, " is ", shown(value), ", not ", wanted);
}

int64_t to_integer(const json::value& value, const std::string& param, int64_t least, int64_t most) {
  if (value.is_double() && std::trunc(value.get_double()) == value.get_double() &&
      std::abs(value.get_double()) <= 0x1p53) {
    const auto whole = static_cast<int64_t>(value.get_double());
    require_range(param, whole, least, most, true, "integer");
    return whole;
  }
  if (value.is_uint64() && most < std::numeric_limits<int64_t>::max())
    require_range(param, value.get_uint64(), uint64_t{0}, static_cast<uint64_t>(std::max<int64_t>(most, 0)),
                  true, "integer");
  if (!value.is_int64()) refuse_type(param, value, "a whole number");
  require_range(param, value.get_int64(), least, most, true, "integer");
  return value.get_int64();
}

std::string_view to_text_view(const json::value& value, const std::string& param) {
  if (!value.is_string()) refuse_type(param, value, "a string");
  return value.get_string();
}

std::string to_text(const json::value& value, const std::string& param, size_t most_bytes) {
  const std::string_view text = to_text_view(value, param);
  if (text.size() > most_bytes)
    refuse(param, "string_above_max_length", param, " has ", text.size(), " bytes, more than ", most_bytes);
  return std::string(text);
}

RequestFields::RequestFields(const json::value& value, std::string path)
    : object_(value.if_object()), path_(std::move(path)) {
  if (object_) return;
  if (!path_.empty()) refuse_type(path_, value, "an object");
  throw ApiError(400, "invalid_request_error", "invalid_type",
                 cat("the body is ", shown(value), ", not an object"));
}

const json::value* RequestFields::find(std::string_view name) const {
  const json::value* value = object_->if_contains({name.data(), name.size()});
  return value && !value->is_null() ? value : nullptr;
}

std::string RequestFields::param(std::string_view name) const {
  return path_.empty() ? std::string(name) : cat(path_, ".", name);
}

void RequestFields::refuse_missing(std::string_view name) const {
  refuse(param(name), "missing_required_parameter", param(name), " is missing");
}

std::optional<int64_t> RequestFields::integer(std::string_view name, int64_t least, int64_t most) const {
  const json::value* value = find(name);
  if (!value) return std::nullopt;
  return to_integer(*value, param(name), least, most);
}

std::optional<int64_t> RequestFields::exact_integer(std::string_view name) const {
  const json::value* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_int64())
    refuse_type(param(name), *value, "a whole number from -2^63 to 2^63 - 1, written without a point");
  return value->get_int64();
}

std::optional<double> RequestFields::number(std::string_view name, double least, double most,
                                            bool closed) const {
  const json::value* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_number()) refuse_type(param(name), *value, "a number");
  const auto number = value->to_number<double>();
  require_range(param(name), number, least, most, closed, "decimal");
  return number;
}

std::optional<bool> RequestFields::flag(std::string_view name) const {
  const json::value* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_bool()) refuse_type(param(name), *value, "true or false");
  return value->get_bool();
}

std::optional<std::string> RequestFields::text(std::string_view name, size_t most_bytes) const {
  const json::value* value = find(name);
  if (!value) return std::nullopt;
  return to_text(*value, param(name), most_bytes);
}

const json::array* RequestFields::list(std::string_view name) const {
  const json::value* value = find(name);
  if (!value) return nullptr;
  if (!value->is_array()) refuse_type(param(name), *value, "a list");
  return &value->get_array();
}

std::optional<RequestFields> RequestFields::object(std::string_view name) const {
  const json::value* value = find(name);
  if (!value) return std::nullopt;
  return RequestFields(*value, param(name));
}

}  // namespace lapidary
