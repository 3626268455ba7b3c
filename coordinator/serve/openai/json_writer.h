#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace lapidary {

struct JsonNull {};

/// Compact JSON, fields in the order of the calls: the same bytes on every machine. Texts become valid UTF-8;
/// a number that JSON has no word for (NaN, infinite) becomes null.
class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_list() { return open('['); }
  JsonWriter& end_list() { return close(']'); }
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(double number);
  JsonWriter& value(bool flag) { return raw(flag ? "true" : "false"); }
  JsonWriter& value(JsonNull) { return raw("null"); }
  JsonWriter& value(std::integral auto number) { return whole(static_cast<int64_t>(number)); }
  template <class T>
  JsonWriter& value(const std::optional<T>& held) {
    return held ? value(*held) : value(JsonNull{});
  }
  JsonWriter& raw(std::string_view json);  // a whole value

  template <class T>
  JsonWriter& field(std::string_view name, const T& held) {
    return key(name).value(held);
  }
  /// A list of what value() takes.
  template <class List>
  JsonWriter& list_field(std::string_view name, const List& list) {
    key(name).begin_list();
    for (const auto& element : list) value(element);
    return end_list();
  }

  std::string take() { return std::move(out_); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  JsonWriter& whole(int64_t number);
  void part();  // the comma before a value

  std::string out_;
  bool first_ = true;  // of its list or object, or the value of a key
};

}  // namespace lapidary
