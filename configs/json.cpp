#include "configs/json.h"

#include <cmath>
#include <fstream>
#include <sstream>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr uintmax_t kMostBytes = uintmax_t{1} << 30;
constexpr std::size_t kMostDepth = 64;  // far more than any config; a bound for the parser's recursion

/// A value as it stands in the file, cut short for a sentence.
std::string shown(const boost::json::value& value) {
  std::string text = boost::json::serialize(value);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace

boost::json::value parse_json(std::string_view text, const std::string& where) {
  boost::json::parse_options options;
  options.max_depth = kMostDepth;
  boost::json::stream_parser parser({}, options);
  boost::json::error_code error;
  const std::size_t used = parser.write_some(text.data(), text.size(), error);
  if (!error && used < text.size() && text.find_first_not_of(" \t\r\n", used) != std::string_view::npos)
    fail(where, ": not JSON, at byte ", used, ": extra data");
  if (!error) parser.finish(error);
  if (error) fail(where, ": not JSON, at byte ", used, ": ", error.message());
  return parser.release();
}

boost::json::value read_json_file(const std::filesystem::path& path) {
  std::error_code error;
  const uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error) fail(path.string(), ": cannot be read: ", error.message());
  if (bytes > kMostBytes)
    fail(path.string(), ": ", bytes, " bytes, more than the ", kMostBytes, " that are read as JSON");
  std::ifstream stream(path, std::ios::binary);
  std::string text(bytes, '\0');
  if (!stream.read(text.data(), static_cast<std::streamsize>(bytes))) fail(path.string(), ": cannot be read");
  return parse_json(text, path.string());
}

JsonObject::JsonObject(const boost::json::value& value, std::string where)
    : object_(value.if_object()), where_(std::move(where)) {
  if (object_ == nullptr) fail(where_, ": holds ", shown(value), ", an object is needed");
}

bool JsonObject::is_null(std::string_view field) const {
  const auto* value = find(field);
  return value != nullptr && value->is_null();
}

void JsonObject::fail_kind(std::string_view field, const char* needed) const {
  const auto* value = find(field);
  if (value == nullptr) fail(where_, ": '", name_of(field), "' is missing, ", needed, " is needed");
  fail(where_, ": '", name_of(field), "' is ", shown(*value), ", ", needed, " is needed");
}

std::optional<int64_t> JsonObject::optional_int(std::string_view field) const {
  const auto* value = find(field);
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (value->is_int64()) return value->get_int64();
  if (value->is_double()) {  // 8.0 is a whole number; 8.5 and 1e300 are not
    const double number = value->get_double();
    if (std::nearbyint(number) == number && std::abs(number) < 9e15) return static_cast<int64_t>(number);
  }
  fail_kind(field, "a whole number");
}

std::optional<double> JsonObject::optional_number(std::string_view field) const {
  const auto* value = find(field);
  if (value == nullptr || value->is_null()) return std::nullopt;
  boost::json::error_code error;
  const auto number = value->to_number<double>(error);
  if (error) fail_kind(field, "a number");
  return number;
}

std::optional<bool> JsonObject::optional_bool(std::string_view field) const {
  const auto* value = find(field);
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (!value->is_bool()) fail_kind(field, "true or false");
  return value->get_bool();
}

std::optional<std::string> JsonObject::optional_string(std::string_view field) const {
  const auto* value = find(field);
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (!value->is_string()) fail_kind(field, "a string");
  return std::string(value->get_string());
}

std::optional<JsonObject> JsonObject::optional_object(std::string_view field) const {
  const auto* value = find(field);
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (!value->is_object()) fail_kind(field, "an object");
  JsonObject inner(*value, where_);
  inner.path_ = name_of(field);
  return inner;
}

template <class T>
T JsonObject::need(std::optional<T> value, std::string_view field) const {
  if (!value) fail_kind(field, "a value");
  return *std::move(value);
}

int64_t JsonObject::required_int(std::string_view field) const { return need(optional_int(field), field); }
double JsonObject::required_number(std::string_view field) const {
  return need(optional_number(field), field);
}
std::string JsonObject::required_string(std::string_view field) const {
  return need(optional_string(field), field);
}
JsonObject JsonObject::required_object(std::string_view field) const {
  return need(optional_object(field), field);
}

const boost::json::array& JsonObject::required_array(std::string_view field) const {
  const auto* value = find(field);
  if (value == nullptr || !value->is_array()) fail_kind(field, "a list");
  return value->get_array();
}

}  // namespace lapidary
