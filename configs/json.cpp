#include "configs/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>

#include "configs/error.h"
#include "configs/stand_in.h"

namespace lapidary {
namespace {

namespace json = boost::json;

/// What stands for half a surrogate pair, and for NaN and Infinity: no characters of a text.
constexpr std::string_view kHalfPair = "\xef\xb7\x90", kHalfPairEscape = "\\ufdd0";
constexpr std::string_view kNoNumber = "\xef\xb7\x91", kNoNumberString = "\"\\ufdd1\"";

bool has(const json::string& text, std::string_view part) {
  return std::string_view(text.data(), text.size()).find(part) != std::string_view::npos;
}

/// A value as an error shows it: short, whatever the file holds.
std::string shown(const json::value& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (value.is_double()) return cat(value.get_double());
  if (value.is_string() && has(value.get_string(), kHalfPair)) return "a string with half a surrogate pair";
  if (value.is_string() && has(value.get_string(), kNoNumber)) return "NaN or Infinity";
  std::string text = json::serialize(value);
  constexpr size_t kLongest = 60;
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "…";
  return text;
}

[[noreturn]] void refuse(const std::string& where, const json::value& value, const char* wanted) {
  fail(where, " is ", shown(value), ", not ", wanted);
}

int64_t to_int(const json::value& value, const std::string& where, int64_t least, int64_t most) {
  int64_t number = 0;
  if (value.is_int64()) {
    number = value.get_int64();
  } else if (value.is_double() && std::trunc(value.get_double()) == value.get_double() &&
             std::abs(value.get_double()) <= 0x1p53) {
    number = static_cast<int64_t>(value.get_double());
  } else {
    refuse(where, value, value.is_uint64() ? "a whole number below 2^63" : "a whole number");
  }
  if (number < least || number > most) {
    if (most == std::numeric_limits<int64_t>::max()) fail(where, " is ", number, ", less than ", least);
    fail(where, " is ", number, ", not from ", least, " to ", most);
  }
  return number;
}

double to_double(const json::value& value, const std::string& where) {
  if (value.is_double()) return value.get_double();
  if (value.is_int64()) return static_cast<double>(value.get_int64());
  if (value.is_uint64()) return static_cast<double>(value.get_uint64());
  refuse(where, value, "a number");
}

bool to_bool(const json::value& value, const std::string& where) {
  if (!value.is_bool()) refuse(where, value, "true or false");
  return value.get_bool();
}

std::string to_string(const json::value& value, const std::string& where) {
  if (!value.is_string()) refuse(where, value, "a string");
  if (has(value.get_string(), kHalfPair)) refuse(where, value, "text in UTF-8");
  if (has(value.get_string(), kNoNumber)) refuse(where, value, "a string");
  return std::string(value.get_string());
}

std::string element(const std::string& where, size_t index) { return cat(where, "[", index, "]"); }

/// Applies `read(value, where)` to every element of a list.
template <class Read>
auto each(const json::array& list, const std::string& where, Read read) {
  std::vector<decltype(read(list[0], where))> out;
  out.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) out.push_back(read(list[i], element(where, i)));
  return out;
}

/// The four digits of "\\uXXXX" at `at`; -1: no such escape.
int escaped_unit(std::string_view text, size_t at) {
  unsigned unit = 0;
  if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return -1;
  const char* digits = text.data() + at + 2;
  return std::from_chars(digits, digits + 4, unit, 16).ptr == digits + 4 ? static_cast<int>(unit) : -1;
}

/// Writes one string from `text[at]`, a quote, on, and gives the place behind it.
size_t copy_string(std::string_view text, size_t at, std::string& out) {
  const auto is_high = [](int unit) { return unit >= 0xd800 && unit < 0xdc00; };
  const auto is_low = [](int unit) { return unit >= 0xdc00 && unit < 0xe000; };
  out += text[at++];
  while (at < text.size() && text[at] != '"') {
    size_t bytes = text[at] == '\\' ? 2 : 1;
    if (const int unit = escaped_unit(text, at); unit >= 0) {
      bytes = is_high(unit) && is_low(escaped_unit(text, at + 6)) ? 12 : 6;
      if (bytes == 6 && (is_high(unit) || is_low(unit))) {
        out += kHalfPairEscape;
        at += bytes;
        continue;
      }
    }
    out += text.substr(at, bytes);
    at += std::min(bytes, text.size() - at);
  }
  if (at < text.size()) out += text[at++];
  return at;
}

/// Standard JSON of what Python's json would take.
std::string as_standard(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '"') {
      at = copy_string(text, at, out);
      continue;
    }
    const std::string_view rest = text.substr(at);
    size_t bytes = 0;
    for (const std::string_view word : {"NaN", "Infinity", "-Infinity"})
      if (rest.starts_with(word)) bytes = word.size();
    out += bytes > 0 ? kNoNumberString : rest.substr(0, 1);
    at += std::max<size_t>(bytes, 1);
  }
  return out;
}

json::value parse_standard(std::string_view text, json::storage_ptr memory, json::error_code& error,
                           size_t& read) {
  json::parse_options options;
  options.max_depth = 64;
  json::parser parser({}, options);
  parser.reset(std::move(memory));
  read = parser.write({text.data(), text.size()}, error);
  return error ? json::value() : parser.release();
}

}  // namespace

std::string read_text_file(const std::filesystem::path& file, uint64_t limit) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (!std::filesystem::exists(status)) fail(file.string(), ": there is no such file");
  if (!std::filesystem::is_regular_file(status)) fail(file.string(), ": not a regular file");
  const uint64_t size = std::filesystem::file_size(file, error);
  if (error) fail(file.string(), ": ", error.message());
  if (size > limit)
    fail(file.string(), ": ", size, " bytes, more than the ", limit, " that such a file may have");
  std::ifstream in(file, std::ios::binary);
  if (!in) fail(file.string(), ": cannot be opened for reading");
  std::string text(size, '\0');
  in.read(text.data(), static_cast<std::streamsize>(size));
  if (static_cast<uint64_t>(in.gcount()) != size)
    fail(file.string(), ": read ", in.gcount(), " of ", size, " bytes");
  refuse_stand_in(std::string_view(text).substr(0, kStandInBytes), file.string());
  return text;
}

json::value parse_json(std::string_view text, const std::string& source, json::storage_ptr memory) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  json::error_code error, second;
  size_t read = 0, read_again = 0;
  json::value value = parse_standard(text, memory, error, read);
  if (!error) return value;
  value = parse_standard(as_standard(text), std::move(memory), second, read_again);
  if (second)
    fail(source, ": not valid JSON at byte ", read, " of ", text.size(), " (", error.message(), ")");
  return value;
}

json::value read_json_file(const std::filesystem::path& file, json::storage_ptr memory) {
  return parse_json(read_text_file(file), file.string(), std::move(memory));
}

JsonObject::JsonObject(const json::value& value, std::string source, std::string path)
    : object_(value.if_object()), source_(std::move(source)), path_(std::move(path)) {
  if (!object_)
    refuse(path_.empty() ? source_ + ": the whole" : cat(source_, ": ", path_), value, "an object");
}

std::string JsonObject::where(std::string_view field) const {
  return path_.empty() ? cat(source_, ": ", field) : cat(source_, ": ", path_, ".", field);
}

const json::value* JsonObject::find(std::string_view field) const {
  return object_->if_contains({field.data(), field.size()});
}

const json::value& JsonObject::at(std::string_view field) const {
  const json::value* value = find(field);
  if (!value) fail(where(field), " is missing");
  return *value;
}

const json::value* JsonObject::held(std::string_view field) const {
  const json::value* value = find(field);
  return value && !value->is_null() ? value : nullptr;
}

bool JsonObject::has(std::string_view field) const { return find(field) != nullptr; }

bool JsonObject::is_null(std::string_view field) const { return has(field) && !held(field); }

int64_t JsonObject::required_int(std::string_view field, int64_t least, int64_t most) const {
  return to_int(at(field), where(field), least, most);
}

int64_t JsonObject::int_or(std::string_view field, int64_t otherwise, int64_t least, int64_t most) const {
  return has(field) ? required_int(field, least, most) : otherwise;
}

std::optional<int64_t> JsonObject::optional_int(std::string_view field, int64_t least, int64_t most) const {
  if (!held(field)) return std::nullopt;
  return required_int(field, least, most);
}

double JsonObject::required_double(std::string_view field) const {
  return to_double(at(field), where(field));
}

double JsonObject::double_or(std::string_view field, double otherwise) const {
  return has(field) ? required_double(field) : otherwise;
}

std::optional<double> JsonObject::optional_double(std::string_view field) const {
  if (!held(field)) return std::nullopt;
  return required_double(field);
}

bool JsonObject::required_bool(std::string_view field) const { return to_bool(at(field), where(field)); }

bool JsonObject::bool_or(std::string_view field, bool otherwise) const {
  return has(field) ? required_bool(field) : otherwise;
}

std::optional<bool> JsonObject::optional_bool(std::string_view field) const {
  if (!held(field)) return std::nullopt;
  return required_bool(field);
}

std::string JsonObject::required_string(std::string_view field) const {
  return to_string(at(field), where(field));
}

std::string JsonObject::string_or(std::string_view field, std::string_view otherwise) const {
  return has(field) ? required_string(field) : std::string(otherwise);
}

std::optional<std::string> JsonObject::optional_string(std::string_view field) const {
  if (!held(field)) return std::nullopt;
  return required_string(field);
}

JsonObject JsonObject::required_object(std::string_view field) const {
  const std::string inner = path_.empty() ? std::string(field) : cat(path_, ".", field);
  return {at(field), source_, inner};
}

std::optional<JsonObject> JsonObject::optional_object(std::string_view field) const {
  if (!held(field)) return std::nullopt;
  return required_object(field);
}

const json::array& JsonObject::required_list(std::string_view field) const {
  const json::value& value = at(field);
  if (!value.is_array()) refuse(where(field), value, "a list");
  return value.get_array();
}

std::vector<int64_t> JsonObject::ints(std::string_view field, int64_t least, int64_t most) const {
  return each(required_list(field), where(field),
              [&](const json::value& value, const std::string& at_element) {
                return to_int(value, at_element, least, most);
              });
}

std::vector<double> JsonObject::doubles(std::string_view field) const {
  return each(required_list(field), where(field), to_double);
}

std::vector<std::string> JsonObject::strings(std::string_view field) const {
  return each(required_list(field), where(field), to_string);
}

std::vector<JsonObject> JsonObject::objects(std::string_view field) const {
  const std::string inner = path_.empty() ? std::string(field) : cat(path_, ".", field);
  const json::array& list = required_list(field);
  std::vector<JsonObject> out;
  out.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) out.emplace_back(list[i], source_, element(inner, i));
  return out;
}

}  // namespace lapidary
